"""Digits on paper: the paper ruled, framed, and lying on a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from .polylines import FORMS, draw_digit

PAPER, INK, TABLE, LINE = 245, 40, 70, 150
"""Grey levels."""


def write_on_paper(digit: int, side: int = 280, pen: int = 10) -> Image.Image:
    """A digit on a sheet, dark on light."""
    form = next(name for name in FORMS if name.startswith(str(digit)))
    drawn = draw_digit(form, canvas=side, pen=pen, random=np.random.default_rng(digit))
    dark = drawn if drawn[0, 0] > 127 else 255 - drawn
    return Image.fromarray((INK + dark / 255 * (PAPER - INK)).astype(np.uint8))


def lay_on_table(
    sheet: Image.Image,
    margins: tuple[int, int, int, int],
    *,
    table: int = TABLE,
    turned: float = 0.0,
    shadow: bool = False,
) -> NDArray[np.uint8]:
    """A sheet with table around it: margins left, top, right and bottom, in pixels.

    It is turned by degrees; the shadow falls to the right and down.
    """
    left, top, right, bottom = margins
    spare = 100  # Of a turned sheet, what is beyond an image's border comes in.
    size = sheet.width + left + right + 2 * spare, sheet.height + top + bottom + 2 * spare
    corner = left + spare, top + spare
    mask, paper = Image.new("L", size), Image.new("L", size, table)
    mask.paste(255, (*corner, corner[0] + sheet.width, corner[1] + sheet.height))
    paper.paste(sheet, corner)
    if turned:
        mask = mask.rotate(turned, Image.Resampling.BILINEAR)
        paper = paper.rotate(turned, Image.Resampling.BICUBIC, fillcolor=table)
    page = Image.new("L", size, table)
    if shadow:
        fallen = Image.fromarray(np.roll(np.asarray(mask), (8, 10), (0, 1)))
        page.paste(table // 2, (0, 0), fallen.filter(ImageFilter.GaussianBlur(5)))
    page.paste(paper, (0, 0), mask)
    return np.asarray(page.crop((spare, spare, size[0] - spare, size[1] - spare)))


def rule(
    sheet: Image.Image, *, squared: bool = False, level: int = LINE, turned: float = 0.0
) -> None:
    """Draw lines across, on and off the digit; with ``squared`` down too."""
    draw, (width, height) = ImageDraw.Draw(sheet), sheet.size
    drop = int(width * np.tan(np.radians(turned)))
    gap = 20 if squared else 32
    for place in range(gap // 2, height, gap):
        draw.line([(0, place), (width, place + drop)], fill=level)
    for place in range(gap // 2, width, gap) if squared else ():
        draw.line([(place, 0), (place, height)], fill=level)


def frame(sheet: Image.Image, *, line: int = 3, radius: int = 0) -> None:
    """Draw a rectangle around the digit."""
    box = [8, 8, sheet.width - 9, sheet.height - 9]
    ImageDraw.Draw(sheet).rounded_rectangle(box, radius, outline=INK, width=line)
