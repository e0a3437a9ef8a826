from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.augmentation import Augmentation
from burnish.augmentation.crop import CROP

SHAPE = (16, 11, 1)


def draw(crop_range: float, count: int, shape: tuple[int, int, int] = SHAPE) -> Any:
    augmentation = Augmentation({"crop_range": crop_range})
    return augmentation.draw(np.random.default_rng(3), count, shape)


def test_a_range_of_zero_leaves_it_off() -> None:
    augmentation = Augmentation({"crop_range": 0.0})
    assert not augmentation.is_active
    assert augmentation.width == 0
    assert augmentation.active_params() == {}
    assert Augmentation({"crop_range": 0.1}).active_params() == {"crop_range": 0.1}


@given(
    crop_range=st.floats(0.01, 0.9),
    height=st.integers(2, 40),
    width=st.integers(2, 40),
    extremes=st.tuples(*[st.sampled_from([-0.5, 0.5])] * 2),
)
def test_the_corners_of_every_part_lie_in_the_image(
    crop_range: float, height: int, width: int, extremes: tuple[float, float]
) -> None:
    from burnish.augmentation.pose import Pose

    pose = Pose(1, height, width)
    assert CROP.place is not None
    CROP.place(pose, np.array([[1 - crop_range, *extremes]]))
    (a0, a1, a2, b0, b1, b2, _, _), *_ = pose.coefficients().astype(np.float64)
    for x in (0, width - 1):
        for y in (0, height - 1):
            assert -1e-4 <= a0 * x + a1 * y + a2 <= width - 1 + 1e-4
            assert -1e-4 <= b0 * x + b1 * y + b2 <= height - 1 + 1e-4


@pytest.mark.parametrize("flips", [False, True])
def test_no_pixel_is_darker_than_the_image_as_fill_would_be(flips: bool) -> None:
    augmentation = Augmentation({"crop_range": 0.9, "horizontal_flip": flips})
    images = np.full((200, *SHAPE), 200, np.float32)
    drawn = augmentation.draw(np.random.default_rng(3), len(images), SHAPE)
    cropped = np.asarray(augmentation.apply(images, drawn))
    np.testing.assert_allclose(cropped, 200, atol=0.01)


def test_a_part_is_as_large_as_was_drawn_and_lies_anywhere() -> None:
    ramp = np.tile(np.arange(11, dtype=np.float32)[:, None], (2000, 16, 1, 1))
    augmentation = Augmentation({"crop_range": 0.5})
    cropped = np.asarray(augmentation.apply(ramp, draw(0.5, len(ramp))))[:, 8, :, 0]
    sides = (cropped[:, -1] - cropped[:, 0]) / 10
    assert 0.5 <= sides.min() < 0.51
    assert 0.99 < sides.max() <= 1
    assert sides.mean() == pytest.approx(0.75, abs=0.01)
    # Of the room that a part leaves, all of it comes to lie left of it, or none, or any share.
    smaller = sides < 0.9
    places = cropped[smaller, 0] / (10 - 10 * sides[smaller])
    assert places.min() < 0.01
    assert places.max() > 0.99
    assert places.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(np.diff(cropped, axis=1), sides[:, None].repeat(10, 1), atol=1e-3)
