from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from burnish.bundle.model import Model, load
from burnish.data import Split
from burnish.digit import centre_digit
from burnish.digit.strokes import (
    MEAN_WIDTH,
    STD_WIDTH,
    THICKEST,
    THINNEST,
    find_distances,
    measure_width,
)

from .polylines import FORMS, PENS, UNKNOWN, draw_digit, plausible_pairs

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

OF_EACH = 2


def crop(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    rows, columns = (np.flatnonzero((image > 32).any(axis=axis)) for axis in (1, 0))
    cut = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("large", [1, 4, 10])
def test_the_width_of_a_stroke_is_measured_at_any_size(width: int, large: int) -> None:
    """Of a ring: ends would count as outline too."""
    page = Image.new("L", (80 * large, 120 * large))
    box = [20 * large, 20 * large, 60 * large, 100 * large]
    ImageDraw.Draw(page).ellipse(box, outline=255, width=width * 4 * large)
    found = measure_width(crop(np.asarray(page.reduce(4))), 1 / large)
    assert found == pytest.approx(width, rel=0.1)


def test_the_constants_are_those_of_mnists_train_split(mnist_test: Split) -> None:
    """The test split was written by others, and is a sixth of the size."""
    widths = [measure_width(crop(image[..., 0]), 1.0) for image in mnist_test.images[:2_000]]
    assert np.mean(widths) == pytest.approx(MEAN_WIDTH, abs=0.15)
    assert np.std(widths) == pytest.approx(STD_WIDTH, abs=0.1)


def test_distances_are_exact_within_reach() -> None:
    mask = np.random.default_rng(0).random((23, 31)) < 0.03
    found = find_distances(mask, 6)
    rows, columns = np.nonzero(mask)
    down = np.arange(mask.shape[0])[:, None, None] - rows
    right = np.arange(mask.shape[1])[None, :, None] - columns
    exact = np.hypot(down, right).min(axis=-1)
    near = exact <= 6
    np.testing.assert_allclose(found[near], exact[near], rtol=1e-6)
    assert (found[~near] > 6).all()


@pytest.mark.parametrize(("canvas", "pen"), [(28, 1), (64, 1), (280, 1), (1000, 2), (280, 60)])
def test_thin_and_thick_strokes_become_as_wide_as_mnists(canvas: int, pen: int) -> None:
    ring = Image.new("L", (canvas, canvas), 255)
    box = [0.2 * canvas, 0.12 * canvas, 0.8 * canvas, 0.88 * canvas]
    ImageDraw.Draw(ring).ellipse(box, outline=0, width=pen)
    found = centre_digit(np.asarray(ring), 28, 28)
    assert found.max() > 240
    assert THINNEST < measure_width(crop(found), 1.0) < THICKEST
    assert found[14, 14] < 60  # The ring is open.


def test_a_usual_width_is_left_alone() -> None:
    page = Image.new("L", (280, 280), 255)
    ImageDraw.Draw(page).ellipse([70, 40, 210, 240], outline=0, width=27)
    found = centre_digit(np.asarray(page), 28, 28)
    plain = Image.fromarray(255 - np.asarray(page)[39:242, 69:212]).resize((14, 20), 4)
    assert np.abs(crop(found).shape[0] - 20) <= 1
    assert abs(int(found.sum()) - int(np.asarray(plain).sum())) < 0.06 * found.sum()


@pytest.fixture(scope="module")
def model(mnist_model: Path) -> Model:
    return load(mnist_model, threads=1)


@pytest.mark.parametrize("pen", PENS)
def test_digits_of_any_pen_are_recognised(model: Model, pen: int) -> None:
    random = np.random.default_rng(pen)
    forms = [form for form in FORMS if form not in UNKNOWN for _ in range(OF_EACH)]
    prepared, expected = [], []
    for canvas, its_pen in plausible_pairs():
        for form in forms if its_pen == pen else ():
            prepared.append(model.prepare(draw_digit(form, canvas=canvas, pen=pen, random=random)))
            expected.append(int(form[0]))
    found = model.predict_arrays(np.stack(prepared)).argmax(axis=1)
    assert (found == expected).mean() >= 0.98
