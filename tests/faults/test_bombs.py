"""Small files that announce much: refused from their headers, before memory is taken."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .conftest import Tally

MEGABYTES = 150
"""Most that refusing may take beyond what the imports take; each bomb is of gigabytes."""

REFUSE = """
import resource, sys, time
from pathlib import Path
from burnish.data.formats import read_listing
from burnish.errors import BurnishError
from burnish.image import decode, peek
from burnish.bundle.archive import unpack
import pyarrow.parquet
path, kind = Path(sys.argv[1]), sys.argv[2]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    if kind == "image":
        decode(path)
    elif kind == "archive":
        unpack(path, path.with_name("unpacked"))
    else:
        listing = read_listing(path, kind)
        for index in range(min(3, len(listing))):
            listing.images.read(index)
    print("taken")
except BurnishError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def refuse(path: Path, kind: str) -> str:
    """Read a file in a process of its own; give what it says, once its memory was looked at."""
    command = [sys.executable, "-c", REFUSE, str(path), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said, _, megabytes = done.stdout.strip().rpartition("\n")
    assert float(megabytes) < MEGABYTES, said
    return said


def deflate_zeros(num_bytes: int) -> bytes:
    """Deflate zeros without ever having them: a piece that ends on a byte, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packer.compress(bytes(2**24))
    packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (num_bytes // 2**24) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def write_zip(path: Path, name: str, head: bytes, num_zeros: int) -> Path:
    """Write a zip file of one member: a head, then zeros, some gigabytes of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH) + deflate_zeros(num_zeros)
    size = len(head) + num_zeros
    extra = struct.pack("<HHQQ", 1, 16, size, len(packed))
    encoded = name.encode()
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 33, 0, *[2**32 - 1] * 2, len(name), len(extra))
    local = b"PK\x03\x04" + common + encoded + extra
    central = b"PK\x01\x02" + struct.pack("<H", 45) + common + bytes(14) + encoded + extra
    place = len(local) + len(packed)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), place, 0)
    path.write_bytes(local + packed + central + end)
    return path


def make_npz_bomb(folder: Path) -> tuple[Path, str, str]:
    num = 10 * 2**30
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (num // 2**10, 32, 32)}
    )
    path = write_zip(folder / "bomb.npz", "x.npy", head.getvalue(), num)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y.npy", b"")
    return path, "npz", "as no images do"


def make_empty_elements(folder: Path) -> tuple[Path, str, str]:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|S0", "fortran_order": False, "shape": (10**12,)}
    )
    with zipfile.ZipFile(folder / "bomb.npz", "w") as archive:
        archive.writestr("x.npy", head.getvalue())
        archive.writestr("y.npy", head.getvalue())
    return folder / "bomb.npz", "npz", "dtype"


def make_gzip_idx(folder: Path) -> tuple[Path, str, str]:
    head = bytes([0, 0, 8, 3]) + struct.pack(">III", 10**6, 100, 100)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(head))
    path.with_name("train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\1\0")
    return path, "idx", "announces 10000000000 bytes"


def make_png(folder: Path) -> tuple[Path, str, str]:
    png = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(2**20))
    for kind, content in ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")):
        crc = zlib.crc32(kind + content)
        png += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)
    (folder / "bomb.png").write_bytes(png)
    return folder / "bomb.png", "image", "100000x100000|too many pixels"


def make_parquet_rows(folder: Path) -> tuple[Path, str, str]:
    """Millions of rows that all have one value take no space in a column."""
    num = 30_000_000
    path = folder / "bomb.parquet"
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(num, np.int8)), pa.array([b"x"]))
    labels = pa.array(np.zeros(num, np.int8))
    pq.write_table(pa.table({"image": images, "label": labels}), path, store_schema=False)
    return path, "parquet", "30,000,000 rows"


def make_parquet_page(folder: Path) -> tuple[Path, str, str]:
    """Images of nothing but zeros, which zstd packs to a thousandth of a thousandth."""
    path = folder / "bomb.parquet"
    image = bytes(80 * 2**20)
    table = pa.table({"image": pa.array([image], pa.binary()), "label": [0]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    return path, "parquet", "as no images do"


def make_archive(folder: Path) -> tuple[Path, str, str]:
    return (
        write_zip(folder / "bomb.zip", "model.onnx", b"", 4 * 2**30),
        "archive",
        "model.onnx is too large",
    )


BOMBS = [
    make_npz_bomb,
    make_empty_elements,
    make_gzip_idx,
    make_png,
    make_parquet_rows,
    make_parquet_page,
    make_archive,
]


@pytest.mark.parametrize("make", BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory(
    tmp_path: Path, make: Callable[[Path], tuple[Path, str, str]], tally: Tally
) -> None:
    """Row "decompression bombs": what a header announces is held against what the file has."""
    path, kind, told = make(tmp_path)
    assert path.stat().st_size < 20 * 2**20
    said = refuse(path, kind)
    assert any(part in said for part in told.split("|")), said
    tally("decompression bombs")
