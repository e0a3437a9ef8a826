from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from burnish.data.formats import read_listing
from burnish.data.load import load_images
from burnish.data.stored import store_images

from .made import make, png, write_folder


@pytest.fixture
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of its own."""
    return tmp_path_factory.mktemp("cache")


def noise(seed: int, *shape: int) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def change_one(root: Path) -> None:
    (root / "0" / "0.png").write_bytes(noise(1, 9, 9))


def add_and_remove(root: Path) -> None:
    (root / "1" / "new.png").write_bytes(noise(2, 9, 9))
    (root / "2" / "2.png").unlink()


def spoil_one_mend_another(root: Path) -> None:
    (root / "0" / "0.png").write_bytes(b"no image")
    (root / "1" / "bad.png").write_bytes(noise(3, 9, 9))


def rename_all(root: Path) -> None:
    for number, file in enumerate(sorted(root.glob("*/*.png"))):
        file.rename(file.with_name(f"{(number * 7) % 101}-renamed.png"))


@pytest.mark.parametrize("change", [change_one, add_and_remove, spoil_one_mend_another, rename_all])
def test_a_changed_data_set_is_what_decoding_all_of_it_gives(
    tmp_path: Path, kept: Path, change: Callable[[Path], None]
) -> None:
    root = write_folder(tmp_path / "data", make())
    (root / "1" / "bad.png").write_bytes(b"bad")
    store_images(read_listing(root), cache_folder=kept)
    change(root)
    told: list[tuple[int, int]] = []
    again = store_images(
        read_listing(root), cache_folder=kept, on_progress=lambda *step: told.append(step)
    )
    assert (told[-1] if told else (0, 0))[1] <= 2  # No more was decoded.
    fresh = store_images(read_listing(root), cache_folder=tmp_path / "other")
    np.testing.assert_array_equal(again.pixels, fresh.pixels)
    for name in ("heights", "widths", "modes", "digests", "traces", "colored"):
        given, wanted = getattr(again.decoded, name), getattr(fresh.decoded, name)
        np.testing.assert_array_equal(given, wanted)
        assert given.dtype == wanted.dtype
    assert again.decoded.bad == fresh.decoded.bad
    assert (again.spec, again.notes) == (fresh.spec, fresh.notes)
    assert again.folder.name == fresh.folder.name


def test_an_image_of_another_size_or_colour_has_all_decoded(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "data", make())
    load_images(root, cache_folder=kept)
    (root / "0" / "0.png").write_bytes(noise(1, 9, 9, 3))
    colour = load_images(root, cache_folder=kept)
    assert colour.input.color == "rgb"
    # Of what is left without it nobody knows yet that it has no colour.
    (root / "0" / "0.png").unlink()
    assert load_images(root, cache_folder=kept).input.color == "grey"
    for number in range(30):
        (root / "0" / f"large-{number}.png").write_bytes(noise(number, 20, 20))
    assert load_images(root, cache_folder=kept).input.shape == (20, 20, 1)


def test_a_data_set_of_mostly_other_images_is_decoded(tmp_path: Path, kept: Path) -> None:
    root = write_folder(tmp_path / "data", make())
    load_images(root, cache_folder=kept)
    for number, file in enumerate(sorted(root.glob("*/*.png"))[:13]):
        file.write_bytes(noise(number + 50, 9, 9))
    told: list[tuple[int, int]] = []
    load_images(root, cache_folder=kept, on_progress=lambda *step: told.append(step))
    assert told[-1] == (24, 24)
