from __future__ import annotations

import gzip
import hashlib
import http.server
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from burnish.data import download
from burnish.data.download import ConnectBudget, fetch, show_progress
from burnish.errors import DataError

CONTENT = bytes(range(256)) * 2000
PACKED = gzip.compress(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirror:
    """A web server on this machine; gives what is put into `files`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}
        self.redirects: dict[str, str] = {}
        self.wait_s = 0.0
        self.asked: list[str] = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.asked.append(self.path)
                time.sleep(mirror.wait_s)
                if self.path in mirror.redirects:
                    self.send_response(302)
                    self.send_header("Location", mirror.redirects[self.path])
                    self.end_headers()
                    return
                if self.path not in mirror.files:
                    self.send_error(404)
                    return
                body = mirror.files[self.path]
                self.send_response(200)
                length = mirror.announced.get(self.path, len(body))
                if length >= 0:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    yield mirror
    mirror.stop()


@pytest.fixture
def closed_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Return the address of a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_fetches_whole_and_leaves_nothing_else(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/a.gz"] = PACKED
    told: list[tuple[int, int | None]] = []
    path = tmp_path / "new" / "folder" / "a.gz"
    fetch([f"{mirror.url}/a.gz"], path, SHA256, on_progress=lambda *now: told.append(now))
    assert path.read_bytes() == PACKED
    assert list(path.parent.iterdir()) == [path]
    assert told[-1] == (len(PACKED), len(PACKED))


def test_the_hash_is_of_the_content_not_of_the_archive(mirror: Mirror, tmp_path: Path) -> None:
    for number, body in enumerate((gzip.compress(CONTENT, 1), gzip.compress(CONTENT, 9), CONTENT)):
        mirror.files["/a.gz"] = body
        path = tmp_path / f"{number}.gz"
        fetch([f"{mirror.url}/a.gz"], path, SHA256.upper())
        assert path.read_bytes() == body


def test_a_wrong_hash_goes_on_to_the_next_mirror(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/bad/a.gz"] = gzip.compress(b"something else")
    mirror.files["/good/a.gz"] = PACKED
    path = tmp_path / "a.gz"
    fetch([f"{mirror.url}/bad/a.gz", f"{mirror.url}/good/a.gz"], path, SHA256)
    assert mirror.asked == ["/bad/a.gz", "/good/a.gz"]
    assert path.read_bytes() == PACKED
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("body", "announced", "reason"),
    [
        (
            gzip.compress(b"else"),
            None,
            "wrong content: its SHA-256 is 7dd530c4[0-9a-f]+, expected 8acfcabd",
        ),
        (PACKED[:100], len(PACKED), rf"broke off after 100 of {len(PACKED)} bytes"),
        (PACKED[:-20], -1, "gzip archive is cut off"),
        (PACKED[:-20], None, "gzip archive is cut off"),
        (PACKED[:40] + b"\xff" * 40 + PACKED[80:], None, "damaged gzip archive"),
        (PACKED + b"more", None, "bytes after the end of the gzip archive"),
        (b"<html>sign in first</html>", None, "wrong content"),
        (b"", None, "wrong content"),
        (b"x" * 10, 10**9, "announces 1000000000 bytes; at most 1000000 are"),
        (b"x" * 1_000_001, -1, "sends more than the 1000000 bytes"),
        (gzip.compress(bytes(2_000_000)), None, "unpacks to more bytes than are accepted"),
        (None, None, "HTTP status 404 Not Found"),
    ],
    ids=lambda value: "body" if isinstance(value, bytes) else None,
)
def test_says_why_a_mirror_failed(
    mirror: Mirror, tmp_path: Path, body: bytes | None, announced: int | None, reason: str
) -> None:
    if body is not None:
        mirror.files["/a.gz"] = body
    if announced is not None:
        mirror.announced["/a.gz"] = announced
    url = f"{mirror.url}/a.gz"
    path = tmp_path / "a.gz"
    path.write_bytes(b"what was there")
    with pytest.raises(DataError, match=rf"a\.gz could not be downloaded:\n  {url}: .*{reason}"):
        fetch([url], path, SHA256, max_bytes=1_000_000)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unreachable_mirror_is_not_tried_again(
    mirror: Mirror, closed_url: str, tmp_path: Path
) -> None:
    mirror.files["/a.gz"] = mirror.files["/b.gz"] = PACKED
    budget = ConnectBudget()
    for name in ("a.gz", "b.gz"):
        fetch(
            [f"{closed_url}/{name}", f"{mirror.url}/{name}"],
            tmp_path / name,
            SHA256,
            budget=budget,
        )
    assert list(budget.unreachable) == [closed_url.removeprefix("http://")]
    with pytest.raises(DataError, match=r"c\.gz: not tried again \(.*refused.*\)"):
        fetch([f"{closed_url}/c.gz"], tmp_path / "c.gz", SHA256, budget=budget)


def test_silent_mirrors_cost_no_more_than_the_budget(
    silent_url: str, closed_url: str, tmp_path: Path
) -> None:
    budget = ConnectBudget(seconds=0.6)
    other_url = silent_url.replace("127.0.0.1", "localhost")
    started = time.monotonic()
    with pytest.raises(DataError) as caught:
        fetch(
            [f"{url}/a.gz" for url in (silent_url, closed_url, other_url)],
            tmp_path / "a.gz",
            SHA256,
            budget=budget,
        )
    assert 0.3 < time.monotonic() - started < 1.5
    _, first, second, third = str(caught.value).splitlines()
    # The first has its share of the time, and leaves the others theirs.
    assert first == f"  {silent_url}/a.gz: no answer within 0.2 s"
    assert "refused" in second
    assert "no answer within 0." in third
    with pytest.raises(DataError, match="time for connecting is used up"):
        fetch(["https://example.invalid/"], tmp_path / "b", SHA256, budget=budget)


def test_a_late_answer_is_let_go(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/a.gz"] = PACKED
    mirror.wait_s = 0.4
    with pytest.raises(DataError, match=r"no answer within 0\.1 s"):
        fetch([f"{mirror.url}/a.gz"], tmp_path / "a.gz", SHA256, budget=ConnectBudget(0.1))
    time.sleep(0.6)  # the answer arrives; an unclosed one would be a ResourceWarning
    assert list(tmp_path.iterdir()) == []


def test_a_transfer_has_a_deadline(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/a.gz"] = PACKED
    with pytest.raises(DataError, match=r"too slow: \d+ bytes within 0 s"):
        fetch([f"{mirror.url}/a.gz"], tmp_path / "a.gz", SHA256, deadline_s=0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_stalled_transfer_counts_as_unreachable(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_S", 0.2)
    release = threading.Event()

    def send_half(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + PACKED[:50])
            release.wait(5)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=send_half, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        budget = ConnectBudget()
        with pytest.raises(DataError, match=r"nothing more for 0 s, after 50 bytes"):
            fetch([f"{url}/a.gz"], tmp_path / "a.gz", SHA256, budget=budget)
        release.set()
        thread.join()
    assert url.removeprefix("http://") in budget.unreachable
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.org/a.gz", "file:///etc/hosts", "ftp://x/a"])
def test_only_https_leaves_the_machine(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not fetched; expected an https:// address"):
        fetch([url], tmp_path / "a.gz", SHA256)


def test_an_unwritable_folder_is_not_the_mirror_s_fault(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/a.gz"] = PACKED
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be written .*name another folder"):
        fetch([f"{mirror.url}/a.gz"], in_the_way / "a.gz", SHA256)


def test_progress_is_one_line_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_progress("a.gz") as on_progress:
        on_progress(1, 2)
        on_progress(2, 2)
    assert capsys.readouterr().err == "downloading a.gz\n"


def test_progress_is_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress("a.gz") as on_progress:
        on_progress(1_000_000, 2_000_000)
        on_progress(2_000_000, 2_000_000)
    shown = capsys.readouterr().err
    assert "a.gz" in shown
    assert "2.0/2.0 MB" in shown
