from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from burnish.bundle.model import Model
from burnish.serve import Limits

from .bundles import draw_band, serve_in_thread, write_image


def read_samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_images_and_labels_are_counted(bands: Model) -> None:
    with (
        serve_in_thread(bands, Limits()) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        for number in (3, 3, 5):
            client.post("/predict", content=write_image(draw_band(number)))
        client.post("/predict", content=b"rubbish")
        for number in range(20):
            assert client.get(f"/made/up/{number}").status_code == 404
        answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples = read_samples(answer.text)

    def find(name: str, **labels: str) -> float:
        return samples[name, frozenset(labels.items())]

    assert find("burnish_requests_total", path="/predict", status="200") == 3
    assert find("burnish_requests_total", path="/predict", status="415") == 1
    assert find("burnish_requests_total", path="other", status="404") == 20
    assert find("burnish_request_seconds_count", path="/predict") == 4
    assert 0 < find("burnish_request_seconds_sum", path="/predict") < 4
    assert find("burnish_images_total", model="bands") == 3
    assert find("burnish_predictions_total", model="bands", label="band 3") == 2
    assert find("burnish_predictions_total", model="bands", label="band 9") == 0
    assert find("burnish_waiting") == 0
    assert find("process_resident_memory_bytes") > 1e6
    assert not any("made" in value for _, labels in samples for _, value in labels)
