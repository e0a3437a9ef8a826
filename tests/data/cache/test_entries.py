from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import burnish
from burnish.data.cache.contents import take_contents
from burnish.data.cache.entries import (
    find_entries,
    is_in_use,
    keep_entry,
    name_entry,
    read_entry,
    remove_entry,
    writing_entry,
)
from burnish.data.cache.upkeep import list_kept, tidy
from burnish.data.decode import decode_images
from burnish.data.formats import list_arrays
from burnish.data.load import load_images
from burnish.image import InputSpec

from ..made import make, write_folder

SPEC = InputSpec(9, 9, "grey")


def write(folder: Path, *, once: bool = False) -> Path:
    made = make()
    listing = list_arrays(made.images, made.labels)
    contents = take_contents(listing, folder)
    with writing_entry(folder) as temporary:
        assert is_in_use(temporary) or os.name == "nt"
        tidy(folder, 10**9)  # As other processes may at any moment.
        decoded = decode_images(
            listing.images, len(listing), SPEC, temporary / "images.npy", look_for_color=True
        )
        return keep_entry(temporary, listing, contents, SPEC, decoded, once=once)


def test_an_entry_is_found_as_it_was_written(tmp_path: Path) -> None:
    made = make()
    contents = take_contents(list_arrays(made.images, made.labels), tmp_path)
    entry = write(tmp_path)
    assert entry == tmp_path / name_entry(contents, SPEC)
    assert find_entries(tmp_path, contents) == [entry]
    stored = read_entry(entry, contents, 24)
    assert stored is not None
    np.testing.assert_array_equal(stored.pixels[..., 0], made.images)
    assert not stored.pixels.flags.writeable
    assert stored.spec == SPEC
    assert stored.decoded.heights.tolist() == [9] * 24
    assert read_entry(entry, contents, 23) is None
    assert write(tmp_path) == entry  # Whoever is second takes what is there.
    assert [one.kind for one in list_kept(tmp_path)] == ["entry"]


def test_what_serves_one_process_alone_is_not_found(tmp_path: Path) -> None:
    made = make()
    contents = take_contents(list_arrays(made.images, made.labels), tmp_path)
    entry = write(tmp_path, once=True)
    assert read_entry(entry, contents, 24) is not None
    assert find_entries(tmp_path, contents) == []
    tidy(tmp_path, 10**9)
    assert not entry.exists()


def test_an_entry_goes_as_a_whole(tmp_path: Path) -> None:
    entry = write(tmp_path)
    assert remove_entry(entry)
    assert not entry.exists()
    assert not remove_entry(entry)
    assert list_kept(tmp_path) == []


KILL = """
import hashlib, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from burnish.data.cache.upkeep import list_kept
from burnish.data.load import load_images

root, kept = Path(sys.argv[1]), Path(sys.argv[2])
chance = random.Random(7)

def load():
    return load_images(root, cache_folder=kept)

def write(number):
    pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(root / "01"[number % 2] / f"{number % 30}.png")

began = time.perf_counter()
load()
length = time.perf_counter() - began
killed = 0
for number in range(30):
    write(number)
    child = os.fork()
    if child == 0:
        load()
        os._exit(0)
    time.sleep(chance.random() * 1.2 * length)
    os.kill(child, signal.SIGKILL)
    killed += os.waitpid(child, 0)[1] == signal.SIGKILL
print(killed)
raw = load()
print(hashlib.sha256(raw.train.images.tobytes()).hexdigest())
print([one.kind for one in list_kept(kept)])
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no fork")
def test_a_kill_at_any_moment_leaves_a_sound_cache(tmp_path: Path) -> None:
    root, kept = write_folder(tmp_path / "data", make(24, (40, 30, 3), 2)), tmp_path / "cache"
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(root), str(kept)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(burnish.__file__).parents[1])},
    )
    assert done.stderr == ""
    killed, digest, kinds = done.stdout.splitlines()
    assert int(killed) >= 5
    fresh = load_images(root, cache_folder=tmp_path / "fresh").train.images
    assert hashlib.sha256(fresh.tobytes()).hexdigest() == digest
    assert json.loads(kinds.replace("'", '"')) == ["entry"]
