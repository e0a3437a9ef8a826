from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from burnish.data.cache import contents
from burnish.data.cache.contents import Contents, take_contents
from burnish.data.formats import list_arrays, read_listing

from ..made import make, png, write_csv, write_every_format, write_folder, write_npz

AGES_AGO = 1_600_000_000


def take(path: Path, kept: Path) -> Contents:
    return take_contents(read_listing(path), kept)


def age(root: Path) -> None:
    """As if all files had been written long ago; it still shows that they were changed now."""
    for file in [root, *root.rglob("*")]:
        os.utime(file, (AGES_AGO, AGES_AGO))


@pytest.mark.parametrize("name", ["folder", "csv", "npz", "idx", "parquet"])
def test_a_data_set_that_was_moved_or_touched_is_the_same(tmp_path: Path, name: str) -> None:
    path = write_every_format(tmp_path / "here", make())[name]
    before = take(path, tmp_path / "cache")
    age(tmp_path / "here")
    assert take(path, tmp_path / "cache").digest == before.digest
    (tmp_path / "here").rename(tmp_path / "there")
    moved = tmp_path / "there" / path.relative_to(tmp_path / "here")
    assert take(moved, tmp_path / "cache").digest == before.digest


@pytest.mark.parametrize("name", ["folder", "csv", "npz", "idx", "parquet"])
def test_one_byte_makes_another(tmp_path: Path, name: str) -> None:
    path = write_every_format(tmp_path, make())[name]
    before = take(path, tmp_path / "cache")
    file = path if path.is_file() else next(file for file in path.rglob("*") if file.is_file())
    file = path.parent / "scans" / "3.png" if name == "csv" else file
    listing = read_listing(path)
    status = file.stat()
    changed = bytearray(file.read_bytes())
    changed[-20] ^= 1
    file.write_bytes(changed)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = take_contents(listing, tmp_path / "cache")
    assert after.digest != before.digest
    assert not before.still_hold()
    # A table or an archive that was listed before it changed is not what it is now.
    assert after.still_hold() == (name in ("folder", "csv"))


def test_what_is_labels_alone_does_not_count(tmp_path: Path) -> None:
    made = make()
    path = write_csv(tmp_path / "data", made)
    before = take(path, tmp_path / "cache")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("0.png,0", "0.png,2"), encoding="utf-8")
    assert read_listing(path).labels[0] == 2
    assert take(path, tmp_path / "cache").digest == before.digest


def test_the_order_and_the_number_of_images_count(tmp_path: Path) -> None:
    made = make()
    first = list_arrays(made.images, made.labels)
    turned = list_arrays(made.images[::-1], made.labels)
    fewer = list_arrays(made.images[:21], made.labels[:21])
    assert len({take_contents(one, tmp_path).digest for one in (first, turned, fewer)}) == 3
    root = write_folder(tmp_path / "data", made)
    before = take(root, tmp_path / "cache")
    (root / "0" / "0.png").rename(root / "0" / "999.png")
    after = take(root, tmp_path / "cache")
    assert after.digest != before.digest
    assert before.images is not None
    assert after.images is not None
    assert set(map(bytes, after.images)) == set(map(bytes, before.images))


def test_files_that_did_not_change_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "data", make())
    read: list[str] = []
    digest_file = contents._digest_file

    def note(file: str, status: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bytes:
        read.append(Path(file).name)
        return digest_file(file, status)

    monkeypatch.setattr(contents, "_digest_file", note)
    take(root, tmp_path / "cache")
    # What was written just now may change again within a step of the file system's clock.
    take(root, tmp_path / "cache")
    assert len(read) == 48
    later = time.time_ns() + 10**10
    monkeypatch.setattr(time, "time_ns", lambda: later)
    take(root, tmp_path / "cache")
    read.clear()
    before = take(root, tmp_path / "cache")
    assert read == []
    (root / "1" / "1.png").write_bytes(png(np.zeros((9, 9), np.uint8)))
    later += 10**12
    after = take(root, tmp_path / "cache")
    assert read == ["1.png"]
    assert after.digest != before.digest


def test_an_index_that_is_damaged_or_cannot_be_written_costs_reading_alone(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", make())
    kept = tmp_path / "cache"
    before = take(root, kept)
    (index,) = kept.glob("paths/*.npz")
    for content in (b"", index.read_bytes()[:-30], b"PK"):
        index.write_bytes(content)
        assert take(root, kept).digest == before.digest
    shutil.rmtree(kept)
    kept.write_bytes(b"")
    assert take(root, kept).digest == before.digest


def test_files_that_are_none(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "data", make())
    image = path.parent / "scans" / "3.png"
    digests = {take(path, tmp_path / "cache").digest}
    image.unlink()
    gone = take(path, tmp_path / "cache")
    assert gone.images is not None
    assert not gone.images[3].any()
    digests.add(gone.digest)
    image.mkdir()
    digests.add(take(path, tmp_path / "cache").digest)
    assert len(digests) == 3


def test_when_images_were_written(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", make())
    age(root)
    found = take(root, tmp_path / "cache")
    assert found.modified is not None
    assert set(found.modified.tolist()) == {AGES_AGO * 10**9}
    assert take(write_npz(tmp_path / "a.npz", make()), tmp_path / "cache").modified is None
