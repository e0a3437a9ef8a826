"""What every request passes: whom it comes from, limits of its body, headers of its answer."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from burnish.hosts import explain_foreign
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
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
"""Sent with every answer. The page has no inline script or style, and nothing from outside."""


class Guard:
    """ASGI application around another one."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._limits)
        try:
            try:
                exchange.check_head()
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
            route = scope.get("route")
            path = "other" if route is None else route.path
            self._metrics.count_request(path, exchange.status, time.perf_counter() - started)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.status = 0
        self._limits = limits
        self._receive = receive
        self._send = send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        hosts, origins = (
            [value.decode("latin-1") for key, value in scope["headers"] if key == name]
            for name in (b"host", b"origin")
        )
        self._foreign = explain_foreign(hosts, origins, limits.hosts)
        self._length = self._headers.get(b"content-length", b"")
        self._num_bytes = 0
        self._deadline = 0.0
        # HTTP has a body only where one of these announces it.
        self._complete = self._length in (b"", b"0") and b"transfer-encoding" not in self._headers

    def check_head(self) -> None:
        """Refuse what can be refused before the body is there."""
        if self._foreign is not None:
            raise RefusalError(
                403, f"{self._foreign}; 'burnish serve --allow-host NAME' makes a name known"
            )
        if self._length.isdigit() and int(self._length[:12]) > self._limits.body_bytes:
            raise self._too_long()
        encoding = self._headers.get(b"content-encoding", b"identity")
        if encoding.lower() != b"identity":
            raise RefusalError(415, "a body with Content-Encoding; send it as it is")

    async def receive(self) -> Message:
        """Give the body's next part, within the limits of size and time."""
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
            self._num_bytes += len(message.get("body", b""))
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
            headers = [*message["headers"], *SECURITY_HEADERS]
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
