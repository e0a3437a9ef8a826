from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from burnish.augmentation import (
    OPERATIONS,
    Augmentation,
    Operation,
    Pose,
    augmentation_defaults,
    augmentation_limits,
)
from burnish.augmentation.augmentation import mirror_images, transform_images
from burnish.backend import keras
from burnish.space import Float, Params, SearchSpace

SHAPE = (12, 9, 2)
LIMITS = augmentation_limits()
NAMES = ("rotation_range", "zoom_range", "width_shift_range", "height_shift_range")


def moving(*ranges: float, **params: float | bool) -> Augmentation:
    """Make an augmentation of the ranges of rotation, zoom and shifts, in this order."""
    return Augmentation({**dict(zip(NAMES, ranges, strict=False)), **params})


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
    return np.asarray(augmentation.apply(images, augmentation.draw(generator, len(images), shape)))


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
    augmentation = moving(0.0, 0.0, 0.0, 0.0)
    assert not augmentation.is_active
    assert augmentation.width == 0
    assert augmentation.draw(np.random.default_rng(0), 3, SHAPE).shape == (3, 0)
    images = draw_images(3)
    unmoved = [[1, 0, 0, 0, 1, 0, 0, 0]] * 3
    np.testing.assert_array_equal(Pose(3, *SHAPE[:2]).coefficients(), unmoved)
    np.testing.assert_array_equal(transform_images(images, np.array(unmoved, np.float32)), images)


@pytest.mark.parametrize("name", NAMES)
def test_each_range_alone_makes_the_augmentation_active_and_acts(name: str) -> None:
    augmentation = Augmentation({name: 0.2})
    assert augmentation.is_active
    images = draw_images(4)
    moved = move(augmentation, images, np.random.default_rng(0))
    assert all(np.abs(a - b).max() > 1 for a, b in zip(moved, images, strict=True))


def test_params_that_are_no_operations_are_passed_over() -> None:
    assert not Augmentation({"learning_rate": 0.01}).is_active
    assert Augmentation({"learning_rate": 0.01, "horizontal_flip": True}).is_active
    names = {*NAMES, "horizontal_flip", "crop_range"}
    # Those that came later are in no fingerprint where they are off.
    assert augmentation_defaults().keys() == names < LIMITS.ranges.keys()
    assert all(value in LIMITS.ranges[n] for n, value in augmentation_defaults().items())


# SHA-256 of 1,000 draws (float32) for images of 28x28, of the generator with seed 5, as they were
# when the published study's figures were measured.
MEASURED_DRAWS = {
    False: "ddfe036acb05ec9ec100f07c0e64427e2227509244a3251a590ba7dc6e3d2724",
    True: "c445813260b93d23cdb0f1411bd438e3b6b128378bf4dd477ed1b73670ad07b0",
}


@pytest.mark.parametrize("flip", [False, True])
def test_the_published_studys_draws_are_those_of_its_figures_to_the_bit(flip: bool) -> None:
    augmentation = moving(0.05, 0.1, 0.15, 0.1, horizontal_flip=flip)
    drawn = augmentation.draw(np.random.default_rng(5), 1000, (28, 28, 1))
    # Zeros have a sign, which makes no difference to an image.
    assert hashlib.sha256((drawn + np.float32(0)).tobytes()).hexdigest() == MEASURED_DRAWS[flip]


@pytest.mark.parametrize(
    ("sign", "columns", "rows"), [(1, 2, 3), (-1, 2, 3), (1, 0, 5), (-1, 4, 0)]
)
def test_a_shift_moves_pixels_by_that_many_and_fills_zeros(
    sign: int, columns: int, rows: int
) -> None:
    height, width, _ = SHAPE
    augmentation = moving(width_shift_range=columns / width, height_shift_range=rows / height)
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
    moved = move(moving(horizontal_flip=True), images, np.random.default_rng(0))
    mirrored = np.abs(moved - images[:, :, ::-1]).max(axis=(1, 2, 3)) < 1e-3
    kept = np.abs(moved - images).max(axis=(1, 2, 3)) < 1e-3
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130

    turned = moving(rotation_range=0.1, width_shift_range=0.1)
    both = moving(rotation_range=0.1, width_shift_range=0.1, horizontal_flip=True)
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
    augmentation = moving(rotation_range=0.25)
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
    turned = move(moving(rotation_range=0.5), images, Extreme())
    np.testing.assert_allclose(turned, images[:, ::-1, ::-1], atol=0.01)
    assert 0.5 in LIMITS.ranges["rotation_range"]
    assert 0.51 not in LIMITS.ranges["rotation_range"]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_zoom_keeps_the_centre(sign: int) -> None:
    images = draw_images(2, (11, 7, 1))
    zoomed = move(moving(zoom_range=0.4), images, Extreme(sign))
    np.testing.assert_allclose(zoomed[:, 5, 3], images[:, 5, 3], atol=1e-3)
    assert np.abs(zoomed - images).max() > 1


def test_a_zoom_scales_up_by_its_range_and_down_by_it() -> None:
    """A bright square of 10 pixels in a dark image: its side and brightness say the scale."""
    image = np.zeros((1, 41, 41, 1), np.float32)
    image[:, 16:26, 16:26] = 1
    for sign, scale in ((1, 1.5), (-1, 0.5)):
        zoomed = move(moving(zoom_range=0.5), image, Extreme(sign))
        assert zoomed.sum() == pytest.approx((10 * scale) ** 2, rel=0.05)


def test_draws_are_uniform_within_their_ranges_and_each_images_own() -> None:
    ranges = moving(0.05, 0.1, 0.15, 0.2)
    transforms = ranges.draw(np.random.default_rng(0), 20_000, SHAPE)
    assert transforms.shape == (20_000, 8)
    assert transforms.dtype == np.float32
    assert not transforms[:, 6:].any()
    measured = measure(transforms, SHAPE)
    for name, values in measured.items():
        limit = float(ranges.params[name])
        assert np.abs(values).max() <= limit * (1 + 1e-4), name
        # Of a uniform draw, each tenth of the range has a tenth of the values.
        shares, _ = np.histogram(values, 10, (-limit * 1.0001, limit * 1.0001))
        assert np.abs(shares / 20_000 - 0.1).max() < 0.01, name
    correlation = np.corrcoef(np.stack(list(measured.values())))
    assert np.abs(correlation - np.eye(4)).max() < 0.03
    assert len(np.unique(transforms, axis=0)) == 20_000


def test_draws_depend_on_the_generator_alone() -> None:
    augmentation = moving(0.05, 0.1, 0.15, 0.2)
    first = augmentation.draw(np.random.default_rng(3), 50, SHAPE)
    again = augmentation.draw(np.random.default_rng(3), 50, SHAPE)
    other = augmentation.draw(np.random.default_rng(4), 50, SHAPE)
    np.testing.assert_array_equal(first, again)
    assert (first[:, 0] != other[:, 0]).all()


def test_pixels_are_what_scipy_takes_from_the_same_places() -> None:
    images = draw_images(40) / 255
    augmentation = moving(0.3, 0.3, 0.2, 0.2)
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
    augmentation = moving(0.25, 0.0, 5 / width, 3 / height)
    moved = move(augmentation, image, Extreme())
    assert divmod(int(moved[0, ..., 0].argmax()), width) == (13, 20)


def _brighten(images: Any, drawn: Any, params: Any) -> Any:
    factors = keras.ops.reshape(drawn, (-1, 1, 1, 1))
    return keras.ops.clip(images * factors, 0.0, 255.0)


def _draw_brightness(
    generator: np.random.Generator, params: Params, num_images: int, shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    most = float(params["brightness_range"])
    return 1 + generator.uniform(-most, most, (num_images, 1))


BRIGHTNESS = Operation(
    name="brightness",
    defaults={"brightness_range": 0.0},
    limits=SearchSpace({"brightness_range": Float(0.0, 1.0)}),
    num_drawn=1,
    draw=_draw_brightness,
    apply=_brighten,
)


def test_an_operation_from_outside_is_drawn_and_applied_after_images_were_moved(
    plug_in: Callable[[Any, Any], None],
) -> None:
    plug_in(OPERATIONS, BRIGHTNESS)
    images = draw_images(50)
    moves = {"rotation_range": 0.1, "width_shift_range": 0.1, "brightness_range": 0.5}
    augmentation = Augmentation(moves)
    assert "brightness_range" in augmentation_limits().ranges
    assert augmentation.width == 9
    drawn = augmentation.draw(np.random.default_rng(3), 50, SHAPE)
    # Those before it draw what they drew without it.
    without = Augmentation({**moves, "brightness_range": 0.0})
    assert without.width == 8
    np.testing.assert_array_equal(drawn[:, :8], without.draw(np.random.default_rng(3), 50, SHAPE))
    moved = np.asarray(transform_images(images, drawn[:, :8]))
    expected = np.clip(moved * drawn[:, 8, None, None, None], 0, 255)
    np.testing.assert_allclose(np.asarray(augmentation.apply(images, drawn)), expected, atol=1e-3)
    assert 0.5 <= drawn[:, 8].min() < 0.7
    assert 1.3 < drawn[:, 8].max() <= 1.5
    assert Augmentation({"brightness_range": 0.5}).width == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "flip"}, "the augmentation 'flip' is registered already"),
        ({"apply": None}, "needs either 'place' or 'apply'"),
        ({"place": lambda pose, drawn: None}, "needs either 'place' or 'apply'"),
        ({"defaults": {}}, "name different hyperparameters"),
        ({"defaults": {"brightness_range": 2.0}}, "lies outside its limits"),
        (
            {
                "defaults": {"zoom_range": 0.0},
                "limits": SearchSpace({"zoom_range": Float(0.0, 1.0)}),
            },
            "the hyperparameter 'zoom_range' is there already",
        ),
    ],
)
def test_an_operation_that_breaks_the_contract_is_not_registered(
    change: dict[str, Any], message: str
) -> None:
    before = OPERATIONS.names()
    with pytest.raises(ValueError, match=message):
        OPERATIONS.register(replace(BRIGHTNESS, **change))
    assert OPERATIONS.names() == before


def test_where_images_are_mirrored_alone_that_is_done_without_interpolation_to_the_bit() -> None:
    images = np.floor(draw_images(40))
    augmentation = Augmentation({"horizontal_flip": True})
    drawn = augmentation.draw(np.random.default_rng(3), 40, SHAPE)
    interpolated = np.asarray(transform_images(images, drawn))
    np.testing.assert_array_equal(mirror_images(images, drawn), interpolated)
    np.testing.assert_array_equal(augmentation.apply(images, drawn), interpolated)
    assert 5 < sum((a != b).any() for a, b in zip(images, interpolated, strict=True)) < 35
    # With a shift it is the interpolation's affair.
    both = Augmentation({"horizontal_flip": True, "width_shift_range": 0.3})
    moved = both.draw(np.random.default_rng(3), 40, SHAPE)
    np.testing.assert_array_equal(both.apply(images, moved), transform_images(images, moved))
