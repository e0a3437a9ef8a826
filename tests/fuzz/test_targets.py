"""The targets of `make fuzz` on good files, on rubbish and on what was kept."""

from __future__ import annotations

import time

import pytest

from .kept import KEPT
from .targets import TARGETS, try_target


@pytest.mark.parametrize("name", TARGETS)
def test_good_files_are_read_or_refused_without_any_change(name: str) -> None:
    for seed in TARGETS[name].seeds():
        try_target(name, seed)
    for content in (b"", b"\0", b"\xff" * 1000, b"[" * 10_000, bytes(10_000)):
        try_target(name, content)


@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name, found in KEPT.items() for i in range(len(found))]
)
def test_what_once_made_a_parser_fail_is_refused_soon(name: str, number: int) -> None:
    started = time.process_time()
    try_target(name, KEPT[name][number])
    # Processor time, and far more than it takes: what was kept took minutes, or for ever.
    assert time.process_time() - started < 20
