"""What every request passes: whom it comes from, limits of its body, headers of its answer.

A page from elsewhere that is allowed is answered as browsers ask for it (Fetch standard, "CORS
protocol"): its preflight, and then headers that let its script read the answer.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from burnish.hosts import explain_foreign, is_allowed_origin
from burnish.serve.limits import LINGER_SECONDS, Limits, RefusalError
from burnish.serve.metrics import Metrics
from burnish.serve.replies import refuse

SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
"""Sent with every answer. The page has no inline script or style, and nothing from outside."""

PREFLIGHT_SECONDS = 600
"""How long a browser may keep what a preflight was answered."""


class Guard:
    """ASGI application around another one."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._buffered = _Buffered()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._limits, self._buffered)
        try:
            try:
                exchange.check_head()
                if exchange.is_preflight:
                    await exchange.answer_preflight()
                else:
                    await self._app(scope, exchange.receive, exchange.send)
            except RefusalError as refusal:
                await refuse(refusal)(scope, exchange.receive, exchange.send)
            except asyncio.CancelledError:
                # The time to drain is over. Without an answer here the server would send 500.
                if exchange.status:
                    raise
                stop = RefusalError(503, "the server is stopping; try again")
                await refuse(stop)(scope, exchange.receive, exchange.send)
        finally:
            exchange.release()
            route = scope.get("route")
            path = "other" if route is None else route.path
            self._metrics.count_request(path, exchange.status, time.perf_counter() - started)


@dataclass
class _Buffered:
    """Bytes of the bodies of all requests that are under way in this process."""

    num_bytes: int = 0


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, limits: Limits, buffered: _Buffered
    ) -> None:
        self._buffered = buffered
        self.status = 0
        self._limits = limits
        self._receive = receive
        self._send = send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        hosts, origins = (
            [value.decode("latin-1") for key, value in scope["headers"] if key == name]
            for name in (b"host", b"origin")
        )
        self._foreign = explain_foreign(hosts, origins, limits.hosts, limits.origins)
        allowed = len(origins) == 1 and is_allowed_origin(origins[0], limits.origins)
        self._reader = origins[0] if allowed and self._foreign is None else None
        self.is_preflight = (
            self._reader is not None
            and scope["method"] == "OPTIONS"
            and b"access-control-request-method" in self._headers
        )
        self._length = self._headers.get(b"content-length", b"")
        self._num_bytes = 0
        self._deadline = 0.0
        # HTTP has a body only where one of these announces it.
        self._complete = self._length in (b"", b"0") and b"transfer-encoding" not in self._headers

    def check_head(self) -> None:
        """Refuse what can be refused before the body is there."""
        if self._foreign is not None:
            reason, option = self._foreign
            remedy = f"; 'burnish serve {option}' lets it in" if option else ""
            raise RefusalError(403, f"{reason}{remedy}")
        if self._length.isdigit() and int(self._length[:12]) > self._limits.body_bytes:
            raise self._too_long()
        encoding = self._headers.get(b"content-encoding", b"identity")
        if encoding.lower() != b"identity":
            raise RefusalError(415, "a body with Content-Encoding; send it as it is")

    async def receive(self) -> Message:
        """Return the body's next part, within the limits of size and time."""
        if self._complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._deadline = self._deadline or loop.time() + self._limits.body_seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RefusalError(
                408, f"the body did not arrive within {self._limits.body_seconds:g} seconds"
            ) from None
        if message["type"] == "http.request":
            self._count(len(message.get("body", b"")))
            self._complete = not message.get("more_body", False)
            if self._num_bytes > self._limits.body_bytes:
                raise self._too_long()
        else:
            self._complete = True
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on, with its headers; end the connection if the body was not read."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], *SECURITY_HEADERS, *self._sharing()]
            if not self._complete:
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
        elif self._complete or message.get("more_body", False):
            await self._send(message)
        else:
            # To close with unread data in the socket would reset the connection, and many
            # clients would never see the answer: so read on for a moment, then close.
            await self._send({**message, "more_body": True})
            await self._linger()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def answer_preflight(self) -> None:
        """Tell a browser that the page it asks for may send its request."""
        headers = [
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", b"content-type"),
            (b"access-control-max-age", str(PREFLIGHT_SECONDS).encode()),
        ]
        # Asked where a page of the open network turns to a machine of a private one.
        if self._headers.get(b"access-control-request-private-network") == b"true":
            headers.append((b"access-control-allow-private-network", b"true"))
        await self.send({"type": "http.response.start", "status": 204, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def release(self) -> None:
        """Return the memory of the body back."""
        self._buffered.num_bytes -= self._num_bytes
        self._num_bytes = 0

    def _count(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        self._buffered.num_bytes += num_bytes
        if self._buffered.num_bytes > self._limits.buffered_bytes:
            raise RefusalError(503, "too many large requests are under way; try again")

    def _sharing(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that say which pages may read the answer."""
        vary = [(b"vary", b"origin")] if self._limits.origins else []
        if self._reader is None:
            return [*vary, (b"cross-origin-resource-policy", b"same-origin")]
        return [
            *vary,
            (b"access-control-allow-origin", self._reader.encode("latin-1")),
            (b"access-control-expose-headers", b"retry-after"),
            (b"cross-origin-resource-policy", b"cross-origin"),
        ]

    def _too_long(self) -> RefusalError:
        return RefusalError(413, f"the body is longer than {self._limits.body_bytes:,} bytes")

    async def _linger(self) -> None:
        waits_for_leave = self._headers.get(b"expect", b"").lower() == b"100-continue"
        if waits_for_leave and not self._num_bytes:
            return  # Nothing has been sent, and nothing will be.
        left = 4 * self._limits.body_bytes
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    message = await self._receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        return
                    left -= len(message.get("body", b""))
        except TimeoutError:
            return
