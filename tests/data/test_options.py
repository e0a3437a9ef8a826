"""What a user says of how images are listed: known everywhere, or refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from burnish.data.formats import read_listing
from burnish.data.formats.options import ListingKeywords, ListingOptions
from burnish.errors import DataError
from burnish.study.schema import DataSection

from .made import make, write_every_format


def test_every_option_is_a_keyword_and_a_key_of_a_study() -> None:
    names = [field.name for field in fields(ListingOptions)]
    assert list(ListingKeywords.__annotations__) == names
    assert set(names) <= set(DataSection.model_fields)
    chosen = {"class_case": "keep", "labels": "top", "masks": "keep"}
    given: dict[str, Any] = {name: chosen.get(name, "x") for name in names}
    # All of them reach what reads the images.
    assert set(DataSection(path="p", **given).reading()) == set(names)


@pytest.mark.parametrize(
    ("format", "option"),
    [
        ("folder", "image_column"),
        ("folder", "label_column"),
        ("folder", "image_root"),
        ("idx", "label_column"),
        ("npz", "image_root"),
        ("parquet", "image_root"),
    ],
)
def test_what_a_format_has_no_use_for_is_refused(tmp_path: Path, format: str, option: str) -> None:
    path = write_every_format(tmp_path, make())[format]
    given: Any = {option: Path("x")} if option == "image_root" else {option: "x"}
    with pytest.raises(DataError, match=f"{option} = 'x': format '{format}' has no use for it"):
        read_listing(path, **given)
