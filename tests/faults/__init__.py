"""Faults that are caused, and what must hold after them: a few in CI, many by `make torture`.

Every test names in its docstring the row of docs/reliability.md that it stands for, and
counts what it did with the fixture `tally`; the table at the end is the sum.
"""

from __future__ import annotations

import os

import pytest

pytest.register_assert_rewrite("tests.faults.bench")

TORTURE = os.environ.get("BURNISH_TORTURE") == "1"
"""Whether all faults are to be tried (`make torture`), or a sample of them."""


def sample(few: int, many: int) -> int:
    """Return how many of a fault to cause: ``few`` in CI, ``many`` by ``make torture``."""
    return many if TORTURE else few
