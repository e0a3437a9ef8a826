from __future__ import annotations

import pytest

from burnish.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("800MB", 800_000_000),
        ("1.5 gb", 1_500_000_000),
        (" 16MiB ", 16 * 2**20),
        ("2GiB", 2**31),
        ("64 KiB", 65_536),
        ("0.5TB", 5 * 10**11),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, num_bytes: int) -> None:
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize("text", ["", "16", "MB", "-1MB", "1e3MB", "1,5GB", "1 M B", "1PB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size: expected a number with MB, GB, MiB or GiB"):
        parse_size(text)
