"""TIFF files of every kind of samples, and what is refused."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from burnish.errors import ImageError
from burnish.image import Header, InputSpec, convert, decode, decode_with_header, peek, tiff
from burnish.image.wide import WideImage

from ..files import write_tiff

ORDERS: tuple[Literal["<"], Literal[">"]] = ("<", ">")
WAYS: list[dict[str, Any]] = [
    {},
    {"rows": 8},
    {"deflated": True, "rows": 8},
    {"deflated": True, "rows": 8, "predictor": 2},
    {"deflated": True, "tile": (16, 32), "predictor": 2},
    {"tile": (16, 32)},
    {"planar": True, "rows": 8},
    {"planar": True, "tile": (16, 16), "deflated": True},
]


def draw(dtype: str, channels: int) -> NDArray[Any]:
    random = np.random.default_rng(0)
    shape = (37, 45, channels)
    if dtype.startswith("f"):
        return random.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def read(content: bytes) -> WideImage:
    image, header = decode_with_header(content)
    assert isinstance(image, WideImage)
    assert header == peek(content) == Header(image.height, image.width, image.mode)
    return image


@pytest.mark.parametrize("dtype", ["u2", "i2", "u4", "i4", "i1", "f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_samples_comes_as_it_was(dtype: str, channels: int) -> None:
    values = draw(dtype, channels)
    ways = [*WAYS, {"deflated": True, "predictor": 3}] if dtype.startswith("f") else WAYS
    for way in ways:
        for order in ORDERS:
            image = read(write_tiff(values, order=order, **way))
            assert image.values.dtype == values.dtype
            np.testing.assert_array_equal(image.values, values)
    image = read(write_tiff(values, big=True))
    np.testing.assert_array_equal(image.values, values)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 24])
def test_packed_bits_are_unpacked_and_declared(bits: int) -> None:
    values = draw("u4", 1) >> np.uint32(32 - bits)
    for way in WAYS[:3]:
        image = read(write_tiff(values, bits=bits, **way))
        np.testing.assert_array_equal(image.values, values)
        assert image.bits == bits
    inverted = read(write_tiff(values, bits=bits, photometric=0))
    np.testing.assert_array_equal(inverted.values, 2**bits - 1 - values)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_files_that_pillow_writes_are_read_as_pillow_reads_them(compression: str) -> None:
    for dtype in ("u2", "i4", "f4"):
        values = draw(dtype, 1)[..., 0]
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "TIFF", compression=compression)
        np.testing.assert_array_equal(read(buffer.getvalue()).values[..., 0], values)


def test_white_is_zero_is_inverted_as_in_files_of_8_bits() -> None:
    eight = draw("u2", 1) >> np.uint16(8)
    spec = InputSpec(37, 45, "grey")
    plain = convert(decode(write_tiff(eight.astype(np.uint8), photometric=0)), spec)
    np.testing.assert_array_equal(plain, 255 - eight)
    wide = convert(decode(write_tiff(eight * np.uint16(257), photometric=0)), spec)
    np.testing.assert_array_equal(wide, plain)
    for dtype, inverted in (("i2", lambda v: ~v), ("f4", np.negative)):
        values = draw(dtype, 1)
        found = read(write_tiff(values, photometric=0)).values
        np.testing.assert_array_equal(found, inverted(values))


def test_alpha_is_the_last_channel_and_not_premultiplied() -> None:
    values = draw("u2", 4)
    alone = read(write_tiff(values, tags={338: 2}))
    np.testing.assert_array_equal(alone.values, values)
    unknown = read(write_tiff(values, tags={338: 0}))
    assert unknown.mode == "RGB;16"
    np.testing.assert_array_equal(unknown.values, values[..., :3])
    half = np.full((4, 4, 2), 30000, np.uint16)
    half[..., 0] = 15000
    found = read(write_tiff(half, tags={338: 1}))
    assert found.mode == "LA;16"
    np.testing.assert_allclose(found.values[0, 0], [15000 / 30000 * 65535, 30000], atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_in_files_of_8_bits(orientation: int) -> None:
    values = draw("u2", 1) >> np.uint16(8)
    tags = {274: orientation}
    plain = decode(write_tiff(values.astype(np.uint8), tags=tags))
    wide = read(write_tiff(values, tags=tags))
    np.testing.assert_array_equal(wide.values[..., 0], np.asarray(plain))


def test_the_largest_value_that_is_declared_says_the_bits() -> None:
    values = draw("u2", 1) >> np.uint16(4)
    assert read(write_tiff(values, tags={281: 4095})).bits == 12
    assert read(write_tiff(values, tags={281: 65535})).bits is None
    assert read(write_tiff(values)).bits is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (write_tiff(np.ones((4, 4, 1), "c8")), "a TIFF of complex numbers, or of samples of diff"),
        (write_tiff(draw("u2", 7)), "a TIFF of 7 channels, more than grey or colour, and alpha"),
        (write_tiff(draw("u2", 1), photometric=3), "a TIFF of 16 bits with a palette"),
        (write_tiff(draw("u2", 3), photometric=8), "a TIFF of 16 bits in Lab"),
        (write_tiff(draw("u2", 1), tags={259: 7}), "of 16 bits that is compressed by jpeg"),
        (write_tiff(draw("u2", 3), tags={258: [16, 12, 16]}), "different numbers of bits"),
        (write_tiff(draw("i2", 1), tags={258: 12}), "signed integers of 12 bits"),
    ],
)
def test_kinds_that_are_not_read_are_named_with_the_remedy(content: bytes, told: str) -> None:
    for look in (decode, peek):
        with pytest.raises(ImageError) as caught:
            look(content)
        assert told in str(caught.value)
        assert "which is not read; save it with 16 or 32 bits a channel" in str(caught.value)


def test_a_file_that_is_cut_off_or_announces_too_much_is_refused() -> None:
    values = draw("u2", 1)
    for way in WAYS:
        content = write_tiff(values, **way)
        place = content.index(b"II*\0") + 8
        broken = content[:place] + content[place + 40 :]  # Strips move, and the last is short.
        with pytest.raises(ImageError):
            decode(broken)
    with pytest.raises(ImageError, match=r"strips or tiles are missing"):
        decode(write_tiff(values, tags={257: 60}))
    bomb = write_tiff(values, deflated=True, tags={256: 8000, 257: 8000, 258: 64, 339: 3, 277: 3})
    with pytest.raises(ImageError):
        decode(bomb)
    with pytest.raises(ImageError, match="has 9000x9000 = 81,000,000 pixels; at most 64,000,000"):
        decode(write_tiff(values, tags={256: 9000, 257: 9000}))


def test_further_pages_are_noticed() -> None:
    pages = [Image.fromarray(draw("u2", 1)[..., 0] // step) for step in (1, 2)]
    for modes in (pages, [page.convert("L") for page in pages]):
        buffer = io.BytesIO()
        modes[0].save(buffer, "TIFF", save_all=True, append_images=modes[1:])
        image, header = decode_with_header(buffer.getvalue())
        assert header.has_more_pages
        assert peek(buffer.getvalue()).has_more_pages
        assert image.size == (45, 37)


DAMAGED = [write_tiff(draw("u2", 1)[:12, :10], **way) for way in WAYS]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    which=st.integers(0, len(DAMAGED) - 1),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 6), st.binary(max_size=6)),
        min_size=1,
        max_size=5,
    ),
)
def test_a_damaged_file_gives_an_image_or_an_error_of_our_own(
    which: int, changes: list[tuple[float, int, bytes]]
) -> None:
    content = bytearray(DAMAGED[which])
    for place, num_replaced, new in changes:
        start = int(place * len(content))
        content[start : start + num_replaced] = new
    for look in (peek, decode):
        try:
            look(bytes(content), max_pixels=10**6)
        except ImageError:
            continue


def test_bands_of_8_bits_are_the_image_that_pillow_reads() -> None:
    random = np.random.default_rng(0)
    smooth = np.asarray(
        Image.fromarray(random.integers(0, 256, (9, 7, 3), np.uint8)).resize((200, 300))
    )
    for way in (*WAYS[:6], {"rows": 50}):
        content = write_tiff(smooth, **way)
        layout = tiff.read_layout(io.BytesIO(content))
        assert layout is not None
        bands = list(tiff.read_bands(content, layout, 4))
        whole = np.concatenate([np.asarray(band) for band in bands])
        np.testing.assert_array_equal(whole, np.asarray(decode(content)))
    for mode, options in (("RGB", {"compression": "jpeg"}), ("P", {}), ("1", {}), ("CMYK", {})):
        image = Image.fromarray(smooth).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, "TIFF", **options)
        layout = tiff.read_layout(io.BytesIO(buffer.getvalue()))
        assert layout is not None
        assert tiff.can_be_cut(layout)
        joined = [
            np.asarray(b.convert("RGB")) for b in tiff.read_bands(buffer.getvalue(), layout, 2)
        ]
        expected = Image.open(buffer).convert("RGB")
        np.testing.assert_array_equal(np.concatenate(joined), np.asarray(expected))
