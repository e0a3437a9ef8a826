"""Requests that another site had a browser send: refused by their Host or Origin."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.bundle.model import load
from burnish.hosts import explain_foreign, parse_origin
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
    assert "is not from here" in found.reason
    assert found.option.startswith("--allow-origin ")


def test_a_proxy_with_a_name_that_was_given_may_hand_requests_on() -> None:
    assert explain_foreign(["127.0.0.1:8000"], ["https://models.example"], OWN) is None
    assert explain_foreign(["any.example"], ["https://other.example"], {"*"}) is None
    # No browser leaves the header out.
    assert explain_foreign([], [], OWN) is None
    assert explain_foreign(["localhost", "localhost"], [], OWN) is not None


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("http://localhost:5173", "http://localhost:5173"),
        ("https://Example.org", "https://example.org"),
        ("https://example.org:443/", "https://example.org"),
        ("http://[::1]:80", "http://[::1]"),
        ("null", "null"),
        ("*", "*"),
    ],
)
def test_an_origin_is_read_as_browsers_send_it(given: str, origin: str) -> None:
    assert parse_origin(given) == origin


@pytest.mark.parametrize(
    "given",
    [
        "localhost",
        "localhost:5173",
        "http://",
        "ftp://a",
        "http://a/b",
        "http://a:x",
        "http://u@a",
        "",
    ],
)
def test_what_is_no_origin_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ValueError, match="such as http://localhost:5173"):
        parse_origin(given)


def test_a_page_of_this_name_and_another_port_is_from_elsewhere_whatever_host_is_allowed() -> None:
    page = "http://localhost:5173"
    for allowed in ({"localhost"}, {"*"}):
        found = explain_foreign(["localhost:8000"], [page], allowed)
        assert found is not None
        assert found.option == f"--allow-origin {page}"
    assert explain_foreign(["localhost:8000"], [page], (), {page}) is None
    assert explain_foreign(["localhost:8000"], ["http://localhost:5174"], (), {page}) is not None
    assert explain_foreign(["localhost:8000"], ["https://any.example"], (), {"*"}) is None


@given(host=st.text(max_size=40), origin=st.text(max_size=40))
def test_any_text_is_answered_with_a_reason_or_none(host: str, origin: str) -> None:
    found = explain_foreign([host], [origin])
    assert found is None or len(found.reason) + len(found.option) < 1000


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
            option = "--allow-host" if "Host" in headers else "--allow-origin"
            answers = [client.get("/", headers=headers), client.get("/metrics", headers=headers)]
            answers.append(client.post("/predict", content=image, headers=headers))
            for answer in answers:
                assert answer.status_code == 403
                assert f"{option} " in answer.json()["error"]
                assert "access-control-allow-origin" not in answer.headers
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "default-src 'none'" in answer.headers["content-security-policy"]
        good = {"Host": "models.example", "Origin": "https://models.example"}
        assert client.post("/predict", content=image, headers=good).json()["label"] == "band 3"
        assert client.post("/predict", content=image, headers={"Origin": address}).is_success


PAGE = "http://localhost:5173"


def test_a_page_that_is_allowed_may_ask_and_read_every_answer(tmp_path: Path) -> None:
    model = load(write_bundle(tmp_path / "bands"), threads=1)
    image = write_image(draw_band(3))
    limits = Limits(origins=frozenset({PAGE}), body_bytes=100_000)
    with serve_in_thread(model, limits) as address, httpx.Client(base_url=address) as client:
        asked = {"Origin": PAGE}
        answers = [
            client.post("/predict", content=image, headers=asked),
            client.post("/predict", content=b"rubbish", headers=asked),
            client.post("/predict", content=bytes(200_000), headers=asked),
            client.get("/nowhere", headers=asked),
        ]
        assert [answer.status_code for answer in answers] == [200, 415, 413, 404]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            assert answer.headers["vary"] == "origin"
        # Others are refused as ever, and caches know that it depends on who asks.
        other = client.post("/predict", content=image, headers={"Origin": "http://localhost:1"})
        assert other.status_code == 403
        own = client.post("/predict", content=image)
        assert own.headers["vary"] == "origin"
        assert own.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in {**other.headers, **own.headers}


def test_a_preflight_is_answered_to_pages_that_are_allowed_alone(tmp_path: Path) -> None:
    model = load(write_bundle(tmp_path / "bands"), threads=1)
    limits = Limits(origins=frozenset({PAGE}))
    with serve_in_thread(model, limits) as address, httpx.Client(base_url=address) as client:
        asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "content-type"
        answer = client.options("/predict", headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "content-type"
        assert "access-control-allow-private-network" not in answer.headers
        near = {**asked, "Access-Control-Request-Private-Network": "true"}
        answer = client.options("/predict", headers=near)
        assert answer.headers["access-control-allow-private-network"] == "true"
        answer = client.options("/predict", headers={**asked, "Origin": "http://evil.example"})
        assert answer.status_code == 403
        # Without the header it is no preflight.
        assert client.options("/predict", headers={"Origin": PAGE}).status_code == 405
