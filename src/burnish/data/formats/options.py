"""What a user may say of how labelled images are listed; keys of a study's ``[data]`` too."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from burnish.errors import DataError, name_what_exists

ClassCase: TypeAlias = Literal["auto", "join", "keep"]

LabelsChoice: TypeAlias = Literal["top", "deepest"]
"""Which folders are the classes, where there are folders within folders."""

MasksChoice: TypeAlias = Literal["leave-out", "keep"]
"""What becomes of masks beside their images."""


class ListingKeywords(TypedDict, total=False):
    """The fields of `ListingOptions`, as keywords of functions that hand them on."""

    group: str | None
    image_column: str | None
    label_column: str | None
    image_root: Path | None
    class_case: ClassCase
    labels: LabelsChoice | None
    masks: MasksChoice | None


@dataclass(frozen=True)
class ListingOptions:
    """How labelled images are listed. Every format refuses those that it has no use for.

    Parameters
    ----------
    group
        Column whose values must not straddle splits (a writer, a patient).
    image_column, label_column
        Columns of a table that hold the images (or their paths) and the labels, where their
        names do not say it: see `burnish.data.formats.columns`.
    image_root
        Folder that the paths of a table count from; by default the table's own.
    class_case
        Whether class names that differ in case alone are one class: see
        `burnish.data.formats.classes`.
    labels
        Which of folders within folders are the classes; by default the likelier: see
        `burnish.data.formats.layout`.
    masks
        What becomes of masks beside their images; by default they are left out where they are
        masks by all signs: see `burnish.data.formats.masks`.

    Raises
    ------
    DataError
        If ``class_case``, ``labels`` or ``masks`` is none of its choices.
    """

    group: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    image_root: Path | None = None
    class_case: ClassCase = "auto"
    labels: LabelsChoice | None = None
    masks: MasksChoice | None = None

    def __post_init__(self) -> None:
        choices = {"class_case": ClassCase, "labels": LabelsChoice, "masks": MasksChoice}
        for name, choice in choices.items():
            given = getattr(self, name)
            if given is not None and given not in get_args(choice):
                raise DataError(name_what_exists(name, str(given), get_args(choice)))

    def given(self) -> dict[str, Any]:
        """Return the options that are not their default."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def refuse_but(self, format_name: str, *allowed: str) -> None:
        """Say that a format has no use for an option.

        Raises
        ------
        DataError
            If another option was given than those that the format takes.
        """
        for name, value in self.given().items():
            if name in allowed:
                continue
            if name == "group":
                raise DataError(
                    f"group = '{value}': format '{format_name}' has no columns to group by; give "
                    "the data as csv or parquet with such a column"
                )
            raise DataError(
                f"{name} = '{value}': format '{format_name}' has no use for it; take it away"
                + (f". It takes: {', '.join(allowed)}" if allowed else "")
            )
