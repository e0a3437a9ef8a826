"""Images: from a file to the array that a model takes, one way, for training and for use.

    image = decode(Path("cat.jpg"))
    array = convert(image, InputSpec(32, 32, "rgb"))     # uint8 (32, 32, 3)

Reading a data set, `burnish predict`, `burnish serve` and the tests all come here, so that a
model sees in use what it saw in training.
"""

from burnish.image.color import Picture, is_grey, to_color
from burnish.image.conversion import NO_INK, convert, find_blank, fit_size
from burnish.image.decoding import Header, decode, decode_with_header, name_decoders, peek
from burnish.image.given import from_array, from_values, simplify
from burnish.image.opening import CANNOT_BE_READ, FORMATS, MAX_BYTES, MAX_PIXELS, read_file
from burnish.image.spec import Color, InputSpec, Recipe, Resize

__all__ = [
    "CANNOT_BE_READ",
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "NO_INK",
    "Color",
    "Header",
    "InputSpec",
    "Picture",
    "Recipe",
    "Resize",
    "convert",
    "decode",
    "decode_with_header",
    "find_blank",
    "fit_size",
    "from_array",
    "from_values",
    "is_grey",
    "name_decoders",
    "peek",
    "read_file",
    "simplify",
    "to_color",
]
