"""What every source and every format must do, as checks to call in their own tests.

>>> from burnish.data import SOURCES
>>> raw = check_source(SOURCES.find("digits"), data_dir=None)
>>> len(raw.train)
1797
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from burnish.data import LabelledImages, Source, Split, SplitSizes, prepare
from burnish.data.formats import ArrayImages, Format, Listing, ListingOptions
from burnish.data.formats.listing import SPLIT_NAMES, sort_naturally
from burnish.image import decode


def check_source(source: Source, data_dir: Path | None) -> LabelledImages:
    """Load a source twice and check that it keeps the contract.

    Parameters
    ----------
    source
        Need not be registered.
    data_dir
        Handed to it.

    Returns
    -------
    The first load, for further checks.

    Raises
    ------
    AssertionError
        If it does not; the message says in what.

    """
    raw = source.load(data_dir)
    _require(
        isinstance(raw, LabelledImages),
        f"a source gives LabelledImages; this one gave {type(raw).__name__}",
    )
    _require(
        raw.source == source.name,
        f"the images bear the source's name, {source.name!r}; found {raw.source!r}",
    )
    names = raw.class_names
    _require(
        isinstance(names, tuple) and all(isinstance(name, str) and name for name in names),
        f"class_names is a tuple of names; found {names!r}",
    )
    _require(len(names) >= 2, f"there are at least two classes; found {len(names)}")
    _require(len(set(names)) == len(names), f"class names are unique; found {names!r}")

    again = source.load(data_dir)
    _require(again.class_names == names, "two loads give the same class names")
    _require(
        (raw.test is None) == (again.test is None),
        "two loads agree on whether there is a test split",
    )
    _check_split("train", raw.train, again.train, len(names))
    if raw.test is not None and again.test is not None:
        _check_split("test", raw.test, again.test, len(names))
        _require(
            raw.test.images.shape[1:] == raw.train.images.shape[1:],
            "train and test images have one shape",
        )
    missing = [names[label] for label in set(range(len(names))) - set(raw.train.labels.tolist())]
    _require(not missing, f"every class has training images; none of {missing}")

    sizes = SplitSizes(train=0.5, val=0.25, test=0.25 if raw.test is None else None)
    prepare(raw, sizes, seed=0)
    return raw


def check_format(format: Format, path: Path) -> Listing:
    """List what lies at a path twice and check that the format keeps the contract.

    >>> import tempfile
    >>> from burnish.data.formats import FORMATS
    >>> from burnish.image import from_array
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ("cat", "dog"):
    ...         (Path(root) / name).mkdir()
    ...         image = from_array(np.zeros((8, 8), np.uint8))
    ...         image.save(Path(root) / name / "1.png")
    ...     listing = check_format(FORMATS.find("folder"), Path(root))
    >>> listing.class_names
    ('cat', 'dog')

    Parameters
    ----------
    format
        Need not be registered.
    path
        A small example in this format, all of whose images can be read.

    Returns
    -------
    The first listing, for further checks.

    Raises
    ------
    AssertionError
        If it does not; the message says in what.

    """
    _require(format.detect(path) is True, f"detect knows the example {path.name}")
    other = path.parent / "there-is-no-such.thing"
    _require(format.detect(other) is False, "detect says no of what is something else")
    listing = format.read(path, ListingOptions())
    _require(isinstance(listing, Listing), f"read gives a Listing; found {type(listing).__name__}")
    _require(
        listing.format == format.name, f"the listing says '{format.name}'; found {listing.format!r}"
    )
    names, labels = listing.class_names, listing.labels
    _require(
        names == sort_naturally(set(names)), f"class names are in natural order; found {names}"
    )
    _require(
        labels.dtype == np.int32 and labels.ndim == 1,
        f"labels are int32 (num,); found {labels.dtype} {labels.shape}",
    )
    _require(
        set(labels.tolist()) == set(range(len(names))),
        "every class has an image, and every label a class",
    )
    _require(
        len(set(listing.names)) == len(listing.names) == len(labels),
        "every image has a name of its own",
    )
    if listing.splits is not None:
        _require(
            len(listing.splits) == len(labels) and set(listing.splits.tolist()) <= {*SPLIT_NAMES},
            f"splits are None, or one of {', '.join(SPLIT_NAMES)} for each image",
        )
    _require(listing.groups is None, "there are no groups where none were asked for")

    again = format.read(path, ListingOptions())
    _require(
        again.class_names == names
        and np.array_equal(again.labels, labels)
        and list(again.names) == list(listing.names)
        and again.stamp == listing.stamp,
        "two listings of the same files are equal, with the same stamp",
    )
    packed = pickle.dumps(listing.images)
    copied = listing.images if isinstance(listing.images, ArrayImages) else pickle.loads(packed)
    for index in (*range(len(labels)), 0):
        image, same = listing.images.read(index), copied.read(index)
        if isinstance(image, np.ndarray):
            _require(
                image.dtype == np.uint8 and image.ndim in (2, 3),
                f"arrays are uint8 (height, width) or with channels; found {image.dtype} "
                f"{image.shape}",
            )
        else:
            _require(isinstance(image, bytes), f"images are bytes or arrays; found {type(image)}")
            decode(image)
        _require(
            np.array_equal(image, same),
            "an image is the same when its reader went through a pickle, in any order",
        )
    return listing


def _check_split(name: str, split: Split, again: Split, num_classes: int) -> None:
    _require(isinstance(split, Split), f"{name} is a Split; found {type(split).__name__}")
    images, labels = split.images, split.labels
    _require(
        images.dtype == np.uint8 and images.ndim == 4,
        f"{name} images are uint8 (num, height, width, channels); "
        f"found {images.dtype} {images.shape}",
    )
    _require(
        labels.dtype == np.int32 and labels.shape == (len(images),),
        f"{name} labels are int32 ({len(images)},); found {labels.dtype} {labels.shape}",
    )
    _require(bool(images.flags.c_contiguous), f"{name} images are C-contiguous")
    _require(
        not images.flags.writeable and not labels.flags.writeable, f"{name} arrays are read-only"
    )
    low, high = int(labels.min()), int(labels.max())
    _require(
        low >= 0 and high < num_classes,
        f"{name} labels lie in 0 to {num_classes - 1}; found {low} to {high}",
    )
    _require(
        int(images.max()) > 1,
        f"{name} pixels go from 0 to 255; the largest is {images.max()}. "
        "Were they scaled to 0..1 first?",
    )
    _require(
        np.array_equal(images, again.images) and np.array_equal(labels, again.labels),
        f"two loads give the same {name} images in the same order",
    )


def _require(holds: bool, contract: str) -> None:
    # Not an assert statement: those are gone under python -O.
    if not holds:
        raise AssertionError(contract)
