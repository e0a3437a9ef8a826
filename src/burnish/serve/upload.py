"""The image in a request: out of its body, and within the limits before it is decoded."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from burnish.image_files import name_kind
from burnish.serve.limits import Limits, RefusalError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 16
"""Parts of a form, of which one may be a file."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# Start-of-frame markers; the others from C0 to CF are tables.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # Markers without a length.


@dataclass(frozen=True)
class ImageHead:
    """What an image file says of itself: its format, and its size in pixels."""

    format: Literal["PNG", "JPEG"]
    width: int
    height: int

    @property
    def num_pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


def find_image(body: bytes, content_type: str) -> bytes:
    """Return the image file in a request's body.

    Parameters
    ----------
    body
        The whole body.
    content_type
        The request's ``Content-Type``. ``multipart/form-data`` must hold one file, under
        any name; ``application/json`` an object whose ``image`` is the file in base64, or a
        ``data:`` address of it; with every other type the body is the image itself.

    Raises
    ------
    RefusalError
        400 if there is no image, or a form is malformed or has several files, or JSON has no
        image in base64.
    """
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return _decode_json(body)
    if not content_type.lower().lstrip().startswith("multipart/"):
        if not body:
            raise RefusalError(
                400,
                "the body is empty; send a PNG or JPEG file as the body, in a form, or as base64 "
                "in JSON",
            )
        return body
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise RefusalError(400, "a form must be multipart/form-data and name its boundary")
    files = _FormFiles()
    try:
        parser = MultipartParser(boundary, files.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RefusalError(400, f"the form is malformed: {error}") from error
    if not files.ended:
        raise RefusalError(400, "the form is cut off: its last boundary is missing")
    if len(files.contents) != 1 or not files.contents[0]:
        raise RefusalError(
            400,
            f"the form has {len(files.contents)} files; expected one that is not empty "
            "(curl -F image=@digit.png)",
        )
    return bytes(files.contents[0])


def _decode_json(body: bytes) -> bytes:
    """Return the file that stands in a JSON object, in base64."""
    expected = 'expected {"image": "<the file in base64, or a data: address of it>"}'
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:  # Also of bytes that are not UTF-8.
        raise RefusalError(400, f"the body is no JSON ({str(error)[:60]}); {expected}") from error
    image = asked.get("image") if isinstance(asked, dict) else None
    if not isinstance(image, str):
        raise RefusalError(400, f"the JSON has no text 'image'; {expected}")
    if image[:5].lower() == "data:":
        head, comma, image = image.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise RefusalError(400, f"the data: address is not in base64; {expected}")
    try:
        # Line ends, as some encoders put them in, mean nothing; other strange signs are refused.
        content = base64.b64decode("".join(image.split()), validate=True)
    except ValueError as error:  # Also of signs beyond ASCII.
        raise RefusalError(400, f"'image' is not base64 ({error}); {expected}") from error
    if not content:
        raise RefusalError(400, f"'image' is empty; {expected}")
    return content


class _FormFiles:
    """Collects the files of a form while it is parsed; fields without a filename are skipped."""

    def __init__(self) -> None:
        self.contents: list[bytearray] = []
        self.ended = False
        self._num_parts = 0
        self._in_file = False
        self._field = b""
        self._value = b""
        self._disposition = b""

    def callbacks(self) -> MultipartCallbacks:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_to_field,
            "on_header_value": self._add_to_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._num_parts += 1
        if self._num_parts > MAX_PARTS:
            raise RefusalError(400, f"the form has more than {MAX_PARTS} parts")
        self._disposition = b""

    def _add_to_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._in_file = b"filename" in options
        if self._in_file:
            self.contents.append(bytearray())

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self.contents[-1] += data[start:end]

    def _end(self) -> None:
        self.ended = True


def check_image(content: bytes, limits: Limits) -> ImageHead:
    """Read an image's head, and refuse what the server does not decode.

    Raises
    ------
    RefusalError
        415 if it is neither PNG nor JPEG, 413 if it has too many pixels, 400 if it is
        animated or its head is damaged.
    """
    head = _read_png(content) if content.startswith(_PNG) else None
    head = _read_jpeg(content) if content.startswith(_JPEG) else head
    if head is None:
        kind = name_kind(content[:512])
        seen = f"it is {kind}" if kind else f"it begins with {content[:8].hex(' ')}"
        raise RefusalError(415, f"the image is neither PNG nor JPEG ({seen}); send one of these")
    if head.width == 0 or head.height == 0:
        raise RefusalError(400, f"the image has {head.width}x{head.height} pixels")
    if head.num_pixels > limits.pixels:
        raise RefusalError(
            413,
            f"the image has {head.width}x{head.height} = {head.num_pixels:,} pixels; "
            f"at most {limits.pixels:,} are decoded: scale it down",
        )
    return head


def _read_png(content: bytes) -> ImageHead:
    """The size of a PNG (its first chunk); animation is announced before the pixels."""
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise RefusalError(400, "the image is cut off or damaged: a PNG without its head")
    width, height = struct.unpack(">II", content[16:24])
    at = 33
    while at + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        if kind == b"acTL":
            raise RefusalError(400, "the image is animated; send one frame")
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + length
    return ImageHead("PNG", width, height)


def _read_jpeg(content: bytes) -> ImageHead:
    """The size of a JPEG: the first start-of-frame among its segments."""
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            break
        marker = content[at + 1]
        if marker == 0xFF:  # Filling.
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        if marker in _FRAMES:
            if at + 9 > len(content):
                break
            height, width = struct.unpack(">HH", content[at + 5 : at + 9])
            return ImageHead("JPEG", width, height)
        (length,) = struct.unpack(">H", content[at + 2 : at + 4])
        at += 2 + length
    raise RefusalError(400, "the image is cut off or damaged: a JPEG without its head")
