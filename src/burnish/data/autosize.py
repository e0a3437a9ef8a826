"""Which size and colour suit a data set, where ``auto`` leaves it to us."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from burnish.data.formats.listing import FileImages, Listing
from burnish.errors import ImageError
from burnish.image import MAX_PIXELS, Color, Header, from_values, peek
from burnish.image.wide import is_grey_mode

MAX_SIZE, MIN_SIZE = 256, 8
"""Longest and shortest side, in pixels, that ``size = "auto"`` chooses."""

_NUM_SAMPLED = 256


def choose_size(
    heights: NDArray[np.int32], widths: NDArray[np.int32]
) -> tuple[tuple[int, int], str]:
    """Choose a size for images of these sizes, and say why.

    The size that all have, or else their median height and width; scaled down, aspect
    kept, where it is over `MAX_SIZE`.

    >>> choose_size(np.array([480, 480, 600], np.int32), np.array([640, 640, 640], np.int32))
    ((192, 256), 'size 192x256: the median, 480x640, scaled to at most 256')
    """
    height, width = round(float(np.median(heights))), round(float(np.median(widths)))
    alike = bool((heights == height).all() and (widths == width).all())
    scale = min(1.0, MAX_SIZE / max(height, width))
    chosen = (max(MIN_SIZE, round(height * scale)), max(MIN_SIZE, round(width * scale)))
    why = "that of all images" if alike else "the median of all images"
    if chosen != (height, width):
        limit = f"at most {MAX_SIZE}" if scale < 1 else f"at least {MIN_SIZE}"
        what = "that of all images" if alike else "the median"
        why = f"{what}, {height}x{width}, scaled to {limit}"
    return chosen, f"size {chosen[0]}x{chosen[1]}: {why}"


def guess(listing: Listing, max_pixels: int = MAX_PIXELS) -> tuple[tuple[int, int], Color] | None:
    """Guess size and colour from the heads of some images; of all, where sizes differ.

    Decoding checks the guess, and is done again where it was wrong; None where no image
    can be read.
    """
    num_images = len(listing)
    step = 1 if listing.images.is_serial else max(1, num_images // _NUM_SAMPLED)
    headers = _peek_some(listing, range(0, num_images, step)[:_NUM_SAMPLED], max_pixels)
    if len({(header.height, header.width) for header in headers}) > 1:
        headers = _peek_some(listing, range(num_images), max_pixels)
    if not headers:
        return None
    heights = np.array([header.height for header in headers], np.int32)
    widths = np.array([header.width for header in headers], np.int32)
    is_grey = all(is_grey_mode(header.mode) for header in headers)
    return choose_size(heights, widths)[0], "grey" if is_grey else "rgb"


def _peek_some(listing: Listing, indices: range, max_pixels: int) -> list[Header]:
    headers = []
    for index in indices:
        try:
            if isinstance(listing.images, FileImages):
                headers.append(peek(listing.images.find(index), max_pixels=max_pixels))
                continue
            read = listing.images.read(index)
            if isinstance(read, bytes):
                headers.append(peek(read, max_pixels=max_pixels))
            else:
                image = from_values(read)
                headers.append(Header(image.height, image.width, image.mode))
        except ImageError:
            continue  # Decoding names it, with all others.
    return headers
