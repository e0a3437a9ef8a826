"""Requests that another site had a browser send: refused by their Host or Origin."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.bundle.model import load
from burnish.hosts import explain_foreign
from burnish.serve import Limits

from ..serve.bundles import draw_band, serve_in_thread, write_bundle, write_image

OWN = frozenset({"models.example"})


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8000",
        "localhost",
        "LOCALHOST:80",
        "[::1]:8000",
        "192.168.3.4:8000",
        "models.example",
        "Models.Example:443",
    ],
)
def test_addresses_localhost_and_names_that_were_given_are_answered(host: str) -> None:
    assert explain_foreign([host], [], OWN) is None
    assert explain_foreign([host], [f"http://{host}"], OWN) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "models.example.evil",
        "x@127.0.0.1",
        "127.0.0.1:port",
        "[::1",
        "",
        "127.0.0.1\x00",
    ],
)
def test_other_names_and_what_is_none_are_not(host: str) -> None:
    assert explain_foreign([host], [], OWN) is not None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:9000",
        "http://localhost:8000",
        "null",
        "",
        "127.0.0.1:8000",
        "http://127.0.0.1:8000.evil.example",
        "http://127.0.0.1:8000@evil.example",
    ],
)
def test_pages_from_elsewhere_are_not_answered(origin: str) -> None:
    found = explain_foreign(["127.0.0.1:8000"], [origin], OWN)
    assert found is not None
    assert "is not from here" in found


def test_a_proxy_with_a_name_that_was_given_may_hand_requests_on() -> None:
    assert explain_foreign(["127.0.0.1:8000"], ["https://models.example"], OWN) is None
    assert explain_foreign(["any.example"], ["https://other.example"], {"*"}) is None
    # No browser leaves the header out.
    assert explain_foreign([], [], OWN) is None
    assert explain_foreign(["localhost", "localhost"], [], OWN) is not None


@given(host=st.text(max_size=40), origin=st.text(max_size=40))
def test_any_text_is_answered_with_a_reason_or_none(host: str, origin: str) -> None:
    found = explain_foreign([host], [origin])
    assert found is None or len(found) < 700


def test_the_server_answers_no_other_site(tmp_path: Path) -> None:
    model = load(write_bundle(tmp_path / "bands"), threads=1)
    image = write_image(draw_band(3))
    limits = Limits(hosts=frozenset({"models.example"}))
    with serve_in_thread(model, limits) as address, httpx.Client(base_url=address) as client:
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
        ):
            answers = [client.get("/", headers=headers), client.get("/metrics", headers=headers)]
            answers.append(client.post("/predict", content=image, headers=headers))
            for answer in answers:
                assert answer.status_code == 403
                assert "--allow-host" in answer.json()["error"]
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "default-src 'none'" in answer.headers["content-security-policy"]
        good = {"Host": "models.example", "Origin": "https://models.example"}
        assert client.post("/predict", content=image, headers=good).json()["label"] == "band 3"
        assert client.post("/predict", content=image, headers={"Origin": address}).is_success
