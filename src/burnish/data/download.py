"""Fetch a file from the first of several mirrors that has it.

A file appears under its own name only when it is whole and its SHA-256 is right.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from burnish.errors import DataError

OnProgress: TypeAlias = Callable[[int, int | None], None]
"""Told the bytes received so far and, where the mirror says it, of how many."""

# No file that is fetched is larger than this, packed or unpacked.
MAX_BYTES = 64 * 2**20
# A transfer in which nothing arrives for this long has failed.
STALL_S = 20.0

_GZIP_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 2**16
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


@dataclass
class ConnectBudget:
    """Time that fruitless attempts to connect may take, over all files of a data set.

    Without it, a machine with no network would wait for every mirror and every file in
    turn. A mirror that could not be reached is not tried again.

    Parameters
    ----------
    seconds : float
        What is left.
    unreachable : dict
        Why, by the mirror's host and port.

    """

    seconds: float = 15.0
    unreachable: dict[str, str] = field(default_factory=dict)


class _MirrorError(Exception):
    """A mirror does not give the file; the next one may."""


class _UnreachableError(_MirrorError):
    """Nothing answers at this mirror, so other files are not to be had there either."""


def fetch(
    urls: Sequence[str],
    path: Path,
    sha256: str,
    *,
    budget: ConnectBudget | None = None,
    deadline_s: float = 600.0,
    max_bytes: int = MAX_BYTES,
    on_progress: OnProgress | None = None,
) -> None:
    """Fetch a file, trying the mirrors in order.

    The bytes go to a temporary file beside `path`, which is flushed to disk and renamed
    once its hash is right, and removed otherwise.

    Parameters
    ----------
    urls : sequence of str
        The same file at several mirrors, over HTTPS (or HTTP from this machine itself).
    path : Path
        Where it goes; folders are made as needed.
    sha256 : str
        Expected hash (hex) of the content: of the decompressed bytes, where the file is a
        gzip archive. Archives of the same content differ by who packed them.
    budget : ConnectBudget, optional
        Shared by the files of a data set; by default 15 seconds for this one.
    deadline_s : float
        Seconds that the transfer from one mirror may take.
    max_bytes : int
        Largest size accepted, of the file and of its content.
    on_progress : callable, optional
        Called with the bytes received so far and the announced number or None.

    Raises
    ------
    DataError
        If no mirror gives the file, with the reason for each URL; or if `path` cannot be
        written.

    """
    budget = ConnectBudget() if budget is None else budget
    reasons = []
    for place, url in enumerate(urls):
        # What is left is shared among the mirrors still to come, lest one use it all.
        hosts = {urlsplit(other).netloc for other in urls[place:]} - set(budget.unreachable)
        try:
            with _connect(url, budget, budget.seconds / max(1, len(hosts))) as response:
                _store(response, path, sha256, deadline_s, max_bytes, on_progress)
        except _MirrorError as error:
            if isinstance(error, _UnreachableError):
                budget.unreachable.setdefault(urlsplit(url).netloc, str(error))
            reasons.append(f"  {url}: {error}")
        except OSError as error:
            raise DataError(
                f"{path} cannot be written ({error.strerror or error}); make room, or name "
                "another folder"
            ) from error
        else:
            return
    raise DataError("\n".join([f"{path.name} could not be downloaded:", *reasons]))


@contextmanager
def show_progress(name: str) -> Iterator[OnProgress]:
    """Show a download on stderr: a bar on a terminal, one plain line otherwise.

    Parameters
    ----------
    name : str
        What is being downloaded.

    """
    if not sys.stderr.isatty():
        sys.stderr.write(f"downloading {name}\n")
        yield lambda received, announced: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=None)

        def update(received: int, announced: int | None) -> None:
            progress.update(task, completed=received, total=announced)

        yield update


def _connect(url: str, budget: ConnectBudget, timeout_s: float) -> http.client.HTTPResponse:
    """Wait for the response's head; failures are charged to the budget."""
    _refuse_insecure(url)
    if reason := budget.unreachable.get(urlsplit(url).netloc):
        raise _MirrorError(f"not tried again ({reason})")
    if budget.seconds <= 0:
        raise _MirrorError("not tried: the time for connecting is used up")

    # In a thread of its own, as a socket's timeout holds for one address of a host, and
    # looking up its name has none: together they can take minutes.
    attempt = _Attempt(url)
    started = time.monotonic()
    attempt.thread.start()
    attempt.thread.join(timeout_s)
    response = attempt.collect()
    if isinstance(response, http.client.HTTPResponse):
        try:
            _refuse_insecure(response.url)
        except _MirrorError:
            response.close()
            raise
        return response
    if isinstance(response, urllib.error.HTTPError):
        response.close()
        raise _MirrorError(f"HTTP status {response.code} {response.reason}")
    budget.seconds -= time.monotonic() - started
    if response is None:
        raise _UnreachableError(f"no answer within {timeout_s:.1f} s")
    if isinstance(response, urllib.error.URLError):
        raise _UnreachableError(str(response.reason))
    raise _UnreachableError(f"{type(response).__name__}: {response}")


class _Attempt:
    """One request in a daemon thread, which may be left behind."""

    def __init__(self, url: str) -> None:
        self.thread = threading.Thread(target=self._ask, args=(url,), daemon=True)
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._outcome: http.client.HTTPResponse | Exception | None = None

    def collect(self) -> http.client.HTTPResponse | Exception | None:
        """Return the response or the exception, or None and give up where there is neither."""
        with self._lock:
            self._is_abandoned = self._outcome is None
            return self._outcome

    def _ask(self, url: str) -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "burnish"})
        outcome: http.client.HTTPResponse | Exception
        try:
            # An opener of its own: urlopen keeps the proxies of the first use for ever.
            outcome = urllib.request.build_opener().open(request, timeout=STALL_S)
        except Exception as error:  # carried over to the waiting thread
            outcome = error
        with self._lock:
            self._outcome = outcome
            if self._is_abandoned and not isinstance(outcome, Exception):
                outcome.close()


def _store(
    response: http.client.HTTPResponse,
    path: Path,
    sha256: str,
    deadline_s: float,
    max_bytes: int,
    on_progress: OnProgress | None,
) -> None:
    """Write the body to `path` once it is whole and right."""
    content = _Content(max_bytes)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            for piece in _receive(response, deadline_s, max_bytes, on_progress):
                content.update(piece)
                file.write(piece)
            found = content.finish()
            if found != sha256.lower():
                raise _MirrorError(
                    f"wrong content: its SHA-256 is {found}, expected {sha256.lower()}"
                )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _receive(
    response: http.client.HTTPResponse,
    deadline_s: float,
    max_bytes: int,
    on_progress: OnProgress | None,
) -> Iterator[bytes]:
    """Return the body in pieces, and check its length and the time it takes."""
    started = time.monotonic()
    announced = response.length
    if announced is not None and announced > max_bytes:
        raise _MirrorError(f"announces {announced} bytes; at most {max_bytes} are accepted")
    received = 0
    while True:
        try:
            # What has arrived, not a full piece: so a trickle meets the deadline too.
            piece = response.read1(_PIECE_BYTES)
        except TimeoutError as error:
            raise _UnreachableError(
                f"nothing more for {STALL_S:.0f} s, after {received} bytes"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise _MirrorError(f"broke off after {received} bytes ({error!r})") from error
        if not piece:
            break
        received += len(piece)
        if received > max_bytes:
            raise _MirrorError(f"sends more than the {max_bytes} bytes that are accepted")
        if time.monotonic() - started > deadline_s:
            raise _MirrorError(f"too slow: {received} bytes within {deadline_s:.0f} s")
        if on_progress is not None:
            on_progress(received, announced)
        yield piece
    if announced is not None and received < announced:
        raise _MirrorError(f"broke off after {received} of {announced} bytes")


class _Content:
    """Hashes the content as it arrives, unpacked where it is a gzip archive."""

    def __init__(self, max_bytes: int) -> None:
        self._digest = hashlib.sha256()
        self._head = b""
        self._unpacker: zlib._Decompress | None = None
        self._is_begun = False
        self._room = max_bytes

    def update(self, piece: bytes) -> None:
        if not self._is_begun:
            # The first piece may be a single byte.
            self._head += piece
            if len(self._head) < len(_GZIP_MAGIC):
                return
            self._begin()
            piece = self._head
        if self._unpacker is None:
            self._digest.update(piece)
            return
        try:
            while piece and not self._unpacker.eof:
                unpacked = self._unpacker.decompress(piece, 2**20)
                piece = self._unpacker.unconsumed_tail
                self._room -= len(unpacked)
                if self._room < 0:
                    raise _MirrorError("unpacks to more bytes than are accepted")
                self._digest.update(unpacked)
        except zlib.error as error:
            raise _MirrorError(f"damaged gzip archive ({error})") from error
        if piece or self._unpacker.unused_data:
            raise _MirrorError("bytes after the end of the gzip archive")

    def finish(self) -> str:
        """Return the hash (hex)."""
        if not self._is_begun:
            self._digest.update(self._head)
        if self._unpacker is not None and not self._unpacker.eof:
            raise _MirrorError("the gzip archive is cut off")
        return self._digest.hexdigest()

    def _begin(self) -> None:
        self._is_begun = True
        if self._head.startswith(_GZIP_MAGIC):
            self._unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def _refuse_insecure(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise _MirrorError(f"{url} is not fetched; expected an https:// address")


def _flush_folder(folder: Path) -> None:
    """Make the new name itself last; Windows has no such call, and needs none."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
