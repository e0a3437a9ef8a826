"""The service as an ASGI application: which address is answered by what."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from burnish.bundle.model import Model
from burnish.serve import protocol
from burnish.serve.answers import describe_prediction, prepare_image, read_wishes
from burnish.serve.engine import Engine, PixelBudget
from burnish.serve.guard import Guard
from burnish.serve.limits import Limits, RefusalError
from burnish.serve.metrics import CONTENT_TYPE, Metrics
from burnish.serve.openapi import describe_api
from burnish.serve.pages import Pages
from burnish.serve.replies import refuse, reply
from burnish.serve.upload import check_image, find_image
from burnish.version import __version__

LIGHT_BYTES = 64 * 2**10
LIGHT_PIXELS = 64 * 2**10
"""Above these a request is heavy work: it would hold up the event loop for milliseconds."""


class Service:
    """Answers requests for one model."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.engine = Engine(model, limits)
        self.pixel_budget = PixelBudget(limits.pixels)
        self.metrics = Metrics(model.name, model.class_names)
        self.api = describe_api(model, limits)
        self.pages = Pages(model, self.api)

    async def predict(self, request: Request) -> Response:
        """Answer ``POST /predict``."""
        wishes = read_wishes(request.query_params, len(self.model.class_names))
        content_type = request.headers.get("content-type", "")
        body = await request.body()

        def read() -> tuple[bytes, int]:
            content = find_image(body, content_type)
            return content, check_image(content, self.limits).num_pixels

        def prepare(content: bytes) -> NDArray[np.uint8]:
            return prepare_image(self.model, content, self.limits)

        def prepare_large() -> NDArray[np.uint8]:
            content, num_pixels = read()
            with self.pixel_budget.take(num_pixels):
                return prepare(content)

        if len(body) > LIGHT_BYTES:
            image, found = await self.engine.predict(prepare_large, heavy=True)
        else:
            content, num_pixels = read()
            heavy = num_pixels > LIGHT_PIXELS
            image, found = await self.engine.predict(
                prepare_large if heavy else partial(prepare, content), heavy=heavy
            )
        result = describe_prediction(self.model, image, found, wishes)
        self.metrics.count_images(1)
        self.metrics.count_label(result["label"])
        return reply(result)

    async def infer(self, request: Request) -> Response:
        """Answer ``POST /v2/models/{name}/infer``."""
        self._check_model(request)
        body = await request.body()

        def read() -> protocol.InferRequest:
            return protocol.read_infer(body, self.model, self.limits)

        def compute() -> tuple[protocol.InferRequest, NDArray[np.float32]]:
            asked = read()
            return asked, self.model.predict_arrays(asked.images)

        if len(body) > LIGHT_BYTES:
            asked, found = await self.engine.run(compute, heavy=True)
        else:
            asked = read()
            if len(asked.images) == 1:
                image = asked.images[0]
                _, probabilities = await self.engine.predict(lambda: image, heavy=False)
                found = probabilities[np.newaxis]
            else:
                found = await self.engine.run(
                    partial(self.model.predict_arrays, asked.images), heavy=False
                )
        self.metrics.count_images(len(found))
        return reply(protocol.describe_answer(self.model, asked, found))

    async def describe_server(self, _: Request) -> Response:
        """Answer ``GET /v2``."""
        return reply(protocol.describe_server(__version__))

    async def live(self, _: Request) -> Response:
        """Answer ``GET /v2/health/live``."""
        return reply({"live": True})

    async def ready(self, _: Request) -> Response:
        """Answer ``GET /v2/health/ready``: not while the queue is full."""
        if self.engine.num_waiting >= self.limits.queue:
            raise RefusalError(503, "the queue is full")
        return reply({"ready": True})

    async def describe_model(self, request: Request) -> Response:
        """Answer ``GET /v2/models/{name}``."""
        self._check_model(request)
        return reply(protocol.describe_model(self.model))

    async def model_ready(self, request: Request) -> Response:
        """Answer ``GET /v2/models/{name}/ready``."""
        self._check_model(request)
        return reply({"name": self.model.name, "ready": True})

    async def write_metrics(self, _: Request) -> Response:
        """Answer ``GET /metrics``."""
        text = self.metrics.write(self.engine.num_waiting)
        return Response(text, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    async def write_api(self, _: Request) -> Response:
        """Answer ``GET /openapi.json``."""
        return reply(self.api)

    async def write_page(self, request: Request) -> Response:
        """Answer ``GET`` of the page, the page of the API, and what belongs to them."""
        return self.pages.respond(request)

    def routes(self) -> list[Route]:
        """All addresses; the most frequent first."""
        model = "/v2/models/{name}"
        version = model + "/versions/{version}"
        return [
            Route("/predict", self.predict, methods=["POST"]),
            Route(model + "/infer", self.infer, methods=["POST"]),
            Route(version + "/infer", self.infer, methods=["POST"]),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/metrics", self.write_metrics),
            Route("/v2", self.describe_server),
            Route(model, self.describe_model),
            Route(model + "/ready", self.model_ready),
            Route(version, self.describe_model),
            Route(version + "/ready", self.model_ready),
            Route("/openapi.json", self.write_api),
            *(Route(path, self.write_page) for path in self.pages.paths),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """End what this object has begun."""
        yield
        self.engine.close()
        self.metrics.close()

    def _check_model(self, request: Request) -> None:
        name = request.path_params["name"]
        if name != self.model.name:
            raise RefusalError(
                404, f"there is no model '{name[:60]}'; there is: '{self.model.name}'"
            )
        version = request.path_params.get("version", protocol.VERSION)
        if version != protocol.VERSION:
            raise RefusalError(
                404, f"there is no version '{version[:60]}'; there is: '{protocol.VERSION}'"
            )


def create_app(model: Model, limits: Limits | None = None) -> ASGIApp:
    """Make the service for a model.

    Parameters
    ----------
    model
        From :func:`burnish.load`.
    limits
        What is accepted.  (default: :class:`Limits`)

    Returns
    -------
    An ASGI application, to be run by uvicorn or another server.
    """
    limits = limits or Limits()
    service = Service(model, limits)
    app = Starlette(
        routes=service.routes(),
        exception_handlers={
            RefusalError: _answer_refusal,
            HTTPException: _answer_http_error,
            ClientDisconnect: _answer_nobody,
            Exception: _answer_bug,
        },
        lifespan=service.lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(app, limits, service.metrics)


async def _answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusalError)
    return refuse(error)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = dict(error.headers or {})
    message = {
        404: f"there is nothing at {request.url.path[:60]!r}; /docs lists what there is",
        405: f"{request.method[:20]} is not allowed here; allowed: {allowed.get('Allow', '')}",
    }.get(error.status_code, error.detail)
    return reply({"error": message}, error.status_code, allowed)


async def _answer_nobody(_: Request, error: Exception) -> Response:
    return refuse(RefusalError(400, "the client left before the end of its request"))


async def _answer_bug(_: Request, error: Exception) -> Response:
    return reply({"error": "an error of the server; its log says more"}, 500)
