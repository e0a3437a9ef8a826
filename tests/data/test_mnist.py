from __future__ import annotations

import gzip
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.data import SOURCES, SplitSizes, load_source, mnist, prepare
from burnish.data.conformance import check_source
from burnish.data.mnist import FILES, MIRRORS, load_mnist
from burnish.errors import DataError, DataNotFoundError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    content = head + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_subset(folder: Path, suffix: str = "", side: int = 28) -> None:
    """Write a small set of the same form as MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for prefix, num_images in (("train", 60), ("t10k", 20)):
        images = random.integers(0, 256, (num_images, side, side), dtype=np.uint8)
        labels = np.arange(num_images, dtype=np.uint8) % 10
        write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the tests out of the user's own cache, and off the network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "burnish" / "mnist"


@pytest.fixture
def closed_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/mnist/"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a subset, whose hashes then count as the published ones."""
    folder = tmp_path / "served"
    write_subset(folder, ".gz")
    for name in FILES:
        content = gzip.decompress((folder / f"{name}.gz").read_bytes())
        monkeypatch.setitem(mnist.FILES, name, hashlib.sha256(content).hexdigest())

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_subset_in_the_data_folder_is_used(tmp_path: Path, suffix: str) -> None:
    write_subset(tmp_path / "mnist", suffix)
    raw = check_source(SOURCES.find("mnist"), data_dir=tmp_path)
    assert raw.source == "mnist"
    assert raw.class_names == tuple("0123456789")
    assert raw.train.images.shape == (60, 28, 28, 1)
    assert raw.test is not None
    assert len(raw.test) == 20


def test_packed_and_plain_files_mix(tmp_path: Path) -> None:
    write_subset(tmp_path / "mnist")
    plain = tmp_path / "mnist" / "t10k-labels-idx1-ubyte"
    write_idx(plain.with_name(f"{plain.name}.gz"), np.arange(20, dtype=np.uint8) % 10)
    plain.unlink()
    assert len(load_mnist(tmp_path).train) == 60


def test_the_cache_comes_after_the_data_folder(cache: Path, tmp_path: Path) -> None:
    write_subset(cache)
    assert len(load_mnist(tmp_path / "absent").train) == 60
    assert len(load_source("mnist", None).train) == 60


@pytest.mark.usefixtures("capsys")
def test_downloads_into_the_cache_once(cache: Path, served: str, closed_url: str) -> None:
    raw = load_mnist(None, mirrors=[closed_url, served])
    assert raw.train.images.shape == (60, 28, 28, 1)
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in FILES)
    again = load_mnist(None, mirrors=[closed_url])
    np.testing.assert_array_equal(again.train.images, raw.train.images)


@pytest.mark.usefixtures("capsys")
def test_downloads_only_what_the_cache_lacks(cache: Path, served: str) -> None:
    write_subset(cache)
    (cache / "train-labels-idx1-ubyte").unlink()
    load_mnist(None, mirrors=[served])
    assert sorted(path.name for path in cache.glob("*.gz")) == ["train-labels-idx1-ubyte.gz"]


@pytest.mark.usefixtures("capsys")
def test_nothing_works_says_everything(tmp_path: Path, cache: Path, closed_url: str) -> None:
    write_subset(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    other_url = closed_url.replace("/mnist/", "/other/")
    with pytest.raises(DataNotFoundError) as caught:
        load_mnist(tmp_path, mirrors=[closed_url, other_url])
    message = str(caught.value)
    assert f"{tmp_path / 'mnist'}: has 3 of the 4 files; missing: t10k-labels-idx1-ubyte" in message
    assert f"{cache}: there is no such folder" in message
    assert f"{closed_url}train-images-idx3-ubyte.gz: " in message
    assert f"{other_url}train-images-idx3-ubyte.gz: " in message
    assert "refused" in message
    assert f"into {tmp_path / 'mnist'}:" in message
    assert all(f"\n  {name}.gz" in message for name in FILES)
    assert "'digits', which needs no network" in message


def test_files_of_another_data_set_are_named(tmp_path: Path) -> None:
    write_subset(tmp_path / "mnist", side=32)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: has images of 32x32 pixels"):
        load_mnist(tmp_path)
    write_subset(tmp_path / "mnist")
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte"
    write_idx(labels, np.full(20, 26, np.uint8))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte: label 26 of image 0"):
        load_mnist(tmp_path)


def test_the_mirrors_are_independent_and_encrypted() -> None:
    assert len({mirror.split("/")[2] for mirror in MIRRORS}) == 2
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in MIRRORS)


def test_mnist_itself() -> None:
    data_dir = Path(os.environ.get("BURNISH_DATA", SHARED))
    if not (data_dir / "mnist").is_dir():
        pytest.skip("MNIST is not here: BURNISH_DATA names no folder that holds mnist/")
    raw = check_source(SOURCES.find("mnist"), data_dir=data_dir)
    assert raw.train.images.shape == (60_000, 28, 28, 1)
    assert raw.test is not None
    assert raw.test.images.shape == (10_000, 28, 28, 1)
    # As published with the data set.
    assert raw.train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert raw.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert raw.train.images.mean() == pytest.approx(33.318, abs=0.001)

    dataset, sealed = prepare(raw, SplitSizes(train=50_000, val=10_000), seed=42)
    assert (len(dataset.train), len(dataset.val), sealed.num_images) == (50_000, 10_000, 10_000)
    exact = np.bincount(raw.train.labels) / 6
    assert np.all(np.abs(np.bincount(dataset.val.labels) - exact) < 1)
