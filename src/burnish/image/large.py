"""Very large images, scaled down by a power of two as they are decoded, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from burnish.image import tiff
from burnish.image.color import simplify_mode
from burnish.image.orientation import UPRIGHT

# Factors by which a JPEG decoder scales down.
_DRAFTS = (8, 4, 2)
# Pixels that are brought to colour at once.
_BAND = 2**24
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def find_factor(width: int, height: int, most: int) -> int:
    """Return the power of two by which an image is scaled down to have ``most`` pixels.

    >>> find_factor(16_000, 12_500, 64_000_000)
    2
    """
    factor = 1
    while -(-width // factor) * -(-height // factor) > most:
        factor *= 2
    return factor


def decode_large(
    content: bytes,
    image: Image.Image,
    layout: tiff.Layout | None,
    factor: int,
    orientation: int,
) -> Image.Image:
    """Decode an image of 8 bits, scaled down and turned upright.

    Parameters
    ----------
    content
        Of the file.
    image
        The same as Pillow has opened it, not loaded yet.
    layout
        Of a TIFF file.
    factor
        A power of two, more than 1.
    orientation
        As the file's EXIF data say.
    """
    if image.format in ("JPEG", "MPO"):
        draft = next(draft for draft in _DRAFTS if factor % draft == 0)
        image.draft(None, (image.width // draft, image.height // draft))
        image.load()
        reduced = simplify_mode(image).reduce(factor // draft)
    elif layout is not None and tiff.can_be_cut(layout):
        orientation = layout.orientation
        size = -(-layout.width // factor), -(-layout.height // factor)
        bands = tiff.read_bands(content, layout, factor)
        reduced = _join(size, (simplify_mode(band).reduce(factor) for band in bands))
    else:
        image.load()
        if image.format == "TIFF":
            orientation = UPRIGHT  # Pillow has turned it already.
        size = -(-image.width // factor), -(-image.height // factor)
        reduced = _join(size, (simplify_mode(band).reduce(factor) for band in _cut(image, factor)))
    return reduced.transpose(_TURNS[orientation]) if orientation in _TURNS else reduced


def _cut(image: Image.Image, factor: int) -> Iterator[Image.Image]:
    rows = max(1, _BAND // image.width // factor) * factor
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _join(size: tuple[int, int], bands: Iterator[Image.Image]) -> Image.Image:
    """Put bands above each other."""
    whole: Image.Image | None = None
    top = 0
    for band in bands:
        if whole is None:
            whole = Image.new(band.mode, size)
        whole.paste(band, (0, top))
        top += band.height
    assert whole is not None
    return whole
