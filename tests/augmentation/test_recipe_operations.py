"""Operations of the recipe: alternating flip, colour, cutout, mixup, cutmix."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.augmentation import Augmentation
from burnish.augmentation.operation import Turn
from burnish.space import Params

SHAPE = (12, 10, 3)


def draw_images(num: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float32]:
    return np.random.default_rng(2).uniform(0, 255, (num, *shape)).astype(np.float32)


def apply(params: Params, images: NDArray[np.float32], turn: Turn | None = None) -> NDArray[Any]:
    augmentation = Augmentation(params)
    drawn = augmentation.draw(np.random.default_rng(3), len(images), images.shape[1:], turn)
    return np.asarray(augmentation.apply(images, drawn))


def test_each_image_is_mirrored_in_every_other_epoch_by_its_number() -> None:
    images = draw_images(200)
    rows = np.random.default_rng(0).permutation(200).astype(np.int32)
    sides = []
    for epoch in range(4):
        changed = apply({"alternating_flip": True}, images, Turn(rows, epoch, seed=7))
        mirrored = np.array([np.abs(a - b).max() for a, b in zip(changed, images, strict=True)]) > 0
        np.testing.assert_allclose(changed[mirrored], images[mirrored][:, :, ::-1], atol=1e-3)
        sides.append(mirrored)
    assert (sides[0] != sides[1]).all()
    assert (sides[0] == sides[2]).all()
    assert (sides[1] == sides[3]).all()
    assert 60 < sides[0].sum() < 140
    # The number of the image decides, wherever it stands; another seed decides otherwise.
    again = apply({"alternating_flip": True}, images[::-1], Turn(rows[::-1].copy(), 0, seed=7))
    first = apply({"alternating_flip": True}, images, Turn(rows, 0, seed=7))
    np.testing.assert_array_equal(again[::-1], first)
    assert np.abs(apply({"alternating_flip": True}, images, Turn(rows, 0, seed=8)) - first).any()


def test_a_cutout_is_a_square_of_the_images_mean_colour() -> None:
    images = draw_images(300, (20, 20, 3))
    changed = apply({"cutout_size": 0.25}, images)
    areas = []
    for before, after in zip(images, changed, strict=True):
        rows, columns = np.nonzero((before != after).any(axis=2))
        areas.append(len(rows))
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        np.testing.assert_allclose(
            after[rows, columns], np.broadcast_to(before.mean((0, 1)), (len(rows), 3)), rtol=1e-5
        )
    assert max(areas) == 25
    assert min(areas) < 16  # Cut off at the border.
    whole = (changed != images).any(axis=3).mean(axis=0)
    assert whole.min() > 0  # It gets everywhere.


def test_brightness_and_contrast_are_what_they_say() -> None:
    images = 100 + 0.1 * draw_images(50, (6, 6, 1))
    brighter = apply({"color_brightness_range": 0.2}, images) - images
    assert np.ptp(brighter, axis=(1, 2, 3)).max() < 1e-3
    assert 40 < np.abs(brighter).max() <= 51.01
    contrasted = apply({"contrast_range": 0.5}, images)
    means = images.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(contrasted.mean((1, 2, 3), keepdims=True), means, rtol=1e-5)
    factors = contrasted.std((1, 2, 3)) / images.std((1, 2, 3))
    assert 0.5 <= factors.min() < 0.6
    assert 1.4 < factors.max() <= 1.5
    # Of colour, about the mean luminance.
    colored = np.broadcast_to(images, (50, 6, 6, 3)).copy()
    np.testing.assert_allclose(
        apply({"contrast_range": 0.5}, colored)[..., :1], contrasted, rtol=1e-4
    )


def test_saturation_and_hue_keep_luminance_and_change_colour_alone() -> None:
    images = 110 + 0.1 * draw_images(40)
    luminance = np.array([0.299, 0.587, 0.114])
    for params in ({"saturation_range": 0.5}, {"hue_range": 0.5}, {"grey_rate": 1.0}):
        changed = apply(params, images)
        np.testing.assert_allclose(changed @ luminance, images @ luminance, rtol=1e-4)
        assert np.abs(changed - images).max() > 5
        greys = np.broadcast_to(images[..., :1], images.shape).copy()
        np.testing.assert_allclose(apply(params, greys), greys, rtol=1e-4)
    assert np.ptp(apply({"grey_rate": 1.0}, images), axis=3).max() < 1e-2
    grey = np.ptp(apply({"grey_rate": 0.3}, images), axis=3).max((1, 2)) < 1e-2
    assert 4 <= grey.sum() <= 20
    # A turn of hue reaches all hues: red becomes green, blue, and what is between.
    red = np.broadcast_to(np.array([160, 90, 90], np.float32), (200, 2, 2, 3)).copy()
    hues = [colorsys.rgb_to_hsv(*image[0, 0])[0] for image in apply({"hue_range": 0.5}, red)]
    assert min(np.histogram(hues, bins=6, range=(0, 1))[0]) > 10


@pytest.mark.parametrize("params", [{"mixup_alpha": 0.5}, {"cutmix_alpha": 1.0}])
def test_labels_are_mixed_as_their_images_are(params: Params) -> None:
    """Of images of one colour, the share of each shows in the mean."""
    num = 64
    images = np.broadcast_to(
        np.arange(num, dtype=np.float32)[:, None, None, None], (num, *SHAPE)
    ).copy()
    augmentation = Augmentation(params)
    assert augmentation.is_mixing
    drawn = augmentation.draw(np.random.default_rng(3), num, SHAPE)
    np.testing.assert_array_equal(augmentation.apply(images, drawn), images)
    mixed, targets = (
        np.asarray(x) for x in augmentation.mix(images, np.eye(num, dtype=np.float32), drawn)
    )
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), targets @ np.arange(num), atol=1e-3)
    own = np.diag(targets)
    assert own.min() >= 0.45
    assert own.min() < 0.6
    assert own.max() > 0.95
    np.testing.assert_allclose(own + np.diag(np.roll(targets, 1, axis=1)), 1, atol=1e-6)


def test_both_mixings_together_keep_shares_that_sum_to_one() -> None:
    augmentation = Augmentation({"mixup_alpha": 0.5, "cutmix_alpha": 1.0, "cutout_size": 0.2})
    images = draw_images(16)
    drawn = augmentation.draw(np.random.default_rng(3), 16, SHAPE)
    mixed, targets = augmentation.mix(images, np.eye(16, dtype=np.float32), drawn)
    assert np.asarray(mixed).shape == images.shape
    np.testing.assert_allclose(np.asarray(targets).sum(axis=1), 1, atol=1e-6)
    assert (np.count_nonzero(targets, axis=1) >= 2).any()


def test_elastic_warps_smoothly_and_no_further_than_it_says() -> None:
    """Of a ramp of grey, a value tells the column that it comes from."""
    ramp = np.arange(24, dtype=np.float32)
    images = np.zeros((60, 24, 24, 2), np.float32)
    images[..., 0] = 1 + ramp[:, None]
    images[..., 1] = 1 + ramp
    warped = apply({"elastic_range": 0.1}, images)
    inner = warped[:, 4:-4, 4:-4]
    moved = inner - images[:, 4:-4, 4:-4]
    assert 0.8 < np.abs(moved).max() <= 2.4
    # Smooth: neighbours move nearly alike; not all together: places far apart move differently.
    assert np.abs(np.diff(moved, axis=1)).max() < 0.75
    assert np.abs(moved[:, 0, 0] - moved[:, -1, -1]).mean() > 0.3
    assert np.abs(moved[..., 0] - moved[..., 1]).max() > 0.5
    # A shift by all points alike is that shift, with 0 from outside.
    augmentation = Augmentation({"elastic_range": 0.1})
    drawn = np.zeros((1, augmentation.width), np.float32)
    drawn[:, :36] = 2.0
    image = draw_images(1, (24, 24, 2))
    shifted = np.zeros_like(image)
    shifted[:, :-2] = image[:, 2:]
    np.testing.assert_allclose(np.asarray(augmentation.apply(image, drawn)), shifted, atol=1e-2)
