from __future__ import annotations

import asyncio
import threading
from functools import partial

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.bundle.model import Model
from burnish.errors import ImageError
from burnish.serve.engine import Engine, PixelBudget
from burnish.serve.limits import Limits, RefusalError

from .bundles import draw_band, serve_in_thread, write_image


def test_light_work_beyond_the_queue_is_turned_away_before_anything_is_computed(
    bands: Model,
) -> None:
    engine = Engine(bands, Limits(queue=3))
    done: list[int] = []

    async def ask(number: int) -> str:
        try:
            await engine.run(lambda: done.append(number), heavy=False)
        except RefusalError as error:
            return f"{error.status} {error.headers}, done before: {done}"
        return "done"

    async def main() -> list[str]:
        return await asyncio.gather(*(ask(number) for number in range(5)))

    refused = "503 {'Retry-After': '1'}, done before: []"
    assert asyncio.run(main()) == ["done"] * 3 + [refused] * 2
    assert done == [0, 1, 2]
    assert engine.num_waiting == 0
    engine.close()


def test_heavy_work_that_takes_too_long_gets_503_and_keeps_its_place_until_it_ends(
    bands: Model,
) -> None:
    engine = Engine(bands, Limits(queue=1, answer_seconds=0.05))
    go_on = threading.Event()

    async def main() -> None:
        with pytest.raises(RefusalError, match=r"no answer within 0\.05 seconds"):
            await engine.run(go_on.wait, heavy=True)
        assert engine.num_waiting == 1
        with pytest.raises(RefusalError, match="1 predictions are waiting"):
            await engine.run(lambda: None, heavy=False)
        go_on.set()
        while engine.num_waiting:
            await asyncio.sleep(0.01)
        assert await engine.run(lambda: "free again", heavy=True) == "free again"

    asyncio.run(main())
    engine.close()


def test_an_error_of_the_work_reaches_whoever_asked(bands: Model) -> None:
    engine = Engine(bands, Limits())

    async def main(heavy: bool) -> None:
        with pytest.raises(ZeroDivisionError):
            await engine.run(lambda: 1 // 0, heavy=heavy)

    for heavy in (False, True):
        asyncio.run(main(heavy))
    assert engine.num_waiting == 0
    engine.close()


def test_images_that_are_ready_together_are_computed_together_and_alike(bands: Model) -> None:
    engine = Engine(bands, Limits())
    images = [draw_band(number % 10)[..., np.newaxis] for number in range(20)]

    async def main() -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        return await asyncio.gather(
            *(engine.predict(partial(np.copy, image), heavy=False) for image in images)
        )

    expected = bands.predict_arrays(np.stack(images))
    for image, alone, (given, together) in zip(images, expected, asyncio.run(main()), strict=True):
        np.testing.assert_array_equal(given, image)
        np.testing.assert_allclose(together, alone, atol=1e-6)
    assert engine.num_waiting == 0
    engine.close()


def test_an_image_that_cannot_be_computed_is_told_to_whoever_asked(bands: Model) -> None:
    engine = Engine(bands, Limits())
    good, bad = np.zeros((20, 20, 1), np.uint8), np.zeros((3, 3, 1), np.uint8)

    async def main(*images: NDArray[np.uint8]) -> list[object]:
        asked = (engine.predict(partial(np.copy, image), heavy=False) for image in images)
        return await asyncio.gather(*asked, return_exceptions=True)

    assert all(isinstance(one, ImageError) for one in asyncio.run(main(bad, bad)))
    assert isinstance(asyncio.run(main(good, good))[1], tuple)
    assert engine.num_waiting == 0
    engine.close()


def test_a_full_queue_is_503_over_http_and_the_server_is_not_ready(bands: Model) -> None:
    content = write_image(draw_band(3))
    with serve_in_thread(bands, Limits(queue=0)) as address:
        answer = httpx.post(f"{address}/predict", content=content)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "try again" in answer.json()["error"]
        assert httpx.get(f"{address}/v2/health/ready").status_code == 503
        assert httpx.get(f"{address}/v2/health/live").status_code == 200


def test_heavy_requests_do_not_hold_up_light_ones(client: httpx.Client) -> None:
    """Photographs are decoded in threads, while the event loop answers."""
    photo = write_image(draw_band(3, 1_990, 1_990))

    async def main() -> list[int]:
        async with httpx.AsyncClient(base_url=client.base_url, timeout=30) as many:
            heavy = [asyncio.ensure_future(many.post("/predict", content=photo)) for _ in range(4)]
            light = await many.get("/v2/health/live")
            assert light.status_code == 200
            return [(await one).status_code for one in heavy]

    assert asyncio.run(main()) == [200] * 4


def test_large_images_are_decoded_one_after_the_other_small_ones_beside_them() -> None:
    budget = PixelBudget(100)
    order: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.take(80):
            inside.set()
            leave.wait(10)
            order.append("first")

    def wait_for_room() -> None:
        with budget.take(100):
            order.append("second")

    threads = [threading.Thread(target=hold), threading.Thread(target=wait_for_room)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    with budget.take(20):
        order.append("small")
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["small", "first", "second"]
    with pytest.raises(ValueError, match="mine"), budget.take(100):
        raise ValueError("mine")
    with budget.take(100):  # It was given back.
        pass
