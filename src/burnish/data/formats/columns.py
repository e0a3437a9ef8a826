"""Which columns of a table hold the images and the labels: one rule for all tables.

A column is found by its name alone, in any case and with spaces or hyphens for ``_``, where
one column has a usual name. Columns of mere numbers (`id`) count where no other name does. Where
several have one, or none, the user says which: ``image_column``, ``label_column``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burnish.data.formats.listing import list_some
from burnish.errors import DataError


@dataclass(frozen=True)
class ColumnRole:
    """What a column is for.

    Attributes
    ----------
    option
        The key of ``[data]`` that names the column.
    holds
        What it holds, for messages.
    names
        What such columns are usually called.
    weak_names
        The same, where no column has one of `names`.
    """

    option: str
    holds: str
    names: tuple[str, ...]
    weak_names: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return "--" + self.option.replace("_", "-")


IMAGE = ColumnRole(
    "image_column",
    "the images",
    (
        "path",
        "file",
        "file_name",
        "filename",
        "file_path",
        "filepath",
        "image",
        "image_path",
        "image_file",
        "image_name",
        "img",
        "img_path",
        "img_name",
        "pixels",
    ),
    ("image_id", "img_id", "id"),
)

LABEL = ColumnRole(
    "label_column",
    "the labels",
    (
        "label",
        "labels",
        "class",
        "class_name",
        "category",
        "target",
        "emotion",
        "fine_label",
        "coarse_label",
    ),
)


def find_column(
    where: str,
    columns: Sequence[str],
    role: ColumnRole,
    asked: str | None,
    fits: Callable[[str], bool] | None = None,
) -> str:
    """Return the name of the column that has a role, as the table writes it.

    Parameters
    ----------
    where
        The table, for messages.
    columns
        Names of all its columns.
    role
        `IMAGE` or `LABEL`.
    asked
        What the user called it, or None.
    fits
        Whether a column's type suits, which decides between several usual names.

    Raises
    ------
    DataError
        If there is no such column, or several; the message names the columns and the option.
    """
    written = list_some(list(columns), separator=", ") or "none"
    if asked is not None:
        return name_column(where, columns, role.option, asked)
    found = _find_usual(columns, role.names) or _find_usual(columns, role.weak_names)
    if len(found) > 1 and fits is not None:
        found = [name for name in found if fits(name)] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{where}: the columns {' and '.join(found)} could each hold {role.holds}; say which: "
            f'{role.option} = "{found[0]}" ({role.flag} {found[0]}), each name being there once. '
            f"There are: {written}"
        )
    raise DataError(
        f"{where}: the columns are {written}; expected a first line of names, one of them of the "
        f"column that holds {role.holds} ({', '.join(role.names)}); or say which it is: "
        f"{role.option} ({role.flag})"
    )


def name_column(where: str, columns: Sequence[str], option: str, asked: str) -> str:
    """Return the column that an option names, as it stands or but for case.

    Raises
    ------
    DataError
        If there is none, or several.
    """
    exact = [name for name in columns if name == asked]
    found = exact or [name for name in columns if fold_name(name) == fold_name(asked)]
    if len(found) == 1:
        return found[0]
    written = list_some(list(columns), separator=", ") or "none"
    if found:
        raise DataError(f"{where}: {option} = '{asked}' is {len(found)} columns: {written}")
    raise DataError(f"{where}: {option} = '{asked}' is no column; there are: {written}")


def fold_name(name: str) -> str:
    """Return what spellings of a column's name have in common.

    >>> fold_name(" File-Name")
    'file_name'
    """
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def has_column(columns: Sequence[str], role: ColumnRole) -> bool:
    """Whether one column, and no other, has a usual name of a role."""
    return len(_find_usual(columns, role.names) or _find_usual(columns, role.weak_names)) == 1


def find_usual(columns: Sequence[str], role: ColumnRole) -> list[str]:
    """Return the columns whose names say what they are for, numbers left aside."""
    return _find_usual(columns, role.names)


def _find_usual(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in columns if fold_name(name) in names]
