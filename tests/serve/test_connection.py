from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from burnish.bundle.model import Model
from burnish.serve import Limits

from .bundles import draw_band, serve_in_thread, write_image

THREE = write_image(draw_band(3))
SECONDS = 0.4
"""What the hasty server gives a client for its headers, and for its body."""


@pytest.fixture(scope="module")
def hasty(bands: Model) -> Iterator[str]:
    limits = Limits(head_seconds=SECONDS, body_seconds=SECONDS)
    with serve_in_thread(bands, limits) as address:
        yield address


def connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def read_status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


def post(head: str = "", length: int | None = None) -> bytes:
    length = len(THREE) if length is None else length
    head = f"Host: localhost\r\nContent-Length: {length}\r\n{head}\r\n"
    return f"POST /predict HTTP/1.1\r\n{head}".encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /pre",
        post()[:-2],
        post(),
        post() + THREE[:30],
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_a_slow_client_gets_408(hasty: str, sent: bytes) -> None:
    started = time.monotonic()
    with connect(hasty) as connection:
        connection.sendall(sent)
        answer = b""
        while b"}" not in answer:
            part = connection.recv(10_000)
            assert part, answer
            answer += part
    assert read_status(answer) == 408
    assert b"within 0.4 seconds" in answer
    assert SECONDS - 0.1 < time.monotonic() - started < 5


def test_a_trickle_is_slow_too(hasty: str) -> None:
    with connect(hasty) as connection:
        connection.sendall(post(length=1_000))
        started = time.monotonic()
        try:
            while time.monotonic() - started < 5:
                connection.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - started < 4  # The limit, and a second to hear the answer.


@pytest.mark.parametrize(
    "sent",
    [
        post(f"X-Long: {'x' * 20_000}\r\n"),
        post("".join(f"X-{number}: {'x' * 100}\r\n" for number in range(300))),
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 300_000,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000,
    ],
)
def test_long_headers_are_refused(address: str, sent: bytes) -> None:
    with connect(address) as connection:
        connection.sendall(sent)
        assert read_status(read_all(connection)) in (400, 431)


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_gets_400(address: str, sent: bytes) -> None:
    with connect(address) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert read_status(read_all(connection)) == 400


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_sent(address: str) -> None:
    with connect(address) as connection:
        started = time.monotonic()
        connection.sendall(post("Expect: 100-continue\r\n", length=20_000_000))
        answer = read_all(connection)
    assert read_status(answer) == 413
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - started < 0.9


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_a_body_that_is_too_long_still_hears_why(
    client: httpx.Client, chunked: bool
) -> None:
    body = b"x" * 20_000_000
    content = (body[at : at + 200_000] for at in range(0, len(body), 200_000)) if chunked else body
    answer = client.post("/predict", content=content)
    assert answer.status_code == 413
    assert "16,777,216 bytes" in answer.json()["error"]
    assert answer.headers["Connection"] == "close"


def test_a_body_of_just_the_limit_is_read(client: httpx.Client) -> None:
    answer = client.post("/predict", content=b"x" * Limits().body_bytes)
    assert answer.status_code == 415


def test_bodies_of_all_requests_together_are_bounded_and_given_back(bands: Model) -> None:
    """Three clients hold 600 kB each of a megabyte: the third is turned away, for a moment."""
    limits = Limits(body_bytes=900_000, buffered_bytes=1_500_000)
    with serve_in_thread(bands, limits) as address:
        held = [connect(address) for _ in range(3)]
        for connection in held[:2]:
            connection.sendall(post(length=700_000) + bytes(600_000))
        with httpx.Client(base_url=address, timeout=30) as client:
            deadline = time.monotonic() + 20
            while True:  # Until the server has read what the two have sent.
                busy = client.post("/predict", content=b"x" * 600_000)
                if busy.status_code == 503 or time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            assert busy.status_code == 503
            assert "too many large requests" in busy.json()["error"]
            assert busy.headers["Retry-After"] == "1"
            assert client.post("/predict", content=THREE).status_code == 200
            for connection in held[:2]:
                connection.sendall(bytes(100_000))
                assert read_status(read_all_of_one(connection)) == 415
            assert client.post("/predict", content=b"x" * 800_000).status_code == 415
        for connection in held:
            connection.close()


def read_all_of_one(connection: socket.socket) -> bytes:
    """Read what the server sends next, on a connection that stays open."""
    return connection.recv(2**16)


def test_a_connection_is_kept_and_requests_in_a_row_are_answered_in_order(address: str) -> None:
    with connect(address) as connection:
        requests = [post() + write_image(draw_band(number)) for number in range(3)]
        sizes = {len(write_image(draw_band(number))) for number in range(3)}
        if sizes != {len(THREE)}:
            requests = [
                post(length=len(write_image(draw_band(number)))) + write_image(draw_band(number))
                for number in range(3)
            ]
        last = b"GET /v2/health/live HTTP/1.1\r\nConnection: close\r\n\r\n"
        connection.sendall(b"".join(requests) + last)
        answers = read_all(connection).split(b"HTTP/1.1 ")[1:]
    labels = [json.loads(answer.split(b"\r\n\r\n")[1])["label"] for answer in answers[:3]]
    assert labels == ["band 0", "band 1", "band 2"]
    assert answers[3].startswith(b"200 ")


def test_who_leaves_early_does_no_harm(address: str, client: httpx.Client) -> None:
    for sent in (b"", b"POST", post(), post() + THREE[:10], post() + THREE):
        with connect(address) as connection:
            connection.sendall(sent)
    assert client.post("/predict", content=THREE).status_code == 200


def test_too_many_connections_get_503_and_are_told_when_to_try_again(bands: Model) -> None:
    with serve_in_thread(bands, Limits(connections=2)) as address:
        idle = [connect(address) for _ in range(2)]
        try:
            with connect(address) as connection:
                connection.sendall(b"GET /v2/health/live HTTP/1.1\r\n\r\n")
                answer = read_all(connection)
            assert read_status(answer) == 503
            assert b"retry-after: 1" in answer.lower()
        finally:
            for one in idle:
                one.close()
        time.sleep(0.1)
        assert httpx.get(f"{address}/v2/health/live").status_code == 200


def test_an_upgrade_to_a_websocket_is_an_ordinary_request(address: str) -> None:
    with connect(address) as connection:
        connection.sendall(
            b"GET /v2/health/live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert read_status(connection.recv(10_000)) in (200, 400)
