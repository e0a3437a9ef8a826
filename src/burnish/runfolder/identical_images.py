"""Identical images of a run's data, kept for the report: the run's folder ``data``.

duplicates.csv    every image whose pixels another image has too: its set, file, label
duplicates.json   the first sets, those with more than one label first
duplicates.npz    the picture of each of these sets (``images``)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.data.dataset import IdenticalImages
from burnish.files import read_json, write_json, write_whole
from burnish.runfolder.manifest import write_manifest
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import read_arrays, write_arrays
from burnish.spreadsheet import write_table

TABLE, RECORD, PICTURES = "duplicates.csv", "duplicates.json", "duplicates.npz"

MOST_SETS = 24
"""Sets that are kept with their picture."""

MOST_IMAGES = 12
"""Images of a set that are named there; the table has them all."""

HEADING = ("set", "file", "label", "split", "used", "labels_differ")
"""Columns of the table; ``split`` is the one that the data came with, empty where they cut."""


@dataclass(frozen=True)
class IdenticalSet:
    """Images with the same pixels.

    Attributes
    ----------
    picture
        What they look like: uint8 (height, width, channels).
    num_images
        How many there are.
    images
        The first of them, each with ``file``, ``label``, ``split`` and ``used``.
    labels_differ
        Whether they have more than one label.
    """

    picture: NDArray[np.uint8]
    num_images: int
    images: tuple[dict[str, Any], ...]
    labels_differ: bool


@dataclass(frozen=True)
class IdenticalSets:
    """How many sets of identical images there are, in how many images, and the first sets."""

    num_sets: int
    num_images: int
    num_differing: int
    sets: tuple[IdenticalSet, ...]


def write_identical_images(
    run: RunFolder, identical: IdenticalImages | None, class_names: tuple[str, ...]
) -> None:
    """Write what is known of identical images into a run folder, or remove it if there are none."""
    if identical is None:
        shutil.rmtree(run.data, ignore_errors=True)
        return
    sizes = np.bincount(identical.sets)
    starts = np.cumsum(sizes) - sizes
    labels = identical.images.labels
    # Images stand set after set.
    differ = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
    chosen = np.argsort(~differ, kind="stable")[:MOST_SETS]
    sets = [
        {
            "num_images": int(sizes[number]),
            "labels_differ": bool(differ[number]),
            "images": [
                _describe(identical, int(starts[number]) + place, class_names)
                for place in range(min(int(sizes[number]), MOST_IMAGES))
            ],
        }
        for number in chosen.tolist()
    ]
    record = {
        "num_sets": len(sizes),
        "num_images": len(identical.sets),
        "num_differing": int(differ.sum()),
        "sets": sets,
    }
    table = write_table(HEADING, _list_rows(identical, differ, class_names))
    write_whole(run.data / TABLE, table.encode())
    write_arrays(run.data / PICTURES, images=identical.images.read(starts[chosen]))
    write_json(run.data / RECORD, record)
    write_manifest(run.data)


def read_identical_images(run: RunFolder) -> IdenticalSets | None:
    """Read what is known of identical images; ``None`` where there are none, or of an older run.

    Raises
    ------
    RunFolderError
        If a file is damaged.
    """
    if not (run.data / RECORD).exists():
        return None
    record = read_json(run.data / RECORD)
    pictures = read_arrays(run.data / PICTURES)["images"]
    return IdenticalSets(
        num_sets=record["num_sets"],
        num_images=record["num_images"],
        num_differing=record["num_differing"],
        sets=tuple(
            IdenticalSet(picture, one["num_images"], tuple(one["images"]), one["labels_differ"])
            for picture, one in zip(pictures, record["sets"], strict=True)
        ),
    )


def _describe(
    identical: IdenticalImages, place: int, class_names: tuple[str, ...]
) -> dict[str, Any]:
    names, splits = identical.images.names, identical.splits
    name = "" if names is None else names[place]
    return {
        # A name on disk that is no UTF-8 is written as what can be read of it.
        "file": name.encode("utf-8", "backslashreplace").decode(),
        "label": class_names[identical.images.labels[place]],
        "split": "" if splits is None else str(splits[place]),
        "used": bool(identical.is_kept[place]),
    }


def _list_rows(
    identical: IdenticalImages, differ: NDArray[np.bool_], class_names: tuple[str, ...]
) -> Iterator[list[str | float]]:
    for place, number in enumerate(identical.sets.tolist()):
        image = _describe(identical, place, class_names)
        used, differs = ("yes" if said else "no" for said in (image["used"], differ[number]))
        yield [number + 1, image["file"], image["label"], image["split"], used, differs]
