from __future__ import annotations

import csv
import io
import os

import pytest

from burnish.spreadsheet import write_table


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_no_cell_is_a_formula(name: str) -> None:
    (_, row) = csv.reader(io.StringIO(write_table(["name"], [[name]]), newline=""))
    assert row == [f"'{name}"]


def test_texts_and_numbers_come_back() -> None:
    given: list[list[str | float]] = [['a "quoted", cell', "two\nlines", "é", -0.5]]
    heading, row = csv.reader(io.StringIO(write_table(["a", "b", "c", "d"], given), newline=""))
    assert heading == ["a", "b", "c", "d"]
    assert row == ['a "quoted", cell', "two\nlines", "é", "-0.5"]


def test_a_name_that_is_no_text_can_be_written() -> None:
    assert write_table(["name"], [[os.fsdecode(b"caf\xe9.png")]]).encode().endswith(b'udce9.png"\n')
