from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from burnish.data import Split
from burnish.digit import centre_digit


def draw_seven(
    size: tuple[int, int] = (400, 300),
    *,
    ground: int = 255,
    ink: int = 0,
    width: int = 24,
    corner: tuple[int, int] = (150, 60),
    side: int = 150,
) -> NDArray[np.uint8]:
    """A seven on a page: a bar at the top, and a slanted stroke down from its right end."""
    page = Image.new("L", size, ground)
    x, y = corner
    wide = 2 * side // 3
    line = [(x, y), (x + wide, y), (x + wide // 3, y + side)]
    ImageDraw.Draw(page).line(line, fill=ink, width=width, joint="curve")
    return np.asarray(page)


def centre_of_mass(image: NDArray[np.uint8]) -> tuple[float, float]:
    weights = image / image.sum()
    return float(weights.sum(1) @ np.arange(28)), float(weights.sum(0) @ np.arange(28))


def extent(image: NDArray[np.uint8], above: int = 32) -> tuple[int, int]:
    rows, columns = (np.flatnonzero((image > above).any(axis=axis)) for axis in (1, 0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean difference in grey levels; a pixel's shift, as from rounding the centre, is none.

    Two digits of MNIST are 40 apart.
    """
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    moved = (np.roll(a, shift, axis=(0, 1)).astype(int) for shift in shifts)
    return min(float(np.abs(other - b).mean()) for other in moved)


SEVEN = centre_digit(draw_seven(), 28, 28)


def test_the_ink_is_light_on_black_fills_the_box_and_lies_by_its_mass_in_the_middle() -> None:
    assert SEVEN.shape == (28, 28)
    assert SEVEN.dtype == np.uint8
    assert SEVEN.max() == 255
    tall, wide = extent(SEVEN)
    assert tall == 20
    assert 12 <= wide <= 16  # The aspect is kept: the seven is about two thirds as wide.
    assert centre_of_mass(SEVEN) == pytest.approx((14, 14), abs=0.5)
    assert (SEVEN[[0, 1, -1]] == 0).all()
    # Antialiased: there are greys, but most is ink or ground.
    assert 0.02 < ((SEVEN > 20) & (SEVEN < 235)).mean() < 0.2


@pytest.mark.parametrize(
    "page",
    [
        draw_seven(ground=0, ink=255),
        draw_seven(ground=0, ink=120),
        draw_seven(ground=90, ink=200),
        draw_seven(ground=200, ink=90),
        draw_seven(corner=(20, 20)),
        draw_seven((4000, 3000), width=240, side=1500, corner=(300, 900)),
        draw_seven((4000, 3000), width=24, corner=(3000, 1200)),
        draw_seven((140, 170), corner=(20, 12)),
    ],
    ids=[
        "inverted",
        "weak",
        "dark grey",
        "light grey",
        "shifted",
        "large",
        "small in large",
        "cut",
    ],
)
def test_polarity_contrast_place_and_size_do_not_matter(page: NDArray[np.uint8]) -> None:
    assert distance(centre_digit(page, 28, 28), SEVEN) < 6


def test_uneven_light_noise_and_dirt_do_not_matter() -> None:
    random = np.random.default_rng(0)
    light = np.linspace(1, 0.6, 400) * np.linspace(1, 0.8, 300)[:, None]
    page = draw_seven() * 0.9 * light + 20 + random.normal(0, 5, (300, 400))
    page[10:16, 380:386] = 20  # A speck.
    page[280:284, 5:12] = 20
    found = centre_digit(np.clip(page, 0, 255).astype(np.uint8), 28, 28)
    assert distance(found, SEVEN) < 8
    assert (found[:3] == 0).all()


@pytest.mark.parametrize("margin", [0, 2, 30])
def test_a_page_cut_close_to_the_ink_does_not_matter(margin: int) -> None:
    page = draw_seven(ground=230, ink=30)
    rows, columns = (np.flatnonzero((page < 100).any(axis=axis)) for axis in (1, 0))
    cut = page[
        rows[0] - margin : rows[-1] + 1 + margin, columns[0] - margin : columns[-1] + 1 + margin
    ]
    assert distance(centre_digit(cut, 28, 28), SEVEN) < 7


def test_what_lies_as_it_should_keeps_its_pixels() -> None:
    assert centre_digit(SEVEN, 28, 28) is not SEVEN
    np.testing.assert_array_equal(centre_digit(SEVEN, 28, 28), SEVEN)
    moved = np.roll(SEVEN, (-2, 3), axis=(0, 1))
    assert distance(centre_digit(moved, 28, 28), SEVEN) < 2
    assert distance(centre_digit(255 - SEVEN, 28, 28), SEVEN) < 2


@pytest.mark.parametrize("value", [0, 17, 255])
@pytest.mark.parametrize("shape", [(28, 28), (300, 400), (1, 1), (1, 900), (3, 2)])
def test_a_page_without_ink_is_black(value: int, shape: tuple[int, int]) -> None:
    assert not centre_digit(np.full(shape, value, np.uint8), 28, 28).any()


def make_noise(kind: str, shape: tuple[int, int], random: np.random.Generator) -> NDArray[Any]:
    name, _, level = kind.partition(" ")
    if name == "uniform":
        return random.integers(0, 256, shape)
    if name == "normal":
        return random.normal(200, float(level), shape)
    if name == "blurred":
        noise = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8))
        return np.asarray(noise.filter(ImageFilter.GaussianBlur(float(level))))
    return np.where(random.random(shape) < float(level), 0, 255)


@pytest.mark.parametrize(
    "kind",
    [
        "uniform",
        *(f"normal {std}" for std in (3, 8, 20, 60)),
        "blurred 1",  # Farther, it has blobs, which may be anything.
        *(f"salt {share}" for share in (0.001, 0.01, 0.05, 0.15, 0.3, 0.5)),
    ],
)
def test_noise_alone_is_no_ink(kind: str) -> None:
    random = np.random.default_rng(0)
    for shape in [(28, 28), (64, 64), (280, 280), (300, 500)]:
        for _ in range(3):
            page = np.clip(make_noise(kind, shape, random), 0, 255).astype(np.uint8)
            assert not centre_digit(page, 28, 28).any(), shape


def test_images_too_small_for_a_digit_do_not_fail() -> None:
    random = np.random.default_rng(0)
    for shape in [(5, 300), (300, 5), (2, 2), (1, 7)]:
        for _ in range(5):
            page = random.integers(0, 256, shape, dtype=np.uint8)
            assert centre_digit(page, 28, 28).shape == (28, 28)


def test_mnists_own_images_keep_their_pixels(mnist_test: Split) -> None:
    kept = [(centre_digit(one, 28, 28) == one).all() for one in mnist_test.images[..., 0]]
    assert sum(kept) == len(kept)


def test_a_ghost_of_a_line_does_not_pass_as_it_is() -> None:
    ghost = np.zeros((28, 28), np.uint8)
    ghost[4:24, 14] = 255
    assert centre_digit(ghost, 28, 28)[14].sum() > 2 * 255


@pytest.mark.parametrize(("size", "box"), [(56, 40), (16, 11), (8, 8)])
def test_other_sizes_have_a_box_in_proportion_and_small_ones_no_margin(size: int, box: int) -> None:
    found = centre_digit(draw_seven(), size, size)
    assert max(extent(found)) == box
