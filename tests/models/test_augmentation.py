from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from burnish.models.augmentation import DEFAULTS, LIMITS, Augmentation, transform_images

SHAPE = (12, 9, 2)


class Extreme(np.random.Generator):
    """Draws the upper end of every range, or with ``sign`` -1 the lower."""

    def __new__(cls, sign: int = 1) -> Extreme:
        return super().__new__(cls)

    def __init__(self, sign: int = 1) -> None:
        super().__init__(np.random.PCG64(0))
        self.sign = sign

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return np.full(size, high if self.sign > 0 else low)


def draw_images(count: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float32]:
    return np.random.default_rng(7).uniform(1, 255, (count, *shape)).astype(np.float32)


def move(
    augmentation: Augmentation, images: NDArray[np.float32], generator: np.random.Generator
) -> NDArray[np.float32]:
    shape: Any = images.shape[1:]
    return np.asarray(transform_images(images, augmentation.draw(generator, len(images), shape)))


def measure(transforms: NDArray[np.float32], shape: tuple[int, int, int]) -> dict[str, Any]:
    """Angle (turns), scale and shifts (shares of the size) that give these transforms."""
    a0, a1, a2, b0, b1, b2 = transforms.astype(np.float64).T[:6]
    height, width = shape[:2]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    # Where the middle of the image comes to lie: the point that is taken from there.
    matrices = np.stack([np.stack([a0, a1], -1), np.stack([b0, b1], -1)], axis=1)
    offsets = np.stack([a2, b2], -1)
    places = np.linalg.solve(matrices, (middle - offsets)[..., None])[..., 0]
    return {
        "rotation_range": np.arctan2(a1, a0) / (2 * np.pi),
        "zoom_range": 1 / np.hypot(a0, a1) - 1,
        "width_shift_range": (places[:, 0] - middle[0]) / width,
        "height_shift_range": (places[:, 1] - middle[1]) / height,
    }


def test_ranges_of_zero_leave_images_as_they_are_to_the_bit() -> None:
    augmentation = Augmentation()
    assert not augmentation.is_active
    transforms = augmentation.draw(np.random.default_rng(0), 3, SHAPE)
    np.testing.assert_array_equal(transforms, [[1, 0, 0, 0, 1, 0, 0, 0]] * 3)
    images = draw_images(3)
    np.testing.assert_array_equal(transform_images(images, transforms), images)


@pytest.mark.parametrize("name", sorted(set(DEFAULTS) - {"horizontal_flip"}))
def test_each_range_alone_makes_the_augmentation_active_and_acts(name: str) -> None:
    augmentation = Augmentation.from_params({name: 0.2})
    assert augmentation.is_active
    images = draw_images(4)
    moved = move(augmentation, images, np.random.default_rng(0))
    assert all(np.abs(a - b).max() > 1 for a, b in zip(moved, images, strict=True))


def test_the_params_of_a_stage_give_the_augmentation() -> None:
    params = {
        "rotation_range": 0.05,
        "zoom_range": 0.1,
        "width_shift_range": 0.15,
        "height_shift_range": 0.2,
        "horizontal_flip": True,
        "learning_rate": 0.01,
    }
    assert astuple(Augmentation.from_params(params)) == (0.05, 0.1, 0.15, 0.2, True)
    assert Augmentation.from_params({"learning_rate": 0.01}) == Augmentation()
    assert set(DEFAULTS) == set(LIMITS.ranges)
    assert DEFAULTS in LIMITS


@pytest.mark.parametrize(
    ("sign", "columns", "rows"), [(1, 2, 3), (-1, 2, 3), (1, 0, 5), (-1, 4, 0)]
)
def test_a_shift_moves_pixels_by_that_many_and_fills_zeros(
    sign: int, columns: int, rows: int
) -> None:
    height, width, _ = SHAPE
    augmentation = Augmentation(width_shift_range=columns / width, height_shift_range=rows / height)
    images = draw_images(2)
    expected = np.zeros_like(images)
    if sign > 0:  # To the right and down.
        expected[:, rows:, columns:] = images[:, : height - rows, : width - columns]
    else:
        expected[:, : height - rows, : width - columns] = images[:, rows:, columns:]
    moved = move(augmentation, images, Extreme(sign))
    np.testing.assert_allclose(moved, expected, atol=1e-3)
    assert not moved[expected == 0].any()


def test_a_flip_mirrors_half_of_the_images_and_changes_no_other_draw() -> None:
    images = draw_images(200)
    moved = move(Augmentation(horizontal_flip=True), images, np.random.default_rng(0))
    mirrored = np.abs(moved - images[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-3
    kept = np.abs(moved - images).max(axis=(1, 2, 3)) < 1e-3
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130

    turned = Augmentation(rotation_range=0.1, width_shift_range=0.1)
    both = Augmentation(rotation_range=0.1, width_shift_range=0.1, horizontal_flip=True)
    plain = move(turned, images, np.random.default_rng(1))
    flipped = move(both, images, np.random.default_rng(1))
    # What is mirrored is the image, before it is turned and shifted.
    other = move(turned, images[:, :, ::-1], np.random.default_rng(1))
    same = np.abs(flipped - plain).max(axis=(1, 2, 3)) < 1e-2
    assert (same | (np.abs(flipped - other).max(axis=(1, 2, 3)) < 1e-2)).all()
    assert 70 < same.sum() < 130


@pytest.mark.parametrize("size", [8, 9])
def test_a_quarter_turn_is_one_about_the_middle(size: int) -> None:
    images = draw_images(2, (size, size, 2))
    augmentation = Augmentation(rotation_range=0.25)
    one_way = move(augmentation, images, Extreme(1))
    other_way = move(augmentation, images, Extreme(-1))
    turned = [np.rot90(images, k, axes=(1, 2)) for k in (1, -1)]
    if not np.allclose(one_way, turned[0], atol=0.01):
        turned.reverse()
    # Outer pixels may be taken from 1e-7 outside, and mixed with that much of the zeros there.
    np.testing.assert_allclose(one_way, turned[0], atol=0.01)
    np.testing.assert_allclose(other_way, turned[1], atol=0.01)


def test_half_a_turn_is_the_widest() -> None:
    images = draw_images(2)
    turned = move(Augmentation(rotation_range=0.5), images, Extreme())
    np.testing.assert_allclose(turned, images[:, ::-1, ::-1], atol=0.01)
    assert 0.5 in LIMITS.ranges["rotation_range"]
    assert 0.51 not in LIMITS.ranges["rotation_range"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_zoom_keeps_the_centre(sign: int) -> None:
    images = draw_images(2, (11, 7, 1))
    zoomed = move(Augmentation(zoom_range=0.4), images, Extreme(sign))
    np.testing.assert_allclose(zoomed[:, 5, 3], images[:, 5, 3], atol=1e-3)
    assert np.abs(zoomed - images).max() > 1


def test_a_zoom_scales_up_by_its_range_and_down_by_it() -> None:
    """A bright square of 10 pixels in a dark image: its side and brightness say the scale."""
    image = np.zeros((1, 41, 41, 1), np.float32)
    image[:, 16:26, 16:26] = 1
    for sign, scale in ((1, 1.5), (-1, 0.5)):
        zoomed = move(Augmentation(zoom_range=0.5), image, Extreme(sign))
        assert zoomed.sum() == pytest.approx((10 * scale) ** 2, rel=0.05)


def test_draws_are_uniform_within_their_ranges_and_each_images_own() -> None:
    ranges = Augmentation(0.05, 0.1, 0.15, 0.2)
    transforms = ranges.draw(np.random.default_rng(0), 20_000, SHAPE)
    assert transforms.shape == (20_000, 8)
    assert transforms.dtype == np.float32
    assert not transforms[:, 6:].any()
    measured = measure(transforms, SHAPE)
    for name, values in measured.items():
        limit = getattr(ranges, name)
        assert np.abs(values).max() <= limit * (1 + 1e-4), name
        # Of a uniform draw, each tenth of the range has a tenth of the values.
        shares, _ = np.histogram(values, 10, (-limit * 1.0001, limit * 1.0001))
        assert np.abs(shares / 20_000 - 0.1).max() < 0.01, name
    correlation = np.corrcoef(np.stack(list(measured.values())))
    assert np.abs(correlation - np.eye(4)).max() < 0.03
    assert len(np.unique(transforms, axis=0)) == 20_000


def test_draws_depend_on_the_generator_alone() -> None:
    augmentation = Augmentation(0.05, 0.1, 0.15, 0.2)
    first = augmentation.draw(np.random.default_rng(3), 50, SHAPE)
    again = augmentation.draw(np.random.default_rng(3), 50, SHAPE)
    other = augmentation.draw(np.random.default_rng(4), 50, SHAPE)
    np.testing.assert_array_equal(first, again)
    assert (first[:, 0] != other[:, 0]).all()


def test_pixels_are_what_scipy_takes_from_the_same_places() -> None:
    images = draw_images(40) / 255
    augmentation = Augmentation(0.3, 0.3, 0.2, 0.2)
    transforms = augmentation.draw(np.random.default_rng(2), len(images), SHAPE)
    moved = np.asarray(transform_images(images, transforms))
    assert moved.shape == images.shape
    for image, row, result in zip(images, transforms.astype(np.float64), moved, strict=True):
        a0, a1, a2, b0, b1, b2 = row[:6]
        for channel in range(SHAPE[2]):
            # "grid-constant" mixes pixels at the border with the zeros beyond, as burnish does.
            expected = affine_transform(
                image[..., channel].astype(np.float64),
                [[b1, b0], [a1, a0]],
                [b2, a2],
                order=1,
                mode="grid-constant",
                cval=0.0,
            )
            np.testing.assert_allclose(result[..., channel], expected, atol=1e-3)


def test_the_order_is_turn_and_zoom_about_the_middle_and_then_shift() -> None:
    """The middle of the image comes to lie at the shift, however the image was turned."""
    height, width, _ = shape = (21, 31, 1)
    image = np.zeros((1, *shape), np.float32)
    image[0, 10, 15] = 1
    augmentation = Augmentation(0.25, 0.0, 5 / width, 3 / height)
    moved = move(augmentation, image, Extreme())
    assert divmod(int(moved[0, ..., 0].argmax()), width) == (13, 20)
