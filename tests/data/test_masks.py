"""Masks beside their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.data.formats import Listing, read_listing
from burnish.data.load import load_images


def write(root: Path, *names: str) -> Path:
    """Write images of noise; those called mask, or with an m before the suffix, are masks."""
    for number, name in enumerate(names):
        random = np.random.default_rng(number)
        path = root / name.replace("!", "")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (16, 16), dtype=np.uint8)
        if "!" in name:
            pixels = np.zeros((16, 16), np.uint8)
            pixels[3 : random.integers(5, 15), 4:9] = 255
        Image.fromarray(pixels).save(path)
    return root


def pairs(image: str, mask: str) -> list[str]:
    """Names of four pairs in each of two classes."""
    return [
        name.replace("CLASS", label).replace("N", str(number))
        for label in ("cat", "dog")
        for number in range(4)
        for name in (image, mask)
    ]


def names_of(listing: Listing) -> set[str]:
    return set(listing.names)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("CLASS/xN.jpg", "CLASS/xN.png!"),
        ("CLASS/Imgs/xN.jpg", "CLASS/Imgs/xN.png!"),
        ("CLASS/xN.bmp", "CLASS/xN.png!"),
        ("CLASS/xN.png", "CLASS/xN_mask.png!"),
        ("CLASS/x (N).png", "CLASS/x (N)_mask_1.png!"),
        ("CLASS/xN.jpg", "CLASS/xN_segmentation.png!"),
        ("CLASS/xN.jpg", "CLASS/xN-GT.bmp!"),
        ("CLASS/xN.jpg", "CLASS/xN_mask.jpg!"),
        ("CLASS/images/xN.png", "CLASS/masks/xN.png!"),
        ("CLASS/images/xN.png", "CLASS/masks/xN_mask.png!"),
        ("images/CLASS/xN.png", "masks/CLASS/xN.png!"),
        ("images/CLASS/xN.jpg", "ground_truth/CLASS/xN.png!"),
    ],
)
def test_masks_are_left_out_and_named(tmp_path: Path, image: str, mask: str) -> None:
    root = write(tmp_path / "data", *pairs(image, mask))
    listing = read_listing(root)
    suffix = Path(image).suffix
    assert listing.class_names == ("cat", "dog")
    assert len(listing) == 8
    assert not any("mask" in name or "truth" in name for name in listing.names)
    assert all(name.endswith(suffix) for name in listing.names)
    assert not listing.problems
    assert not listing.suspicious
    assert listing.notes[0].startswith("masks that were left out: 8, such as ")
    assert 'masks = "keep"' in listing.notes[0]
    if "images/" not in image:
        kept = read_listing(root, masks="keep")
        assert len(kept) == 16
        assert kept.stamp != listing.stamp


def test_pictures_of_the_same_name_are_no_masks(tmp_path: Path) -> None:
    root = write(tmp_path / "data", *pairs("CLASS/xN.jpg", "CLASS/xN.png"))
    listing = read_listing(root)
    assert len(listing) == 16
    (note,) = listing.notes
    assert "cat/x0.png stands beside cat/x0.jpg" in note
    assert "both were taken as images, since they do not look like masks" in note
    assert len(read_listing(root, masks="leave-out")) == 8


def test_a_few_names_that_agree_are_no_pattern(tmp_path: Path) -> None:
    few = [*(f"cat/{n}.jpg" for n in range(9)), *(f"dog/{n}.png!" for n in range(9)), "cat/3.png!"]
    listing = read_listing(write(tmp_path / "data", *few))
    assert len(listing) == 19
    assert "most such files (9 of 10) stand alone" in listing.notes[0]


def test_masks_of_one_class_alone_are_found(tmp_path: Path) -> None:
    """They would leak most of all."""
    names = [*(f"well/{n}.jpg" for n in range(9)), *(f"ill/{n}.jpg" for n in range(9))]
    masks = [f"ill/{n}.png!" for n in range(9)]
    assert len(read_listing(write(tmp_path / "data", *names, *masks))) == 18


def test_words_for_masks_in_names_of_classes_and_files_are_none_by_themselves(
    tmp_path: Path,
) -> None:
    names = [f"{label}/{n}{end}.jpg" for n in range(4) for label, end in (("mask", ""), ("no", ""))]
    people = [f"{label}/{n}{end}.png" for label in "ab" for n in range(3) for end in ("", "_mask")]
    for place, written in enumerate((names, people)):
        listing = read_listing(write(tmp_path / str(place), *written))
        assert len(listing) == len(written)
        assert listing.problems == ()


def test_what_was_left_out_stands_in_the_facts(tmp_path: Path) -> None:
    root = write(tmp_path / "data", *pairs("CLASS/xN.jpg", "CLASS/xN.png!"))
    raw = load_images(root, cache_folder=tmp_path / "cache")
    assert raw.facts.num_images == 8
    assert raw.facts.notes[0].startswith("masks that were left out: 8")
    kept = load_images(root, masks="keep", cache_folder=tmp_path / "cache")
    assert kept.facts.num_images == 16
