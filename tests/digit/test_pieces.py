from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.digit.pieces import label_pieces


def flood(filled: NDArray[np.bool_], *, diagonal: bool) -> int:
    """Number of pieces, by walking from pixel to pixel."""
    todo = {(int(row), int(column)) for row, column in np.argwhere(filled)}
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    steps += [(1, 1), (1, -1), (-1, 1), (-1, -1)] if diagonal else []
    number = 0
    while todo:
        number += 1
        reached = [todo.pop()]
        while reached:
            row, column = reached.pop()
            around = {(row + down, column + right) for down, right in steps} & todo
            todo -= around
            reached.extend(around)
    return number


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_pieces_are_those_that_hang_together(share: float, diagonal: bool) -> None:
    filled = np.random.default_rng(1).random((19, 33)) < share
    pieces = label_pieces(filled, diagonal=diagonal)
    np.testing.assert_array_equal(pieces > 0, filled)
    assert pieces.max(initial=0) == flood(filled, diagonal=diagonal)
    for number in range(1, int(pieces.max(initial=0)) + 1):
        assert flood(pieces == number, diagonal=diagonal) == 1


def test_a_piece_that_meets_itself_has_one_number() -> None:
    filled = np.array([[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
    assert set(label_pieces(filled, diagonal=False)[filled]) == {1}
