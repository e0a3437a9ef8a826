"""What is answered where there is nothing to classify."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from burnish.bundle.model import load
from burnish.image import NO_INK, InputSpec
from burnish.serve import Limits

from .bundles import draw_band, serve_in_thread, write_bundle, write_image

EMPTY = write_image(np.full((60, 60), 255, np.uint8))
NAMES = [str(number) for number in range(10)]


@pytest.fixture
def drawings(tmp_path: Path) -> Iterator[httpx.Client]:
    """A server of a model whose images are brought to it by the recipe `digit`."""
    spec = InputSpec(28, 28, "grey", recipe="digit")
    folder = write_bundle(tmp_path / "bands", "bands", spec, NAMES)
    with (
        serve_in_thread(load(folder, threads=1), Limits()) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield client


def test_an_empty_canvas_has_no_label_but_a_reason(drawings: httpx.Client) -> None:
    answer = drawings.post("/predict", content=EMPTY)
    assert answer.status_code == 200
    assert answer.json() == {
        "model": "bands",
        "label": None,
        "probability": None,
        "classes": [],
        "reason": NO_INK,
    }
    seen = drawings.post("/predict?seen=1", content=EMPTY).json()["seen"]
    assert (seen["height"], seen["width"]) == (28, 28)
    full = drawings.post("/predict", content=write_image(draw_band(3, 60, 60))).json()
    assert full["label"] in NAMES
    assert "reason" not in full


def test_it_is_counted_as_no_class(drawings: httpx.Client) -> None:
    drawings.post("/predict", content=EMPTY)
    drawings.post("/predict", content=EMPTY)
    families = text_string_to_metric_families(drawings.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    blank = [one.value for one in samples if one.name == "burnish_blank_images_total"]
    named = [one.value for one in samples if one.name == "burnish_predictions_total"]
    assert (blank, sum(named)) == ([2.0], 0.0)


def infer(client: httpx.Client, images: NDArray[np.uint8]) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [len(images), 28, 28, 1]}
    request = {"inputs": [{**tensor, "data": images.ravel().tolist()}]}
    said: dict[str, Any] = (
        client.post("/v2/models/bands/infer", json=request).raise_for_status().json()
    )
    return said


def test_a_black_tensor_has_an_empty_label_and_zeros(drawings: httpx.Client) -> None:
    """The protocol has no null, and its parameters are strings."""
    images = np.zeros((3, 28, 28, 1), np.uint8)
    images[1, :, :, 0] = draw_band(4, 28, 28)
    said = infer(drawings, images)
    probabilities, labels = said["outputs"]
    assert labels["data"] == ["", "4", ""]
    sums = np.reshape(probabilities["data"], (3, 10)).sum(axis=1)
    np.testing.assert_allclose(sums, [0, 1, 0], atol=1e-5)
    assert said["parameters"] == {"reason": f"{NO_INK}: 0, 2 of the batch, counted from 0"}
    assert infer(drawings, images[:1])["outputs"][1]["data"] == [""]
    assert "parameters" not in infer(drawings, images[1:2])


def test_a_black_image_of_another_recipe_is_an_image_like_any(client: httpx.Client) -> None:
    said = client.post("/predict", content=write_image(np.zeros((20, 20), np.uint8))).json()
    assert said["label"] is not None


def test_the_api_allows_a_label_of_null(drawings: httpx.Client) -> None:
    prediction = drawings.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
    assert prediction["properties"]["label"] == {
        "type": ["string", "null"],
        "enum": [*NAMES, None],
    }
    assert "reason" in prediction["properties"]
    assert "reason" not in prediction["required"]
