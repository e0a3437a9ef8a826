"""The user's own images: decoded once, kept in a file that is mapped into memory.

    raw = load_images(Path("photos"), size=(64, 64))
    dataset, test = prepare(raw, None, seed=42)

The way from a path to a data set reads top to bottom here: list, find what was decoded before or
decode in the size and colour that suit (`burnish.data.stored`), put in order and settle what is
identical (`burnish.data.assemble`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, Unpack, get_args

from burnish.data.assemble import assemble
from burnish.data.dataset import LabelledImages
from burnish.data.decoded import OnDecoded
from burnish.data.formats import Listing, read_listing
from burnish.data.formats.options import ListingKeywords
from burnish.data.problems import (
    UnusableError,
)
from burnish.data.ranges import (
    RangeChoice,
)
from burnish.data.stored import ColorChoice, SizeChoice, list_troubles, store_images
from burnish.errors import DataError, name_what_exists
from burnish.image import MAX_PIXELS, Resize

OnBadImage: TypeAlias = Literal["fail", "skip"]


def load_images(
    path: Path,
    *,
    format: str | None = None,
    color: ColorChoice = "auto",
    size: SizeChoice = "auto",
    resize: Resize = "pad",
    range: RangeChoice = "auto",
    max_pixels: int = MAX_PIXELS,
    on_bad_image: OnBadImage = "fail",
    cache_folder: Path | None = None,
    on_progress: OnDecoded | None = None,
    **options: Unpack[ListingKeywords],
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
        Height and width in pixels, or ``auto``: see `burnish.data.autosize.choose_size`.
    resize
        ``pad`` keeps the aspect and fills up with black, ``stretch`` does not.
    range
        Which values of images of more than 8 bits are black and white, or ``auto``: see
        `burnish.data.ranges.choose_range`. Images of 8 bits are as they are.
    max_pixels
        Larger images cannot be used; see `burnish.image.decode`.
    on_bad_image
        ``fail`` names all that cannot be used in one error, ``skip`` goes on without them.
    cache_folder
        Where decoded images are kept; by default ``images`` in the user's cache folder.
    on_progress
        Called with the images decoded so far, and how many there are.
    options
        See `burnish.data.formats.ListingOptions`.

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
        read_listing(path, format, **options),
        color=color,
        size=size,
        resize=resize,
        range=range,
        max_pixels=max_pixels,
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
    range: RangeChoice = "auto",
    max_pixels: int = MAX_PIXELS,
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
        range=range,
        max_pixels=max_pixels,
        cache_folder=cache_folder,
        on_progress=on_progress,
    )
    troubles = list_troubles(listing, stored.decoded)
    if troubles and on_bad_image == "fail":
        raise UnusableError(
            f"{listing.name}: images or files that cannot be used: {len(troubles):,}",
            troubles,
            'Remove or fix them, or set on_bad_image = "skip" (burnish init --on-bad-image skip) '
            "to go on without them.",
        )
    return assemble(listing, stored, troubles)
