"""Predictions within an event loop: who waits, who is turned away, what runs where."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from burnish.bundle.model import Model
from burnish.serve.batch import Batch
from burnish.serve.limits import Limits, RefusalError

T = TypeVar("T")


class PixelBudget:
    """Pixels that may be decoded at a time; who asks for more waits until others are done.

    Two images of 64 megapixels at a time would take twice the memory of one.
    """

    def __init__(self, num_pixels: int) -> None:
        self._free = num_pixels
        self._changed = threading.Condition()

    @contextmanager
    def take(self, num_pixels: int) -> Iterator[None]:
        """Hold so many pixels, at most all that there are."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= num_pixels)
            self._free -= num_pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += num_pixels
                self._changed.notify_all()


SLOW_SECONDS = 0.005
"""A model that takes longer than this for one image never runs on the event loop."""


class Engine:
    """Runs work for requests, within the bounded queue.

    Light work runs on the event loop: for a small model a change of thread costs as much
    as the prediction (docs/log.md). Heavy work, such as decoding a photograph, runs in
    threads, so that small requests and health checks do not wait for it.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="burnish-predict")
        self._num_waiting = 0
        self._model = model
        self._batch = Batch(model)
        self._slow = _measure(model) > SLOW_SECONDS

    @property
    def num_waiting(self) -> int:
        """Predictions that wait or run now."""
        return self._num_waiting

    async def run(self, work: Callable[[], T], *, heavy: bool) -> T:
        """Run ``work`` in its turn, and give its result.

        Raises
        ------
        RefusalError
            503 if too many are waiting, or if it takes too long.
        """
        self._enter()
        if heavy or self._slow:
            return await self._run_in_thread(work)
        try:
            await _let_others_enter()
            return work()
        finally:
            self._leave()

    async def predict(
        self, prepare: Callable[[], NDArray[np.uint8]], *, heavy: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Prepare an image and classify it, together with those of other requests.

        Parameters
        ----------
        prepare
            Gives the image, uint8 (height, width, channels).
        heavy
            Whether preparing takes long.

        Returns
        -------
        The prepared image, and the probabilities, float32 (classes,).

        Raises
        ------
        RefusalError
            503 if too many are waiting, or if it takes too long.
        """

        def alone() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
            image = prepare()
            return image, self._model.predict_arrays(image[np.newaxis])[0]

        self._enter()
        if heavy or self._slow:
            return await self._run_in_thread(alone)
        try:
            await _let_others_enter()
            if self._num_waiting == 1:
                return alone()
            image = prepare()
            return image, await self._batch.predict(image)
        finally:
            self._leave()

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run_in_thread(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, work)
        # A thread cannot be stopped: its place is free when it ends, not when its client left.
        future.add_done_callback(self._end_thread)
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return await asyncio.shield(future)
        except TimeoutError:
            raise RefusalError(
                503, f"no answer within {self._limits.answer_seconds:g} seconds; try again"
            ) from None

    def _end_thread(self, future: asyncio.Future[T]) -> None:
        self._leave()
        if not future.cancelled():
            future.exception()  # Of one whose client has left nobody else asks.

    def _enter(self) -> None:
        if self._num_waiting >= self._limits.queue:
            raise RefusalError(503, f"{self._num_waiting} predictions are waiting; try again")
        self._num_waiting += 1

    def _leave(self) -> None:
        self._num_waiting -= 1


async def _let_others_enter() -> None:
    """Let whoever else is ready now join the queue, or be turned away, before this one computes.

    Else the queue would be the event loop's own, which has no bound.
    """
    await asyncio.sleep(0)


def _measure(model: Model) -> float:
    """Seconds that one image takes: the least of several times, since others use the machine."""
    image = np.zeros((1, *model.spec.shape), np.uint8)
    model.predict_arrays(image)  # The first one warms up.
    times: list[float] = []
    while len(times) < 10 and sum(times) < 0.1:
        started = time.perf_counter()
        model.predict_arrays(image)
        times.append(time.perf_counter() - started)
    return min(times)
