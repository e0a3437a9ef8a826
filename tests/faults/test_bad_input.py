"""Good files with random changes: read, or refused in burnish's own words."""

from __future__ import annotations

import random

import pytest

from ..fuzz.targets import TARGETS, try_target
from . import sample
from .conftest import Tally

PER_TARGET = {"parquet": 150, "study": 60}
"""Changed files in `make test` where it is not 300; these parsers take milliseconds."""


def change(content: bytes, r: random.Random) -> bytes:
    """Change a file as a fuzzer does: bits, bytes, numbers, pieces lost, doubled and swapped."""
    made = bytearray(content)
    for _ in range(r.choice([1, 1, 2, 4, 16])):
        place = r.randrange(len(made) + 1)
        size = r.choice([1, 1, 2, 4, 8, 64])
        kind = r.randrange(6)
        if kind == 0 and place < len(made):
            made[place] ^= 1 << r.randrange(8)
        elif kind == 1:
            made[place : place + size] = r.randbytes(size)
        elif kind == 2:
            extreme = r.choice([0, 1, 2**7, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])
            width = r.choice([1, 2, 4, 8])
            order = r.choice(["little", "big"])
            number = (extreme % 2 ** (8 * width)).to_bytes(width, order)
            made[place : place + width] = number
        elif kind == 3:
            del made[place : place + size]
        elif kind == 4:
            made[place:place] = made[place : place + size] * r.choice([1, 2, 50])
        else:
            other = r.randrange(len(made) + 1)
            made[place : place + size] = made[other : other + size]
    return bytes(made)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_are_read_or_refused_in_our_own_words(name: str, tally: Tally) -> None:
    """Row "bad input": whatever the bytes, the parser's own error or a good answer."""
    r = random.Random(f"burnish {name}")
    seeds = TARGETS[name].seeds()
    few = PER_TARGET.get(name, 300)
    for _ in range(sample(few, 10 * few)):
        content = change(r.choice(seeds), r)
        try:
            try_target(name, content)
        except BaseException as error:
            error.add_note(f"target {name}, input {content!r}")
            raise
    tally("bad input", tried=sample(few, 10 * few))
