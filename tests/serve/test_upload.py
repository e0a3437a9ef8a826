from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from burnish.serve.limits import Limits, RefusalError
from burnish.serve.upload import check_image, find_image


def write(size: tuple[int, int], format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, "teal").save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (640, 480)])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("PNG", {"dpi": (300, 300)}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xc0" * 5_000, "comment": b"\xff\xc0 comment"}),
        ("JPEG", {"icc_profile": b"p" * 70_000}),
    ],
)
def test_the_head_of_an_image_gives_its_size_without_decoding(
    size: tuple[int, int], format: str, options: dict[str, object]
) -> None:
    head = check_image(write(size, format, **options), Limits())
    assert (head.format, head.width, head.height) == (format, *size)


@given(
    content=st.binary(max_size=300), start=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
)
def test_any_rubbish_is_a_head_or_a_refusal(content: bytes, start: bytes) -> None:
    status = 200
    try:
        head = check_image(start + content, Limits())
    except RefusalError as error:
        status = error.status
    assert status in (400, 413) or 0 < head.num_pixels <= Limits().pixels


@given(body=st.binary(max_size=300), kind=st.text(st.characters(codec="latin-1"), max_size=40))
def test_any_form_is_a_file_or_a_refusal(body: bytes, kind: str) -> None:
    for content_type in (f"multipart/form-data; {kind}", "multipart/form-data; boundary=x"):
        status = 200
        try:
            found = find_image(b"--x\r\n" + body, content_type)
        except RefusalError as error:
            status = error.status
        assert status == 400 or found in body


def test_a_file_is_found_byte_for_byte_in_a_form() -> None:
    content = np.random.default_rng(0).integers(0, 256, 100_000, np.uint8).tobytes() + b"\r\n--c"
    body = (
        b'preamble\r\n--b\r\ncontent-disposition: form-data; name="a"; filename="b.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + content + b"\r\n--b--\r\n"
    )
    body = body.removeprefix(b"preamble\r\n")
    assert find_image(body, 'multipart/form-data; boundary="b"') == content
