from __future__ import annotations

import numpy as np
import pytest

from burnish.digit import centre_digit
from burnish.digit.lines import erase_ruled_lines

from .papers import lay_on_table, rule, write_on_paper
from .test_recipe import distance


@pytest.mark.parametrize(
    ("squared", "level", "turned"),
    [(False, 150, 0.0), (False, 60, 0.0), (False, 150, 2.0), (False, 90, 2.0), (True, 170, 0.0)],
    ids=["ruled", "ruled dark", "ruled and turned", "ruled dark and turned", "squared"],
)
def test_lines_of_the_paper_are_not_ink(squared: bool, level: int, turned: float) -> None:
    for digit in range(10):
        sheet = write_on_paper(digit)
        alone = centre_digit(np.asarray(sheet), 28, 28)
        rule(sheet, squared=squared, level=level, turned=turned)
        assert distance(centre_digit(np.asarray(sheet), 28, 28), alone) < 13, digit


def test_a_ruled_sheet_on_a_table_is_read() -> None:
    for digit in (2, 5, 7):
        sheet = write_on_paper(digit)
        alone = centre_digit(np.asarray(sheet), 28, 28)
        rule(sheet)
        for turned in (0.0, 3.0):
            page = lay_on_table(sheet, (60,) * 4, turned=turned)
            assert distance(centre_digit(page, 28, 28), alone) < 12, (digit, turned)


def test_where_a_stroke_crosses_a_line_it_stays_whole() -> None:
    ink = np.zeros((120, 100), np.float32)
    ink[20:100, 45:52] = 1
    strokes = ink.copy()
    for row in (10, 40, 70, 110):
        ink[row : row + 2] = 0.6
    erased = erase_ruled_lines(ink)
    np.testing.assert_array_equal(erased[:, 45:52] > 0.5, strokes[:, 45:52] > 0.5)
    assert not erased[:, :44].any()


def test_the_bar_of_a_seven_that_fills_the_image_is_no_ruled_line() -> None:
    ink = np.zeros((120, 100), np.float32)
    ink[:4] = 1
    for row in range(120):
        column = round(96 - row * 0.6)
        ink[row, column : column + 4] = 1
    np.testing.assert_array_equal(erase_ruled_lines(ink), ink)
