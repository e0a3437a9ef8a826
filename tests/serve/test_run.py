"""``burnish serve`` as a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from burnish.errors import BundleError, ServeError
from burnish.serve.run import open_socket

from .bundles import draw_band, write_image
from .test_metrics import read_samples

THREE = write_image(draw_band(3))


@contextlib.contextmanager
def start(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "burnish", "serve", *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+?:\d+", line)
            assert found, (line, process.stderr and process.stderr.read())
            yield process, found[0]
        finally:
            process.kill()


def test_the_server_starts_soon_drains_at_sigterm_and_exits_with_0(bands_folder: Path) -> None:
    begun = time.monotonic()
    with start(str(bands_folder)) as (process, address):
        assert httpx.post(f"{address}/predict", content=THREE).json()["label"] == "band 3"
        # Two seconds where nothing else runs (benchmarks/serve.py measures it); here, tests do.
        assert time.monotonic() - begun < 10
        with httpx.Client(base_url=address) as client:
            times = [client.post("/predict", content=THREE).elapsed for _ in range(10)]
        assert min(times[1:]).total_seconds() < 0.03  # Nagle's algorithm would make it 0.04.
        answers: list[httpx.Response] = []

        def send_slowly() -> None:
            def body() -> Iterator[bytes]:
                yield THREE[:40]
                time.sleep(1.5)
                yield THREE[40:]

            answers.append(httpx.post(f"{address}/predict", content=body(), timeout=30))

        slow = threading.Thread(target=send_slowly)
        slow.start()
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{address}/v2/health/live")
        assert process.wait(timeout=10) == 0
        slow.join()
        assert answers[0].status_code == 200
        assert answers[0].json()["label"] == "band 3"
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_request_that_never_ends_does_not_keep_a_server_from_ending(bands_folder: Path) -> None:
    with start(str(bands_folder)) as (process, address):
        host, _, port = address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 100\r\n\r\nhello")
            time.sleep(0.5)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            answer = connection.recv(10_000)
            assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 503"))
            assert process.wait(timeout=10) == 0
            assert time.monotonic() - begun < 10


def test_several_workers_answer_and_add_their_metrics_up(bands_folder: Path) -> None:
    with start(str(bands_folder), "--workers", "2") as (process, address):
        for _ in range(12):  # Each on a connection of its own, so that both get some.
            answer = httpx.post(f"{address}/predict", content=THREE, timeout=30)
            assert answer.json()["label"] == "band 3"
        samples = read_samples(httpx.get(f"{address}/metrics").text)
        labels = frozenset({("path", "/predict"), ("status", "200")})
        assert samples["burnish_requests_total", labels] == 12
        assert samples["burnish_waiting", frozenset()] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


WHAT_IS_IMPORTED = """
import sys
import burnish.cli, burnish.serve.run, burnish.serve.app, burnish.serve.connection
print(sorted({"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "optuna", "onnx",
              "burnish.study", "burnish.training", "burnish.backend"} & set(sys.modules)))
"""


def test_serving_imports_nothing_that_trains() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHAT_IS_IMPORTED],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "[]\n"


def test_a_port_in_use_is_an_error_with_a_mend(bands_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "burnish", "serve", str(bands_folder), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1, port {port} (")
    assert "--port" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("host", "part"),
    [
        ("no.such.host.invalid", "--host no.such.host.invalid is not known"),
        ("a..b", "is not known"),
        ("192.0.2.1", "cannot listen on 192.0.2.1"),  # Of no machine, by RFC 5737.
    ],
)
def test_a_host_that_is_not_there_is_an_error(host: str, part: str) -> None:
    with pytest.raises(ServeError, match=re.escape(part)):
        open_socket(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_addresses_that_can_be_listened_on(host: str) -> None:
    with open_socket(host, 0) as listener:
        assert listener.getsockname()[1] > 0


def test_a_model_that_is_not_there_is_an_error_before_the_port_is_taken(tmp_path: Path) -> None:
    from burnish.serve.run import serve

    with pytest.raises(BundleError, match="absent"):
        serve(tmp_path / "absent", "127.0.0.1", 0, 1, lambda *_: pytest.fail("announced"))
