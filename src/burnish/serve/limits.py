"""What the server accepts, and how it says that it does not."""

from __future__ import annotations

from dataclasses import dataclass

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
    pixels
        Largest image, before it is decoded.
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
    """

    body_bytes: int = 2 * 2**20
    pixels: int = 4_000_000
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


class RefusalError(Exception):
    """A request that is answered with an error.

    Attributes
    ----------
    status
        HTTP status, 4xx or 503.
    message
        What was given, what was expected, and the mend.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    @property
    def headers(self) -> dict[str, str]:
        """Headers that go with the status."""
        return {"Retry-After": str(BUSY_SECONDS)} if self.status == 503 else {}
