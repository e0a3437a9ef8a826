"""Images of several requests through the network at once."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from burnish.bundle.model import Model

MOST = 8
"""Images in one batch: for a small network the time an image is least from 4 to 16."""


class Batch:
    """Gathers the images that are ready in one round of the event loop.

    Nobody waits for others to come: a round ends when no request is ready, and what it has
    gathered is computed at once.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: list[tuple[NDArray[np.uint8], asyncio.Future[NDArray[np.float32]]]] = []

    async def predict(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities of one prepared image: float32 (classes,)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[NDArray[np.float32]] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._run)
        self._waiting.append((image, future))
        return await future

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), MOST):
            images, futures = zip(*waiting[first : first + MOST], strict=True)
            try:
                found = self._model.predict_arrays(np.stack(images))
            except Exception as error:  # Whoever asked is told; the others go on.
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
                continue
            for future, probabilities in zip(futures, found, strict=True):
                if not future.done():
                    future.set_result(probabilities)
