from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.data.idx import read_idx, read_labelled
from burnish.errors import DataError, DataNotFoundError


def pack_idx(array: NDArray[np.uint8]) -> bytes:
    return pack_header(array.shape) + array.tobytes()


def pack_header(shape: tuple[int, ...], element_type: int = 8) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, element_type, len(shape), *shape)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 28, 28), (2, 3, 4, 3)])
@pytest.mark.parametrize("name", ["plain", "packed.gz", "packed-with-no-suffix", "plain.gz"])
def test_reads_every_rank_plain_and_packed(
    tmp_path: Path, shape: tuple[int, ...], name: str
) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    content = pack_idx(array)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.startswith("packed") else content)
    found = read_idx(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


IMAGES = pack_idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
PACKED = gzip.compress(IMAGES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes, too short"),
        (b"\0\0\x08", "has 3 bytes, too short"),
        (IMAGES[:10], "has 10 bytes, too short for its header of 16"),
        (b"\x89PNG" + bytes(40), "starts with the bytes 89 50 4e 47; expected 00 00 08"),
        (b"\0\0\x08\0" + bytes(40), "starts with the bytes 00 00 08 00"),
        (b"\0\0\x08\xff" + bytes(40), "starts with the bytes 00 00 08 ff"),
        (pack_header((2,), 0x0D) + bytes(8), r"holds float32 \(type byte 0d\)"),
        (pack_header((2,), 0x0C) + bytes(8), r"holds int32 \(type byte 0c\)"),
        (pack_header((2,), 0x77) + bytes(8), r"holds an unknown type \(type byte 77\)"),
        (IMAGES[:-1], "cut off: has 23 bytes of pixels, its header announces 24"),
        (pack_header((9,)) + bytes(4), "has 4 bytes of labels, its header announces 9"),
        (IMAGES + b"\0", "surplus bytes: has more than 24 bytes of pixels, its header announces"),
        (gzip.compress(IMAGES[:-1]), "has 23 bytes of pixels, its header announces 24"),
        (gzip.compress(IMAGES + b"\0"), "has more than 24 bytes of pixels"),
        (pack_header((2**32 - 1,) * 3) + bytes(9), "announces 79228162458924105385300197375"),
        (PACKED[:-9], "gzip archive is cut off"),
        (PACKED[:20], "gzip archive is cut off"),
        (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], r"damaged gzip archive \(CRC check failed"),
        (PACKED[:12] + b"\xff\xff\xff" + PACKED[15:], "damaged gzip archive"),
        (b"\x1f\x8b" + bytes(30), "damaged gzip archive"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else None,
)
def test_names_the_file_and_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken-file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(str(path))


def test_does_not_unpack_more_than_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(pack_header((10,)) + bytes(50 * 2**20)))
    taken = []
    read = gzip.GzipFile.read

    def count(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        piece = read(self, size)
        taken.append(len(piece))
        return piece

    monkeypatch.setattr(gzip.GzipFile, "read", count)
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_idx(path)
    assert sum(taken) == 4 + 4 + 11


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"absent: there is no such file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)|Permission denied"):
        read_idx(tmp_path)


def write_pair(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> tuple[Path, Path]:
    paths = folder / "the-images", folder / "the-labels"
    for path, array in zip(paths, (images, labels), strict=True):
        path.write_bytes(pack_idx(array))
    return paths


def test_read_labelled_adds_the_channel(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6), dtype=np.uint8)
    labels = np.array([0, 9, 3, 3], np.uint8)
    split = read_labelled(*write_pair(tmp_path, images, labels), num_classes=10)
    np.testing.assert_array_equal(split.images[..., 0], images)
    assert split.images.shape == (4, 5, 6, 1)
    assert split.labels.tolist() == [0, 9, 3, 3]
    assert split.labels.dtype == np.int32


@pytest.mark.parametrize(
    ("image_shape", "labels", "guilty", "message"),
    [
        ((3, 2, 2), [0, 1], "the-images", r"has 3 images and .*the-labels has 2 labels"),
        ((2, 2, 2), [0, 10], "the-labels", "label 10 of image 1 is out of range; expected 0 to 9"),
        ((2,), [0, 1], "the-images", r"has shape \(2,\); expected 3 dimensions"),
        ((2, 2, 2), [[0], [1]], "the-labels", r"has shape \(2, 1\); expected 1 dimension"),
        ((0, 2, 2), [], "the-images", "holds no pixels"),
    ],
)
def test_read_labelled_refuses(
    tmp_path: Path, image_shape: tuple[int, ...], labels: list[int], guilty: str, message: str
) -> None:
    paths = write_pair(tmp_path, np.zeros(image_shape, np.uint8), np.array(labels, np.uint8))
    with pytest.raises(DataError, match=message) as caught:
        read_labelled(*paths, num_classes=10)
    assert str(caught.value).startswith(str(tmp_path / guilty))
