"""Sizes in bytes as people write them: 800MB, 1.5 GB, 16MiB."""

from __future__ import annotations

import re

_UNITS = {
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_size(text: str) -> int:
    """Return the bytes of a size; a MB is 10^6 bytes, a MiB 2^20.

    Raises
    ------
    ValueError
        If it is no size.

    >>> parse_size("1.5GB"), parse_size("16 mib")
    (1500000000, 16777216)
    """
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([KMGT]I?B)", text.strip().upper())
    if found is None:
        raise ValueError(f"'{text[:40]}' is no size: expected a number with MB, GB, MiB or GiB")
    return round(float(found[1]) * _UNITS[found[2]])


def show_size(num_bytes: float) -> str:
    """Return a size as people read it.

    >>> show_size(1_500_000_000), show_size(250_000)
    ('1.5 GB', '0.2 MB')
    """
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"
