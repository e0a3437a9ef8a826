from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image, features

import burnish.image
from burnish.data.cache import contents
from burnish.errors import ImageError
from burnish.image import (
    Header,
    InputSpec,
    convert,
    decode,
    decode_with_header,
    from_array,
    is_grey,
    name_decoders,
    peek,
)

GREY = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10) * 2
COLOR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
GREY_SPEC, COLOR_SPEC = InputSpec(12, 10, "grey"), InputSpec(12, 10, "rgb")


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels_of(content: bytes, spec: InputSpec) -> NDArray[np.uint8]:
    return convert(decode(content), spec)


@pytest.mark.parametrize("format", ["PNG", "BMP", "GIF", "WEBP", "TIFF", "JPEG"])
def test_every_format_gives_its_pixels(format: str, tmp_path: Path) -> None:
    all_options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}
    options = all_options.get(format, {})
    content = encode(from_array(GREY), format, **options)
    found = pixels_of(content, GREY_SPEC)
    assert found.shape == (12, 10, 1)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found[..., 0], GREY, atol=3 if format == "JPEG" else 0)
    path = tmp_path / "named.dat"
    path.write_bytes(content)
    np.testing.assert_array_equal(convert(decode(path), GREY_SPEC), found)


@pytest.mark.parametrize("format", ["PNG", "BMP", "WEBP", "TIFF"])
def test_colour_is_kept_where_the_format_loses_nothing(format: str) -> None:
    content = encode(from_array(COLOR), format, **({"lossless": True} if format == "WEBP" else {}))
    np.testing.assert_array_equal(pixels_of(content, COLOR_SPEC), COLOR)


def test_grey_as_colour_and_colour_as_grey() -> None:
    as_color = pixels_of(encode(from_array(GREY)), COLOR_SPEC)
    np.testing.assert_array_equal(as_color, np.repeat(GREY[..., np.newaxis], 3, axis=-1))
    # ITU-R 601-2: L = 0.299 R + 0.587 G + 0.114 B.
    as_grey = pixels_of(encode(from_array(COLOR)), GREY_SPEC)[..., 0]
    np.testing.assert_allclose(as_grey, COLOR @ [0.299, 0.587, 0.114], atol=0.51)


def test_a_palette_with_and_without_transparency() -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)]
    palette = Image.new("P", (10, 12))
    palette.putpalette([value for color in colors for value in color])
    palette.putdata([place % 4 for place in range(120)])
    image, header = decode_with_header(encode(palette))
    assert header.mode == "P"
    assert not is_grey(image)
    found = convert(image, COLOR_SPEC)
    np.testing.assert_array_equal(found.reshape(-1, 3)[:4], colors)
    see_through = pixels_of(encode(palette, transparency=1), COLOR_SPEC).reshape(-1, 3)
    np.testing.assert_array_equal(see_through[:4], [colors[0], (255, 255, 255), *colors[2:]])


def test_transparent_images_lie_on_white() -> None:
    alpha = np.full((12, 10, 1), 255, np.uint8)
    alpha[0], alpha[1] = 0, 51
    for array, spec in ((COLOR, COLOR_SPEC), (GREY[..., np.newaxis], GREY_SPEC)):
        content = encode(from_array(np.concatenate([array, alpha], axis=-1)))
        found = pixels_of(content, spec).astype(int)
        assert (found[0] == 255).all()
        np.testing.assert_allclose(found[1], 255 - (255 - array[1].astype(int)) * 0.2, atol=1.01)
        np.testing.assert_array_equal(found[2:], array[2:])
    # What is hidden has no colour.
    hidden = np.concatenate([np.repeat(GREY[..., np.newaxis], 3, -1), alpha], axis=-1)
    hidden[0, 0, :3] = (250, 3, 90)
    assert is_grey(decode(encode(from_array(hidden))))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_to_eight(format: str) -> None:
    wide = GREY.astype(np.uint16) * 257
    image, header = decode_with_header(encode(Image.fromarray(wide), format))
    assert header == Header(12, 10, "I;16")
    assert is_grey(image)
    np.testing.assert_array_equal(convert(image, GREY_SPEC)[..., 0], GREY)
    dark = np.full((12, 10), 255, np.uint16)  # 255 of 65535, and not 255 of 255
    assert pixels_of(encode(Image.fromarray(dark), format), GREY_SPEC).max() == 1


def test_real_numbers_and_long_integers() -> None:
    unit = Image.fromarray((GREY / 255).astype(np.float32))
    np.testing.assert_array_equal(pixels_of(encode(unit, "TIFF"), GREY_SPEC)[..., 0], GREY)
    whole = Image.fromarray(GREY.astype(np.float32))
    np.testing.assert_array_equal(pixels_of(encode(whole, "TIFF"), GREY_SPEC)[..., 0], GREY)
    long = Image.fromarray(GREY.astype(np.int32))
    np.testing.assert_array_equal(pixels_of(encode(long, "TIFF"), GREY_SPEC)[..., 0], GREY)
    broken = (GREY / 255).astype(np.float32)
    broken[0, 0] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        pixels_of(encode(Image.fromarray(broken), "TIFF"), GREY_SPEC)


def test_one_bit_cmyk_and_lab() -> None:
    bits = Image.fromarray((GREY > 100).astype(np.uint8) * 255).convert("1")
    found = pixels_of(encode(bits), GREY_SPEC)[..., 0]
    np.testing.assert_array_equal(found, np.where(GREY > 100, 255, 0))
    image, header = decode_with_header(encode(from_array(COLOR).convert("CMYK"), "TIFF"))
    assert header.mode == "CMYK"
    np.testing.assert_allclose(convert(image, COLOR_SPEC), COLOR, atol=2)
    lab = Image.new("LAB", (10, 12), (255, 128, 128))
    assert pixels_of(encode(lab, "TIFF"), GREY_SPEC).min() > 250


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    # Where the first row and the first column of the file are to be seen (EXIF 2.3, 4.6.4).
    turned = {
        1: COLOR,
        2: COLOR[:, ::-1],
        3: COLOR[::-1, ::-1],
        4: COLOR[::-1],
        5: COLOR.transpose(1, 0, 2),
        6: np.rot90(COLOR, -1),
        7: COLOR[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOR),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(from_array(COLOR), "PNG", exif=exif)
    height, width = turned.shape[:2]
    np.testing.assert_array_equal(pixels_of(content, InputSpec(height, width, "rgb")), turned)
    for format in ("JPEG", "WEBP", "TIFF"):
        photo = encode(from_array(COLOR), format, exif=exif)
        assert peek(photo) == Header(height, width, "RGB")
        assert decode(photo).size == (width, height)
    wide = encode(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG", exif=exif)
    assert convert(decode(wide), InputSpec(height, width, "grey")).shape == (height, width, 1)


def test_an_orientation_that_is_none_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    np.testing.assert_array_equal(
        pixels_of(encode(from_array(COLOR), exif=exif), COLOR_SPEC), COLOR
    )


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("L", (10, 12), value) for value in (40, 200)]
    lossless = {"lossless": True} if format == "WEBP" else {}
    content = encode(frames[0], format, save_all=True, append_images=frames[1:], **lossless)
    with Image.open(io.BytesIO(content)) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert set(pixels_of(content, GREY_SPEC).ravel().tolist()) == {40}


def test_colour_is_seen() -> None:
    assert is_grey(decode(encode(from_array(GREY))))
    assert is_grey(decode(encode(from_array(np.repeat(GREY[..., np.newaxis], 3, -1)))))
    assert not is_grey(decode(encode(from_array(COLOR))))
    one_dot = np.repeat(GREY[..., np.newaxis], 3, -1)
    one_dot[11, 9, 2] ^= 1
    assert not is_grey(decode(encode(from_array(one_dot))))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_refused(format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encode(from_array(noise), format)
    with pytest.raises(ImageError, match=r"^(is cut off or damaged|is not an image of a known)"):
        decode(content[: int(len(content) * share)])


needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


@needs_avif
def test_avif_is_read_as_other_formats_are() -> None:
    upright = from_array(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = encode(upright, "AVIF", exif=exif)
    assert decode(content).size == (20, 30)
    assert (peek(content).height, peek(content).width) == (30, 20)
    with pytest.raises(ImageError, match="has 30x20 = 600 pixels; at most 599 are decoded"):
        decode(content, max_pixels=599)
    with pytest.raises(ImageError, match=r"^is AVIF, not an image of a known format \(PNG\)"):
        decode(content, formats=("PNG",))
    with pytest.raises(ImageError, match=r"AVIF|damaged"):
        decode(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"<!DOCTYPE html><html>404", r"^is a web page \(HTML\), not an image"),
        (b"\xff\x0a" + bytes(40), r"^is JPEG XL, not .*; save it as PNG or JPEG"),
        (
            b"version https://git-lfs.github.com/spec/v1",
            r"^is a pointer of Git LFS, .*git lfs pull",
        ),
        (b"\x89PNG\r\n\x1a\n", r"^is cut off or damaged"),
    ],
)
def test_what_a_file_is_instead_of_an_image_is_said(content: bytes, told: str) -> None:
    for look in (decode, peek):
        with pytest.raises(ImageError, match=told):
            look(content)


def test_photos_of_phones_are_read_where_their_library_is_installed() -> None:
    try:
        import pillow_heif  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        with pytest.raises(ImageError, match=r"^is HEIC, not .*; pip install pillow-heif"):
            decode(b"\0\0\0\x18ftypheic" + bytes(90))
        assert "no HEIF" in name_decoders()
        return
    pillow_heif.register_heif_opener()
    content = encode(from_array(COLOR), "HEIF", quality=-1)
    assert decode(content).size == (COLOR.shape[1], COLOR.shape[0])
    assert "pillow-heif" in name_decoders()
    with pytest.raises(ImageError, match="are decoded"):
        decode(content, max_pixels=10)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^is empty$"):
        decode(b"")
    with pytest.raises(ImageError, match=r"not an image of a known format \(PNG, JPEG, BMP, GIF"):
        decode(b"hello there, this is text")
    with pytest.raises(ImageError, match="not an image of a known format"):
        decode(encode(from_array(COLOR), "PPM"))
    with pytest.raises(ImageError, match=r"^is not there$"):
        decode(tmp_path / "none.png")
    with pytest.raises(ImageError, match="not a regular file"):
        decode(tmp_path)
    (tmp_path / "empty.png").touch()
    for look in (decode, peek):
        with pytest.raises(ImageError, match=r"^(is empty|is not an image of a known format)"):
            look(tmp_path / "empty.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match="not a regular file"):
            decode(tmp_path / "pipe.png")


def bomb(width: int, height: int) -> bytes:
    """A small PNG that announces many pixels, all of them black."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(ImageError, match=r"has 9000x9000 = 81,000,000 pixels; at most 64,000,000"):
        decode(bomb(9000, 9000))
    with pytest.raises(ImageError, match="pixels"):
        decode(bomb(60_000, 60_000))
    with pytest.raises(ImageError, match=r"has 10x12 = 120 pixels; at most 100 are"):
        decode(encode(from_array(GREY)), max_pixels=100)
    with pytest.raises(ImageError, match="pixels"):
        peek(bomb(9000, 9000))


def test_nothing_that_pillow_warns_of_comes_out() -> None:
    exif = encode(from_array(COLOR), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(exif).size == (10, 12)


def test_sizes_padded_and_stretched() -> None:
    wide = from_array(np.full((10, 20), 200, np.uint8))
    padded = convert(wide, InputSpec(16, 16, "grey"))[..., 0]
    assert (padded[4:12] == 200).all()
    assert (padded[:4] == 0).all()
    assert (padded[12:] == 0).all()
    assert (convert(wide, InputSpec(16, 16, "grey", "stretch")) == 200).all()
    line = convert(from_array(np.full((1, 1000), 200, np.uint8)), InputSpec(8, 8, "rgb"))
    assert line.shape == (8, 8, 3)
    assert (line == 200).any()


ENCODED = {
    f"{format}-{image.mode}": encode(image, format)
    for image in (from_array(GREY), from_array(COLOR), from_array(COLOR).convert("P"))
    for format in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
    if (format, image.mode) not in {("JPEG", "P"), ("WEBP", "P")}
} | {
    "PNG-I;16": encode(Image.fromarray(GREY.astype(np.uint16) * 257)),
    "TIFF-F": encode(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
    "JPEG-CMYK": encode(from_array(COLOR).convert("CMYK"), "JPEG"),
    "TIFF-LZW": encode(from_array(COLOR), "TIFF", compression="tiff_lzw"),
}


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(ENCODED)),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 6), st.binary(max_size=6)),
        min_size=1,
        max_size=5,
    ),
)
def test_a_damaged_file_gives_an_image_or_an_error_of_our_own(
    name: str, changes: list[tuple[float, int, bytes]]
) -> None:
    content = bytearray(ENCODED[name])
    for place, num_replaced, new in changes:
        start = int(place * len(content))
        content[start : start + num_replaced] = new
    for look in (peek, decode):
        try:
            found = look(bytes(content), max_pixels=10**6)
            if isinstance(found, Image.Image):
                assert convert(found, COLOR_SPEC).shape == (12, 10, 3)
        except ImageError:
            continue


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([0, 1, 2, 3, 4]),
    to=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    color=st.sampled_from(["grey", "rgb"]),
    resize=st.sampled_from(["pad", "stretch"]),
)
def test_any_image_comes_into_any_input(
    height: int, width: int, channels: int, to: tuple[int, int], color: Any, resize: Any
) -> None:
    shape = (height, width, channels) if channels else (height, width)
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    spec = InputSpec(*to, color, resize)
    found = convert(from_array(array), spec)
    assert found.shape == spec.shape
    assert found.dtype == np.uint8
    if to == (height, width) and channels in (0, 1) and color == "grey":
        np.testing.assert_array_equal(found.reshape(height, width), array.reshape(height, width))


def test_all_code_that_makes_pixels_names_entries_of_the_cache() -> None:
    """Where it changes, images are decoded again."""
    package = Path(burnish.image.__file__).parent
    names = {
        ".".join(("burnish.image", *path.relative_to(package).with_suffix("").parts))
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    }
    assert names <= set(contents._CODE)
