"""Contact sheets: some images of each class side by side, to be looked at."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from burnish.data.cache.entries import StoredImages
from burnish.data.duplicates import order_canonically
from burnish.data.formats.listing import FileImages, Listing
from burnish.errors import BurnishError
from burnish.image import from_array
from burnish.image_files import OUTPUT_MARK, is_within

_SHEET_COLUMNS, _SHEET_ROWS = 8, 8
_TILE, _GAP, _HEAD = 96, 6, 40


def draw_sheets(listing: Listing, stored: StoredImages, out: Path) -> list[Path]:
    """Draw up to 64 images of each class, evenly spaced among all, onto a sheet.

    Raises
    ------
    BurnishError
        If a sheet cannot be written.
    """
    pixels = stored.pixels
    good = np.flatnonzero(stored.decoded.is_good)
    order = good[order_canonically(listing.labels[good], stored.decoded.digests[good])]
    paths = []
    digits = len(str(len(listing.class_names)))
    try:
        _refuse_image_folder(listing, out)
        out.mkdir(parents=True, exist_ok=True)
        (out / OUTPUT_MARK).touch()
        for number, name in enumerate(listing.class_names):
            members = order[listing.labels[order] == number]
            if len(members) == 0:
                continue
            num = min(len(members), _SHEET_COLUMNS * _SHEET_ROWS)
            chosen = members[np.linspace(0, len(members) - 1, num).round().astype(np.intp)]
            plain = re.sub(r"[^\w.-]+", "-", name)[:60].strip(".") or "class"
            path = out / f"{number + 1:0{digits}}-{plain}.png"
            _draw_sheet(f"{name}: {num:,} of {len(members):,}", pixels, chosen).save(path)
            paths.append(path)
    except OSError as error:
        raise BurnishError(
            f"{out}: contact sheets cannot be written ({error.strerror or error}); give another "
            "folder with --out"
        ) from error
    return paths


def _refuse_image_folder(listing: Listing, out: Path) -> None:
    """Refuse a folder that holds images of the data set, which would be mixed with the sheets."""
    if not isinstance(listing.images, FileImages):
        return
    root, folder = os.path.realpath(listing.images.root), os.path.realpath(out)
    for path in listing.images.paths:
        if is_within(os.path.join(root, path), folder):  # noqa: PTH118
            raise BurnishError(
                f"{out}: holds images of the data set ({path}); give contact sheets a folder of "
                "their own with --out"
            )


def _draw_sheet(title: str, pixels: NDArray[np.uint8], chosen: Sequence[int]) -> Image.Image:
    height, width = pixels.shape[1:3]
    # Small images are enlarged by a whole number, so that their pixels can be seen.
    scale = max(1, _TILE // max(height, width)) if max(height, width) <= _TILE else 0
    tile_height, tile_width = height * scale, width * scale
    if not scale:
        shrink = _TILE / max(height, width)
        tile_height, tile_width = round(height * shrink), round(width * shrink)
    tile_height, tile_width = max(1, tile_height), max(1, tile_width)
    columns = min(_SHEET_COLUMNS, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    font = ImageFont.load_default(size=18)
    least = math.ceil(font.getlength(title))
    sheet_width = max(columns * (tile_width + _GAP) - _GAP, least) + 2 * _GAP
    sheet = Image.new("RGB", (sheet_width, rows * (tile_height + _GAP) + _HEAD), "white")
    ImageDraw.Draw(sheet).text((_GAP, _HEAD // 2), title, fill="black", font=font, anchor="lm")
    how = Image.Resampling.NEAREST if scale else Image.Resampling.BILINEAR
    for place, index in enumerate(chosen):
        row, column = divmod(place, columns)
        tile = from_array(np.asarray(pixels[index])).resize((tile_width, tile_height), how)
        corner = (_GAP + column * (tile_width + _GAP), _HEAD + row * (tile_height + _GAP))
        sheet.paste(tile.convert("RGB"), corner)
    return sheet
