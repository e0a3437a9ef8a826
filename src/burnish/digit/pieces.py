"""Connected pieces of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def label_pieces(filled: NDArray[np.bool_], *, diagonal: bool) -> NDArray[np.int64]:
    """Number connected pixels from 1; 0 is empty. ``diagonal`` neighbours may touch too.

    Runs of each row are joined with those of the row before that they touch, in a forest of
    which each tree is a piece (union-find).
    """
    height, width = filled.shape
    edges = np.diff(np.pad(filled, [(0, 0), (1, 1)]).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    parents = list(range(len(rows)))

    def find_root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    firsts = np.searchsorted(rows, np.arange(height + 1)).tolist()
    reach = 1 if diagonal else 0
    begin, end = starts.tolist(), ends.tolist()
    for row in range(1, height):
        above, stop = firsts[row - 1], firsts[row]
        for run in range(firsts[row], firsts[row + 1]):
            while above < stop and end[above] + reach <= begin[run]:
                above += 1
            touching = above
            while touching < stop and begin[touching] < end[run] + reach:
                parents[find_root(touching)] = find_root(run)
                touching += 1
    roots = np.array([find_root(run) for run in range(len(rows))], np.int64)
    numbers = np.unique(roots, return_inverse=True)[1] + 1
    # Each run adds its number where it begins, and takes it away behind its end.
    steps = np.zeros((height, width + 1), np.int64)
    np.add.at(steps, (rows, starts), numbers)
    np.add.at(steps, (rows, ends), -numbers)
    return np.cumsum(steps, axis=1)[:, :width]
