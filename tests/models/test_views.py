from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from burnish.backend import keras
from burnish.models.saved import load_saved
from burnish.models.views import average_over_views


def make_model() -> keras.Model:
    """Softmax regression on 6x5 images of two channels, with weights that tell places apart."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 5, 2), name="image")
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x), name="small")


def shift(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Shift images of shape (num, height, width, channels); 0 comes in from outside."""
    _, height, width, _ = images.shape
    shifted = np.zeros_like(images)
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                shifted[:, row, column] = images[:, row - down, column - right]
    return shifted


IMAGES = np.random.default_rng(1).uniform(0, 1, (4, 6, 5, 2)).astype(np.float32)


@pytest.mark.parametrize("pixels", [1, 2])
def test_it_is_the_mean_over_the_image_and_its_four_shifts(pixels: int) -> None:
    model = make_model()
    averaged = average_over_views(model, pixels)
    moves = [(0, 0), (pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)]
    expected = np.mean([model.predict(shift(IMAGES, *move), verbose=0) for move in moves], axis=0)
    np.testing.assert_allclose(averaged.predict(IMAGES, verbose=0), expected, atol=1e-6)
    # The image alone says something else, or this would show nothing.
    assert np.abs(model.predict(IMAGES, verbose=0) - expected).max() > 1e-3
    assert averaged.count_params() == model.count_params()


def test_it_is_saved_and_loaded_as_any_model(tmp_path: Path) -> None:
    averaged = average_over_views(make_model(), 1)
    averaged.save(tmp_path / "model.keras")
    loaded = load_saved(tmp_path / "model.keras")
    assert (
        loaded.predict(IMAGES, verbose=0).tobytes() == averaged.predict(IMAGES, verbose=0).tobytes()
    )


@pytest.mark.parametrize("pixels", [0, 5])
def test_shifts_that_leave_nothing_are_refused(pixels: int) -> None:
    with pytest.raises(ValueError, match=f"6x5 cannot be shifted by {pixels} pixels"):
        average_over_views(make_model(), pixels)


@pytest.mark.parametrize("pixels", [0, 1])
def test_with_its_mirror_image_it_is_the_mean_over_twice_as_many_views(
    pixels: int, tmp_path: Path
) -> None:
    model = make_model()
    averaged = average_over_views(model, pixels, flip=True)
    moves = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)] if pixels else [(0, 0)]
    views = [shift(side, *move) for side in (IMAGES, IMAGES[:, :, ::-1]) for move in moves]
    expected = np.mean([model.predict(view, verbose=0) for view in views], axis=0)
    given = averaged.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(given, expected, atol=1e-6)
    averaged.save(tmp_path / "model.keras")
    loaded = load_saved(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(IMAGES, verbose=0), given)
