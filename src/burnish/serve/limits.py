"""What the server accepts, and how it says that it does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from burnish.errors import ServeError
from burnish.hosts import parse_origin
from burnish.sizes import parse_size

LEAST_BODY, MOST_BODY = 2**10, 2**30
"""Between these lies the largest request body that may be asked for, in bytes."""

BUSY_SECONDS = 1
"""What ``Retry-After`` asks of a client that was turned away."""

LINGER_SECONDS = 1.0
"""How long what a refused client still sends is taken in, unread, before the connection ends."""


@dataclass(frozen=True)
class Limits:
    """What one server process accepts.

    Attributes
    ----------
    body_bytes
        Largest request body.
    buffered_bytes
        Of the bodies of all requests that are under way; more get 503.
    pixels
        Largest image, and the most pixels of all images that are decoded at a time.
    batch
        Most images in one request of the Open Inference Protocol.
    queue
        Most predictions that wait or run; more get 503.
    connections
        Most open connections; more get 503.
    threads
        For work that would hold up the event loop.
    head_bytes
        Largest request line with headers.
    head_seconds, body_seconds
        Within these a client must have sent its headers, and then its body.
    answer_seconds
        Within these a prediction must be there, else 503.
    idle_seconds
        How long a connection may stay open between two requests.
    drain_seconds
        How long requests under way may take once the server was told to stop.
    hosts
        Names by which the server is asked, beside addresses and ``localhost``; see
        :func:`burnish.hosts.explain_foreign`.
    origins
        Pages from elsewhere that may ask and read the answer; see
        :func:`burnish.hosts.parse_origin`.
    """

    body_bytes: int = 16 * 2**20
    buffered_bytes: int = 128 * 2**20
    pixels: int = 64_000_000
    batch: int = 256
    queue: int = 64
    connections: int = 512
    threads: int = 2
    head_bytes: int = 16 * 2**10
    head_seconds: float = 5.0
    body_seconds: float = 10.0
    answer_seconds: float = 10.0
    idle_seconds: float = 15.0
    drain_seconds: float = 8.0
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()


def make_limits(max_body: str, max_pixels: int, origins: Iterable[str]) -> Limits:
    """Make limits of what stands on the command line.

    Parameters
    ----------
    max_body
        A size, such as ``16MiB``; see :func:`burnish.sizes.parse_size`.
    max_pixels
        Of one image.
    origins
        See :func:`burnish.hosts.parse_origin`.

    Raises
    ------
    ServeError
        If one of them is none.
    """
    try:
        body_bytes = parse_size(max_body)
    except ValueError as error:
        raise ServeError(f"--max-body: {error}") from error
    if not LEAST_BODY <= body_bytes <= MOST_BODY:
        raise ServeError(
            f"--max-body {max_body} is out of range: expected {LEAST_BODY // 2**10} KiB to "
            f"{MOST_BODY // 2**30} GiB"
        )
    try:
        allowed = frozenset(map(parse_origin, origins))
    except ValueError as error:
        raise ServeError(f"--allow-origin: {error}") from error
    return Limits(
        body_bytes=body_bytes,
        buffered_bytes=max(Limits.buffered_bytes, 2 * body_bytes),
        pixels=max_pixels,
        origins=allowed,
    )


class RefusalError(Exception):
    """A request that is answered with an error.

    Attributes
    ----------
    status
        HTTP status, 4xx or 503.
    message
        What was given, what was expected, and the remedy.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with the status."""
        return {"Retry-After": str(BUSY_SECONDS)} if self.status == 503 else {}
