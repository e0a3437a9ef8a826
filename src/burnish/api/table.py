"""Tables as programs want them: DataFrames where pandas is installed, else arrays of NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = "pd.DataFrame | NDArray[np.void]"
"""A DataFrame of pandas, where that is installed; else a structured array of NumPy."""


def make_table(columns: Mapping[str, Sequence[Any]]) -> Table:
    """Make a table of columns of the same length.

    In a structured array, what is missing is NaN among numbers, and empty among texts.
    """
    try:
        import pandas as pd
    except ImportError:
        return make_array(columns)
    return pd.DataFrame(dict(columns))


def make_array(columns: Mapping[str, Sequence[Any]]) -> NDArray[np.void]:
    """Make a structured array of columns of the same length.

    >>> make_array({"number": [0, 1], "loss": [0.5, None], "state": ["complete", None]})
    array([(0, 0.5, 'complete'), (1, nan, '')],
          dtype=[('number', '<i8'), ('loss', '<f8'), ('state', '<U8')])
    """
    arrays = {name: _make_column(values) for name, values in columns.items()}
    num_rows = len(next(iter(arrays.values()), ()))
    table = np.zeros(num_rows, [(name, array.dtype) for name, array in arrays.items()])
    for name, array in arrays.items():
        table[name] = array
    return table


def _make_column(values: Sequence[Any]) -> NDArray[Any]:
    known = {type(value) for value in values if value is not None}
    if known and known <= {bool} and None not in values:
        return np.array(values, bool)
    if known and known <= {int} and None not in values:
        return np.array(values, np.int64)
    if known <= {int, float, bool}:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    texts = ["" if value is None else str(value) for value in values]
    return np.array(texts, f"<U{max(1, *map(len, texts))}")
