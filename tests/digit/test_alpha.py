from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from burnish.digit import centre_digit, flatten_drawing

from .papers import write_on_paper
from .test_recipe import distance


def draw_zero(mode: str, ground: object, ink: object) -> Image.Image:
    image = Image.new(mode, (280, 280), ground)  # type: ignore[arg-type]
    ImageDraw.Draw(image).ellipse([80, 50, 200, 230], outline=ink, width=20)  # type: ignore[arg-type]
    return image


BLACK_ON_WHITE = centre_digit(np.asarray(draw_zero("L", 255, 0)), 28, 28)


@pytest.mark.parametrize(
    "image",
    [
        draw_zero("RGBA", (0, 0, 0, 0), (255, 255, 255, 255)),
        draw_zero("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)),
        draw_zero("RGBA", (255, 255, 255, 0), (255, 255, 255, 255)),
        draw_zero("RGBA", (0, 0, 0, 0), (255, 255, 0, 200)),
        draw_zero("RGBA", (255, 255, 255, 255), (0, 0, 0, 255)),
        draw_zero("LA", (0, 0), (255, 255)),
        draw_zero("LA", (255, 255), (0, 255)),
    ],
    ids=[
        *("white", "black", "white on transparent white", "yellow, half transparent", "opaque"),
        *("grey, white", "grey, opaque"),
    ],
)
def test_strokes_on_alpha_are_ink_whatever_their_colour(image: Image.Image) -> None:
    assert distance(centre_digit(flatten_drawing(image), 28, 28), BLACK_ON_WHITE) < 1


def test_strokes_of_two_colours_are_both_seen() -> None:
    image = draw_zero("RGBA", (0, 0, 0, 0), (255, 60, 60, 255))
    ImageDraw.Draw(image).arc([80, 50, 200, 230], 90, 270, fill=(255, 255, 120, 255), width=20)
    assert distance(centre_digit(flatten_drawing(image), 28, 28), BLACK_ON_WHITE) < 12


def test_a_sheet_on_transparent_ground_is_a_sheet() -> None:
    sheet = write_on_paper(2)
    page = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    page.paste(sheet.convert("RGBA"), (60, 60))
    alone = centre_digit(np.asarray(sheet), 28, 28)
    assert distance(centre_digit(flatten_drawing(page), 28, 28), alone) < 3


def test_where_nothing_is_visible_there_is_no_ink() -> None:
    for color in ((0, 0, 0, 0), (255, 255, 255, 0), (9, 99, 200, 10)):
        flat = flatten_drawing(Image.new("RGBA", (90, 70), color))
        assert flat.shape == (70, 90)
        assert not centre_digit(flat, 28, 28).any()
