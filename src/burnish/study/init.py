"""A study file for somebody's images, to begin with: what `burnish init` writes.

Of photographs, and of few images, it starts from a network that was trained on ImageNet: a head on
frozen features, then the last blocks. Of others it starts where the MNIST study ended: a
convolutional network with batch normalisation and dropout, tuned by TPE and successive halving with
one-cycle learning rates, then its augmentation, then the learning rate by cross-validation.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import jinja2
import numpy as np

from burnish.data import Dataset, prepare
from burnish.data.folds import allows_folds
from burnish.data.formats import ListingOptions
from burnish.data.formats.options import ListingKeywords
from burnish.data.load import OnBadImage, load_images
from burnish.data.progress import show_decoding
from burnish.data.ranges import RangeChoice
from burnish.data.splitting import default_sizes
from burnish.errors import StudyError
from burnish.files import write_whole
from burnish.image import MAX_PIXELS
from burnish.study.data_paths import refuse_unwritable_path, write_path

SMALLEST_MAP = 4
"""Side of the feature maps that the convolutions end with: one block per halving down to it."""

IMAGES_PER_FIT = 400_000
"""Images that a final fit sees: ten epochs of MNIST, more epochs of less data."""

SEVERE_IMBALANCE = 10
"""Times that the largest class is larger than the smallest, from which weights are advised."""


FEW_IMAGES = 5000
"""From so few training images a network from scratch learns less than one that was trained on
ImageNet knows already, of grey ones too (docs/log.md)."""

PHOTOGRAPH_SIDE = 256
"""Side that photographs are brought to, at most: a third more images a second at 224, and a point
less of accuracy (docs/log.md)."""

IMAGES_PER_HEAD, IMAGES_PER_BLOCKS = 200_000, 60_000
"""Images that a fit of a head sees, and one of the last blocks, which takes far longer."""

ENOUGH_FOR_BLOCKS = 500
"""From so many training images on, the network's last blocks are trained, too. With fewer that
gained nothing and took longest (docs/log.md)."""

VIEWS_IN_ALL = 50_000
"""Views of images that are computed for the last blocks, at most: some minutes."""


@dataclass(frozen=True)
class Advice:
    """What suits a data set.

    Attributes
    ----------
    depth
        Blocks of convolution and subsampling.
    batch_size
        Images per step: at least thirty steps an epoch, and no more than memory bears.
    epochs
        Of a final fit.
    balanced
        Whether classes should be weighted.
    folds
        For the learning rate; ``None`` where a class is too small for them.
    """

    depth: int
    batch_size: int
    epochs: int
    balanced: bool
    folds: int | None


def advise(data: Dataset) -> Advice:
    """Choose what suits a data set, from its size, its images and its classes."""
    height, width, _ = data.image_shape
    side, num_images = min(height, width), len(data.train)
    depth = min(6, max(1, round(math.log2(side / SMALLEST_MAP))))
    # A batch of large images does not fit into the processor's cache.
    largest = 32 if side >= 128 else 64 if side >= 64 else 128
    fitting = 2 ** math.floor(math.log2(max(1, num_images / 30)))
    counts = np.sort(np.bincount(data.train.labels, minlength=data.num_classes))
    return Advice(
        depth=depth,
        batch_size=max(8, min(largest, fitting)),
        epochs=min(60, max(8, round(IMAGES_PER_FIT / num_images))),
        balanced=bool(counts[-1] > SEVERE_IMBALANCE * counts[0]),
        folds=3 if counts[0] >= 6 and allows_folds(data, 3) else None,
    )


def are_photographs(data: Dataset) -> bool:
    """Whether a network that was trained on photographs is the better start."""
    return data.image_shape[2] == 3 or len(data.train) <= FEW_IMAGES


def choose_input_size(data: Dataset) -> int:
    """Choose the side that images have for the pretrained network; 0 for their own.

    That network halves an image five times. Of small images it sees more when they are larger.
    """
    side = max(data.image_shape[:2])
    return next((size for most, size in ((40, 96), (72, 128), (128, 160)) if side <= most), 0)


def name_study(path: Path) -> str:
    """Make a study's name of the path of its file, or of the images where that is to be named.

    >>> name_study(Path("My Photos (2).zip"))
    'my-photos-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40] or "images"


def write_study(
    name: str,
    file_name: str,
    data_path: str,
    data: Dataset,
    reading: Mapping[str, Any],
    split: str,
    on_bad_image: OnBadImage = "fail",
) -> str:
    """Write the text of a study.

    Parameters
    ----------
    name
        Of the study.
    file_name
        How the file will be called, for its head.
    data_path
        Value of ``path``, as the file is to have it.
    data
        What is there, cut as ``split`` says.
    reading
        Further keys of the table ``[data]``.
    split
        What stands between the braces of ``split``; empty where the data brings its own.
    on_bad_image
        Whether images that cannot be used end the study, or are skipped.

    Returns
    -------
    TOML with comments.
    """
    advice = advise(data)
    height, width, channels = data.image_shape
    search = max(1.0, advice.epochs / 3)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("burnish.study"),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    # A JSON string is a TOML string.
    environment.filters["toml"] = lambda value: json.dumps(value, ensure_ascii=False)
    photographs = are_photographs(data)
    if photographs and max(height, width) > PHOTOGRAPH_SIDE // 2:
        height = width = min(PHOTOGRAPH_SIDE, max(height, width))
    template = "photographs.toml" if photographs else "own-images.toml"
    num_images = len(data.train)
    return environment.get_template(template).render(
        **asdict(advice),
        input_size=choose_input_size(data),
        head_epochs=min(40, max(5, round(IMAGES_PER_HEAD / num_images))),
        block_epochs=min(20, max(2, round(IMAGES_PER_BLOCKS / num_images))),
        trains_blocks=num_images >= ENOUGH_FOR_BLOCKS,
        views=min(4, max(1, VIEWS_IN_ALL // num_images)),
        name=name,
        file_name=file_name,
        data_path=data_path,
        reading=reading,
        on_bad_image=on_bad_image,
        split=split,
        num_train=f"{len(data.train):,}",
        num_val=f"{len(data.val):,}",
        num_classes=data.num_classes,
        height=height,
        width=width,
        color="grey" if channels == 1 else "rgb",
        range=None if data.input.range is None else [_simplify(v) for v in data.input.range],
        flips=channels == 3,
        search=f"{search:.3g}",
        long_epochs=round(1.5 * advice.epochs),
    )


def _simplify(value: float) -> float:
    return int(value) if value.is_integer() else value


def init_study(
    path: Path,
    out: Path | None = None,
    format: str | None = None,
    range: RangeChoice = "auto",
    max_pixels: int | None = None,
    on_bad_image: OnBadImage = "fail",
    **options: Unpack[ListingKeywords],
) -> Path:
    """Read a data set, and write a study file that suits it.

    Parameters
    ----------
    path
        Folder or file of labelled images.
    out
        Where to write; by default the data's name with ``.toml``, in the present folder.
    format, range, max_pixels, on_bad_image, options
        See :func:`burnish.data.load.load_images`.

    Returns
    -------
    The file written.

    Raises
    ------
    DataError
        If the data cannot be used.
    StudyError
        If the file exists already, or the path of the data is not text in UTF-8.
    """
    out = out or Path(f"{name_study(path.absolute())}.toml")
    if out.exists():
        raise StudyError(f"{out} exists already: give another name with --out, or move it away")
    text = compose_study(path, out, format, range, max_pixels, on_bad_image, False, **options)
    write_whole(out, text.encode())
    return out


def compose_study(
    path: Path,
    out: Path,
    format: str | None = None,
    range: RangeChoice = "auto",
    max_pixels: int | None = None,
    on_bad_image: OnBadImage = "fail",
    quiet: bool = False,
    **options: Unpack[ListingKeywords],
) -> str:
    """Read a data set, and return the text of a study file that suits it.

    Parameters
    ----------
    path, format, range, max_pixels, on_bad_image, options
        As for :func:`init_study`.
    out
        Where the text will stand: paths in it count from there, and the study is named after it.
    quiet
        Do not show how far decoding is.

    Raises
    ------
    DataError
        If the data cannot be used.
    StudyError
        If the path of the data is not text in UTF-8.
    """
    refuse_unwritable_path(path.absolute())
    with show_decoding(quiet=quiet) as on_progress:
        raw = load_images(
            path,
            format=format,
            range=range,
            max_pixels=max_pixels or MAX_PIXELS,
            on_bad_image=on_bad_image,
            on_progress=on_progress,
            **options,
        )
    sizes = default_sizes(raw)
    data, _ = prepare(raw, sizes, seed=42)
    given = {"val": sizes.val, "test": sizes.test}
    split = ", ".join(f"{name} = {size}" for name, size in given.items() if size is not None)
    # What was found out alone is written too, so that it stays so.
    keys = {"format": format, **raw.facts.chosen, **ListingOptions(**options).given()}
    reading: dict[str, Any] = {k: str(value) for k, value in keys.items() if value is not None}
    if max_pixels is not None:
        reading["max_pixels"] = max_pixels
    if "image_root" in reading:
        reading["image_root"] = write_path(Path(reading["image_root"]), out)
    written = write_path(path, out)
    shown = str(out).encode(errors="backslashreplace").decode()
    # After the file: two folders may have one name, and runs of one name take each other's place.
    name = name_study(out.absolute())
    return write_study(name, shown, written, data, reading, split, on_bad_image)
