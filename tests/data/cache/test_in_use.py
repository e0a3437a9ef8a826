from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from burnish.data.cache.in_use import hold, reserved

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows keeps open files itself")


def is_free(path: Path) -> bool:
    with reserved(path) as free:
        return free


def test_a_file_is_held_while_it_is_open_or_mapped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert is_free(path)  # It is not there.
    path.write_bytes(b"12345678")
    assert is_free(path)
    with path.open("rb") as file, path.open("rb") as other:
        hold(file)
        hold(other)  # Two may use it.
        assert not is_free(path)
        mapped = np.memmap(file, np.uint8, "r")
    assert not is_free(path)
    part = mapped[2:4]
    del mapped
    assert not is_free(path)
    assert part.tolist() == [51, 52]
    del part
    assert is_free(path)


def test_what_is_reserved_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with reserved(path) as first:
        assert first
        assert not is_free(path)
    assert is_free(path)


def test_what_cannot_be_asked_counts_as_used(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert not is_free(tmp_path / "folder")
