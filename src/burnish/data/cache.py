"""The user's own images: decoded once, kept in a file that is mapped into memory.

    raw = load_images(Path("photos"), size=(64, 64))
    dataset, test = prepare(raw, None, seed=42)

What was decoded is kept in the user's cache folder, under a name that changes with the files,
the settings and the code that decodes. An entry is written to a temporary name, flushed and
renamed, by one process at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

import burnish.data.decode
import burnish.image
from burnish.data.choice import choose_size, guess
from burnish.data.dataset import LabelledImages, Split
from burnish.data.decode import Decoded, OnDecoded, decode_images
from burnish.data.duplicates import (
    join_blocks,
    number_contents,
    order_canonically,
    refuse_straddling,
    settle_duplicates,
)
from burnish.data.facts import DataFacts
from burnish.data.formats import Listing, read_listing
from burnish.data.formats.layout import LabelsChoice
from burnish.data.formats.listing import NUM_NAMED, SPLIT_NAMES, list_some
from burnish.data.formats.masks import MasksChoice
from burnish.errors import DataError, name_what_exists
from burnish.files import find_cache_folder, sync_folder
from burnish.image import CANNOT_BE_READ, Color, InputSpec, Resize, name_decoders

ColorChoice: TypeAlias = Literal["auto"] | Color
SizeChoice: TypeAlias = Literal["auto"] | Sequence[int]
OnBadImage: TypeAlias = Literal["fail", "skip"]

IMBALANCE = 10.0
"""The largest class over the smallest, in images, beyond which a warning is given."""

MAX_SIDE = 4096
"""Largest height and width, in pixels, that may be asked for."""

_ENTRY_FORMAT = 1


def load_images(
    path: Path,
    *,
    format: str | None = None,
    color: ColorChoice = "auto",
    size: SizeChoice = "auto",
    resize: Resize = "pad",
    group: str | None = None,
    labels: LabelsChoice | None = None,
    masks: MasksChoice | None = None,
    on_bad_image: OnBadImage = "fail",
    cache_folder: Path | None = None,
    on_progress: OnDecoded | None = None,
) -> LabelledImages:
    """Load labelled images from a folder or a file.

    The images are put in an order that depends on their content alone (classes in natural
    order, then the SHA-256 of the pixels), so that the same images in any format are the
    same data set, and are cut alike.

    Parameters
    ----------
    path
        See `burnish.data.formats` for what may lie there.
    format
        Name of the format; by default found by the names of what lies there.
    color
        ``grey``, ``rgb``, or ``auto``: grey where no image has colour.
    size
        Height and width in pixels, or ``auto``: see `burnish.data.choice.choose_size`.
    resize
        ``pad`` keeps the aspect and fills up with black, ``stretch`` does not.
    group
        Column whose values must not straddle splits.
    labels, masks
        How a folder is read: see `burnish.data.formats.folder.read_folder`.
    on_bad_image
        ``fail`` names all that cannot be used in one error, ``skip`` goes on without them.
    cache_folder
        Where decoded images are kept; by default ``images`` in the user's cache folder.
    on_progress
        Called with the images decoded so far, and how many there are.

    Returns
    -------
    LabelledImages
        Its images are rows of a mapped file. Its `facts` say what was chosen, skipped and found.

    Raises
    ------
    DataError
        If the data cannot be used, or the cache not be written.
    """
    return load_listing(
        read_listing(path, format, group, labels=labels, masks=masks),
        color=color,
        size=size,
        resize=resize,
        on_bad_image=on_bad_image,
        cache_folder=cache_folder,
        on_progress=on_progress,
    )


def load_listing(
    listing: Listing,
    *,
    color: ColorChoice = "auto",
    size: SizeChoice = "auto",
    resize: Resize = "pad",
    on_bad_image: OnBadImage = "fail",
    cache_folder: Path | None = None,
    on_progress: OnDecoded | None = None,
) -> LabelledImages:
    """Load images that were listed; see `load_images`."""
    if on_bad_image not in get_args(OnBadImage):
        raise DataError(name_what_exists("on_bad_image", on_bad_image, get_args(OnBadImage)))
    stored = store_images(
        listing,
        color=color,
        size=size,
        resize=resize,
        cache_folder=cache_folder,
        on_progress=on_progress,
    )
    troubles = stored.list_troubles(listing)
    if troubles and on_bad_image == "fail":
        raise DataError(
            f"{listing.name}: images or files that cannot be used: {len(troubles):,}\n  "
            + list_some(troubles, separator="\n  ")
            + '\nMend or remove them, or set on_bad_image = "skip" to go on without them.'
        )
    return assemble(listing, stored, troubles)


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images as they lie in the cache, in the order of their listing.

    Attributes
    ----------
    folder
        Of the entry.
    spec
        Size and colour of all of them.
    decoded
        What is known of each.
    notes
        What was chosen, and why.
    """

    folder: Path
    spec: InputSpec
    decoded: Decoded
    notes: tuple[str, ...]

    def map_pixels(self) -> NDArray[np.uint8]:
        """Map the pixels (num, height, width, channels) into memory, read-only."""
        pixels: NDArray[np.uint8] = np.load(self.folder / "images.npy", mmap_mode="r")
        return pixels

    def list_troubles(self, listing: Listing) -> list[str]:
        """Name all that cannot be used, and why."""
        bad = [f"{listing.names[index]}: {why}" for index, why in self.decoded.bad.items()]
        return [*listing.problems, *bad]


def assemble(listing: Listing, stored: StoredImages, skipped: Sequence[str]) -> LabelledImages:
    """Put decoded images in order, and settle what is identical.

    Raises
    ------
    DataError
        If a class has no training image left, or a group straddles given splits.
    """
    good = np.flatnonzero(stored.decoded.is_good)
    order = good[order_canonically(listing.labels[good], stored.decoded.digests[good])]
    labels = listing.labels[order]
    splits = None if listing.splits is None else listing.splits[order]
    groups = None if listing.groups is None else [listing.groups[i] for i in order.tolist()]
    contents = number_contents(stored.decoded.digests[order])
    names = [listing.names[i] for i in order.tolist()]
    duplicates = settle_duplicates(contents, labels, splits, names, listing.class_names)
    places = {
        name: np.flatnonzero(duplicates.is_kept & (np.True_ if splits is None else splits == name))
        for name in SPLIT_NAMES
    }
    if splits is None:
        places |= {"val": places["val"][:0], "test": places["test"][:0]}
    elif groups is not None:
        kept = np.flatnonzero(duplicates.is_kept)
        refuse_straddling(listing.name, [groups[i] for i in kept.tolist()], splits[kept])
    train = places["train"]
    given = tuple(name for name in SPLIT_NAMES if splits is not None and len(places[name]))
    facts = DataFacts(
        format=listing.format,
        num_images=int(duplicates.is_kept.sum()),
        num_skipped=len(skipped),
        skipped=tuple(skipped[:NUM_NAMED]),
        num_duplicates=duplicates.num,
        num_dropped=int((~duplicates.is_kept).sum()),
        num_conflicts=duplicates.num_conflicts,
        conflicts=duplicates.conflicts,
        given_splits=given,
        notes=(*listing.notes, *stored.notes),
    )
    counts = np.bincount(labels[train], minlength=len(listing.class_names))
    if not counts.all():
        empty = [listing.class_names[i] for i in np.flatnonzero(counts == 0)]
        raise DataError(
            f"{listing.name}: there is no usable image to train on of the class "
            f"{list_some(empty, separator=', ')}; add some, or remove the class"
        )
    by_split = {name: labels[places[name]] for name in ("train", *given[1:])}
    warnings = (*_warn(listing, facts), *warn_of_classes(listing.class_names, by_split))
    facts = replace(facts, warnings=warnings)
    pixels = stored.map_pixels()
    taken = [_take(pixels, labels, order, places[name]) for name in SPLIT_NAMES]
    assert taken[0] is not None
    return LabelledImages(
        listing.name,
        taken[0],
        taken[2],
        listing.class_names,
        stored.spec,
        taken[1],
        join_blocks(
            number_contents(stored.decoded.digests[order[train]]),
            None if groups is None else [groups[i] for i in train.tolist()],
        ),
        facts,
    )


def warn_of_classes(
    class_names: Sequence[str], labels: Mapping[str, NDArray[np.int32]]
) -> list[str]:
    """Warn of classes of very unequal size, and of those that a given split has not.

    Parameters
    ----------
    class_names
        Label `i` means ``class_names[i]``.
    labels
        Of ``train``, and of the splits that the data came with.
    """
    warnings = []
    counts = np.bincount(labels["train"], minlength=len(class_names))
    if counts.max() > IMBALANCE * counts.min():
        most, least = int(counts.argmax()), int(counts.argmin())
        warnings.append(
            f"classes are of very unequal size: '{class_names[most]}' has {counts[most]:,} images, "
            f"'{class_names[least]}' {counts[least]:,}; weigh them alike with "
            'class_weight = "balanced"'
        )
    for name, present in labels.items():
        absent = np.setdiff1d(np.arange(len(counts)), present)
        if len(absent):
            missing = [f"'{class_names[i]}'" for i in absent]
            warnings.append(f"the {name} split has no images of {list_some(missing, 5, ', ')}")
    return warnings


def _warn(listing: Listing, facts: DataFacts) -> list[str]:
    """Say what a person should look into, but for classes."""
    warnings = []
    if facts.num_skipped:
        warnings.append(
            f"images or files that cannot be used and were skipped: {facts.num_skipped:,}"
        )
    if facts.num_conflicts:
        warnings.append(
            f"sets of identical images with more than one label: {facts.num_conflicts:,}, as "
            + list_some(facts.conflicts, 3)
        )
    if facts.num_dropped:
        warnings.append(
            "images of train or val that are in a later split too, and were taken out: "
            f"{facts.num_dropped:,}"
        )
    if listing.suspicious:
        warnings.append(f"what was not read: {list_some(listing.suspicious, 3)}")
    return warnings


def _take(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int32],
    order: NDArray[np.intp],
    places: NDArray[np.intp],
) -> Split | None:
    """Make a split of some places of the canonical order, if there are any."""
    if len(places) == 0:
        return None
    rows = order[places]
    return Split(pixels, labels[places], rows.astype(np.int64))


def store_images(
    listing: Listing,
    *,
    color: ColorChoice = "auto",
    size: SizeChoice = "auto",
    resize: Resize = "pad",
    cache_folder: Path | None = None,
    on_progress: OnDecoded | None = None,
) -> StoredImages:
    """Decode the images of a listing into the cache, or find them there.

    Bad images are no error here: `StoredImages.decoded` has them.

    Raises
    ------
    DataError
        If a setting is none, no image at all can be used, or the cache cannot be written.
    """
    if color not in ("auto", "grey", "rgb"):
        raise DataError(name_what_exists("color", color, ("auto", "grey", "rgb")))
    if resize not in get_args(Resize):
        raise DataError(name_what_exists("resize", resize, get_args(Resize)))
    fixed_size = _check_size(size)
    folder = find_cache_folder() / "images" if cache_folder is None else cache_folder
    settings = {"color": color, "size": fixed_size or "auto", "resize": resize}
    entry = folder / _name_entry(listing, settings)
    with _writing_to(folder, listing):
        stored = _read_entry(entry, len(listing))
        if stored is not None:
            return stored
        from filelock import FileLock

        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.with_suffix(".lock")):
            stored = _read_entry(entry, len(listing))
            if stored is not None:
                return stored
            # With the lock held, what another process left behind is nobody's.
            for left in folder.glob(f"{entry.name}*"):
                if left.is_dir():
                    shutil.rmtree(left)
            temporary = folder / f"{entry.name}.{secrets.token_hex(4)}.tmp"
            temporary.mkdir()
            try:
                stored = _decode(listing, color, fixed_size, resize, temporary, on_progress)
                if any(why.startswith(CANNOT_BE_READ) for why in stored.decoded.bad.values()):
                    # Perhaps only the disk's trouble: this time alone.
                    entry = folder / f"{entry.name}.{secrets.token_hex(4)}.once"
                _write_entry(temporary, stored)
                temporary.replace(entry)
                sync_folder(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return replace(stored, folder=entry)


def _decode(
    listing: Listing,
    color: ColorChoice,
    size: tuple[int, int] | None,
    resize: Resize,
    folder: Path,
    on_progress: OnDecoded | None,
) -> StoredImages:
    """Decode all images, in the size and colour that suit them all."""
    path = folder / "images.npy"
    guessed = guess(listing) if size is None or color == "auto" else None
    height, width = size or (guessed[0] if guessed else (8, 8))
    shade: Color = (guessed[1] if guessed else "rgb") if color == "auto" else color
    while True:
        spec = InputSpec(height, width, shade, resize)
        decoded = decode_images(
            listing.images,
            len(listing),
            spec,
            path,
            look_for_color=color == "auto",
            on_progress=on_progress,
        )
        good = decoded.is_good
        if not good.any():
            troubles = StoredImages(folder, spec, decoded, ()).list_troubles(listing)
            raise DataError(
                f"{listing.name}: no image can be used:\n  " + list_some(troubles, separator="\n  ")
            )
        notes = []
        if size is None:
            (height, width), note = choose_size(decoded.heights[good], decoded.widths[good])
            notes.append(note)
        if color == "auto":
            shade = "rgb" if decoded.has_color else "grey"
            why = "images have colour" if decoded.has_color else "no image has colour"
            notes.append(f"color {shade}: {why}")
        if (height, width) != (spec.height, spec.width) or (spec.color, shade) == ("grey", "rgb"):
            continue  # The guess was wrong; now all sizes and colours are known.
        if (spec.color, shade) == ("rgb", "grey"):
            spec = replace(spec, color="grey")
            decoded = replace(decoded, digests=_drop_channels(path))
        return StoredImages(folder, spec, decoded, tuple(notes))


def _drop_channels(path: Path) -> NDArray[np.uint8]:
    """Keep one of three equal channels; give the digests (num, 32) of what is left."""
    pixels = np.load(path, mmap_mode="r").view(np.ndarray)
    shape = (*pixels.shape[:3], 1)
    digests = np.zeros((len(pixels), 32), np.uint8)
    narrow = path.with_name("grey.npy")
    with narrow.open("wb") as file:
        head = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        for index, image in enumerate(pixels):
            content = image[..., 0].tobytes()
            file.write(content)
            digests[index] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        file.flush()
        os.fsync(file.fileno())
    del pixels, image
    narrow.replace(path)
    return digests


def _check_size(size: SizeChoice) -> tuple[int, int] | None:
    if size == "auto":
        return None
    if not isinstance(size, str) and len(size) == 2:
        height, width = size
        if all(type(side) is int and 1 <= side <= MAX_SIDE for side in (height, width)):
            return height, width
    raise DataError(
        f'size = {size!r}; expected "auto", or height and width in pixels, 1 to {MAX_SIDE} each'
    )


def _name_entry(listing: Listing, settings: dict[str, Any]) -> str:
    """Name what decoding depends on: files, settings and code."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(f"{_ENTRY_FORMAT} {listing.format} {len(listing)} {name_decoders()}".encode())
    digest.update(listing.stamp.encode())
    for module in (burnish.image, burnish.data.decode, burnish.data.choice):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:32]


def _write_entry(folder: Path, stored: StoredImages) -> None:
    """Write what is known of the images beside them, and flush it."""
    decoded = stored.decoded
    records = folder / "records.npz"
    np.savez(
        records,
        heights=decoded.heights,
        widths=decoded.widths,
        modes=decoded.modes,
        digests=decoded.digests,
    )
    spec = stored.spec
    about = {
        "format": _ENTRY_FORMAT,
        "input": [spec.height, spec.width, spec.color, spec.resize],
        "notes": stored.notes,
        "has_color": decoded.has_color,
        "bad": {str(index): why for index, why in decoded.bad.items()},
    }
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    for path in (records, folder / "about.json"):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _read_entry(folder: Path, num_images: int) -> StoredImages | None:
    """Read an entry; None where there is none, or it was tampered with."""
    if not folder.is_dir():
        return None
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if about["format"] != _ENTRY_FORMAT:
            return None
        with (folder / "records.npz").open("rb") as file, np.load(file) as records:
            arrays = {name: records[name] for name in records.files}
        decoded = Decoded(
            **arrays,
            bad={int(index): why for index, why in about["bad"].items()},
            has_color=about["has_color"],
        )
        spec = InputSpec(*about["input"])
        stored = StoredImages(folder, spec, decoded, tuple(about["notes"]))
        pixels = stored.map_pixels()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile):
        return None
    if pixels.shape != (num_images, *spec.shape) or len(decoded.digests) != num_images:
        return None
    return stored


@contextmanager
def _writing_to(folder: Path, listing: Listing) -> Iterator[None]:
    """Say what can be done where the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: decoded images of {listing.name} cannot be kept there "
            f"({error.strerror or error}); make room, or set XDG_CACHE_HOME to a folder that can "
            "be written"
        ) from error
