"""A load generator: keeps connections busy with one request, and measures every answer.

It works on raw sockets and an event queue of the system, in a process of its own, at a cost of
some 20 microseconds a request: far below what it measures.
"""

from __future__ import annotations

import selectors
import socket
import time
from array import array
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context


@dataclass(frozen=True)
class Load:
    """What came of a load.

    ``latencies`` are sorted, in seconds; ``errors`` are answers other than 200 and broken
    connections.
    """

    seconds: float
    latencies: array[float]
    errors: int

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Latency in milliseconds that this share of answers did not exceed."""
        return (
            1_000 * self.latencies[min(int(share * len(self.latencies)), len(self.latencies) - 1)]
        )


def measure_load(
    host: str, port: int, request: bytes, num_connections: int, seconds: float
) -> Load:
    """Send a request over and over on each of several connections, from another process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_generate, host, port, request, num_connections, seconds).result()


class _Connection:
    """One connection: sends, waits for the whole answer, sends again."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._answer = b""

    def send(self) -> None:
        self._answer = b""
        self.sent = time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self) -> bool | None:
        """Take what came; True and False when the answer is whole: 200, or another."""
        part = self.socket.recv(65_536)
        if not part:
            raise ConnectionError
        self._answer += part
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end:
            return None
        at = head.lower().index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        return self._answer.startswith(b"HTTP/1.1 200 ") if len(body) >= length else None


def _generate(host: str, port: int, request: bytes, num_connections: int, seconds: float) -> Load:
    latencies = array("d")
    errors = 0
    selector = selectors.DefaultSelector()
    connections = [_Connection(host, port, request) for _ in range(num_connections)]
    started = time.perf_counter()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send()
    while (now := time.perf_counter()) - started < seconds and selector.get_map():
        for key, _ in selector.select(timeout=1):
            connection = key.data
            try:
                good = connection.receive()
            except (ConnectionError, ValueError):
                errors += 1
                selector.unregister(connection.socket)
                continue
            if good is None:
                continue
            if good:
                latencies.append(time.perf_counter() - connection.sent)
            else:
                errors += 1
            connection.send()
    for connection in connections:
        connection.socket.close()
    return Load(now - started, array("d", sorted(latencies)), errors)
