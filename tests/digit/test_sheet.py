from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from burnish.digit import centre_digit
from burnish.digit.sheet import cut_out_sheet

from .papers import INK, PAPER, TABLE, frame, lay_on_table, write_on_paper
from .test_recipe import distance

ALL = (60, 60, 60, 60)


@pytest.mark.parametrize(
    "lay",
    [
        *(lambda sheet, side=side: lay_on_table(sheet, (side,) * 4) for side in (5, 20, 60, 150)),
        lambda sheet: lay_on_table(sheet, ALL, table=INK),
        lambda sheet: lay_on_table(sheet.point(lambda value: int(value * 0.75)), ALL, table=250),
        *(lambda sheet, turned=t: lay_on_table(sheet, ALL, turned=turned) for t in (-6, 3, 8)),
        lambda sheet: lay_on_table(sheet, (60, 0, 0, 0)),
        lambda sheet: lay_on_table(sheet, (0, 0, 0, 60)),
        lambda sheet: lay_on_table(sheet, (60, 60, 0, 0)),
        lambda sheet: lay_on_table(sheet, (60, 60, 0, 0), turned=3),
        lambda sheet: lay_on_table(sheet, ALL, shadow=True),
        lambda sheet: lay_on_table(sheet, ALL, shadow=True, table=150, turned=4),
        lambda sheet: lay_on_table(sheet.resize((1400, 1400)), (400,) * 4, turned=-2),
    ],
    ids=[
        *("5 px", "20 px", "60 px", "150 px", "table like ink", "table lighter than paper"),
        *("turned -6", "turned 3", "turned 8", "left alone", "bottom alone", "left and top"),
        *("left and top, turned", "shadow", "shadow on grey", "photograph"),
    ],
)
def test_a_table_around_the_sheet_changes_nothing(
    lay: Callable[[Image.Image], np.ndarray[tuple[int, int], np.dtype[np.uint8]]],
) -> None:
    for digit in range(10):
        sheet = write_on_paper(digit)
        alone = centre_digit(np.asarray(sheet), 28, 28)
        assert distance(centre_digit(lay(sheet), 28, 28), alone) < 14, digit


@pytest.mark.parametrize(("line", "radius"), [(1, 0), (3, 0), (3, 25), (8, 0)])
def test_a_frame_is_not_ink(line: int, radius: int) -> None:
    for digit in (1, 2, 4, 5, 8):
        sheet = write_on_paper(digit, 220)
        alone = centre_digit(np.asarray(sheet), 28, 28)
        page = Image.new("L", (280, 280), PAPER)
        page.paste(sheet, (30, 30))
        frame(page, line=line, radius=radius)
        assert distance(centre_digit(np.asarray(page), 28, 28), alone) < 6, digit


def test_a_frame_on_a_sheet_on_a_table_is_not_ink() -> None:
    sheet = write_on_paper(2, 220)
    alone = centre_digit(np.asarray(sheet), 28, 28)
    page = Image.new("L", (280, 280), PAPER)
    page.paste(sheet, (30, 30))
    frame(page)
    assert distance(centre_digit(lay_on_table(page, ALL), 28, 28), alone) < 8


def test_an_empty_sheet_on_a_table_has_no_ink() -> None:
    sheet = Image.new("L", (280, 280), PAPER)
    assert not centre_digit(lay_on_table(sheet, (40,) * 4), 28, 28).any()
    assert not centre_digit(lay_on_table(sheet, (40,) * 4, turned=4), 28, 28).any()


@pytest.mark.parametrize("digit", range(10))
@pytest.mark.parametrize("pen", [2, 10, 30])
def test_a_drawing_is_no_sheet(digit: int, pen: int) -> None:
    assert cut_out_sheet(np.asarray(write_on_paper(digit, pen=pen))) is None


def test_angular_digits_are_no_sheets() -> None:
    """A 0 and an 8 of straight bars, a 1 as a block: rectangles, with rectangles in them."""
    for boxes in ([(80, 40, 200, 240)], [(80, 40, 200, 140), (80, 125, 200, 240)]):
        page = Image.new("L", (280, 280), PAPER)
        for box in boxes:
            ImageDraw.Draw(page).rectangle(box, outline=INK, width=16)
        assert cut_out_sheet(np.asarray(page)) is None
    page = Image.new("L", (280, 280), PAPER)
    ImageDraw.Draw(page).rectangle((115, 40, 165, 240), fill=INK)
    assert cut_out_sheet(np.asarray(page)) is None


def test_the_sheet_is_cut_out_upright_without_its_border() -> None:
    page = lay_on_table(write_on_paper(1), ALL, turned=5)
    cut = cut_out_sheet(page)
    assert cut is not None
    assert 230 < cut.shape[0] < 280
    assert 230 < cut.shape[1] < 280
    border = np.concatenate([cut[0], cut[-1], cut[:, 0], cut[:, -1]])
    assert border.min() > (PAPER + TABLE) / 2
