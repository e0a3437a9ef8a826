"""One function for each parser: takes bytes, and lets nothing out but what must never happen."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from burnish.bundle.archive import unpack
from burnish.bundle.contract import FORMAT, describe_input, read_contract, read_input
from burnish.bundle.network import refuse_outside_data
from burnish.data.formats import FileImages, read_listing
from burnish.errors import BundleError, DataError, ImageError, StudyError
from burnish.image import InputSpec

from ..data.made import Made, make, make_table, png, write_idx, write_npz

MAX_MESSAGE = 20_000
"""Longest message; what a file holds must not fill the terminal."""


@dataclass(frozen=True)
class Target:
    """A parser to be fuzzed.

    Attributes
    ----------
    check
        Gives bytes to the parser, in a folder that it may fill; raises where the invariant fails.
    seeds
        Good files of the format, small ones.
    """

    check: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]


def _is_refused(error: Exception) -> None:
    assert str(error), "an error says nothing"
    assert len(str(error)) < MAX_MESSAGE, f"an error says {len(str(error)):,} characters"


def _list(path: Path, format: str) -> None:
    """Read a data set: a listing and its images, or a DataError."""
    try:
        listing = read_listing(path, format)
    except DataError as error:
        _is_refused(error)
        return
    assert len(listing) == len(listing.labels) == len(listing.names)
    assert 0 <= listing.labels.min() <= listing.labels.max() < len(listing.class_names)
    for index in range(min(len(listing), 20)):
        try:
            listing.images.read(index)
        except ImageError as error:
            _is_refused(error)


def check_idx(content: bytes, folder: Path) -> None:
    """IDX, as the images of a pair whose labels are good, or the other way round."""
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    made, other = (images, labels) if content[3:4] != b"\1" else (labels, images)
    good = write_idx(folder / "good", make(12, (4, 4)))
    shutil.copy(good / other.name, other)
    made.write_bytes(content)
    _list(folder, "idx")


def check_npz(content: bytes, folder: Path) -> None:
    """NumPy's archive of arrays: nothing is unpickled, and no more unpacked than announced."""
    (folder / "data.npz").write_bytes(content)
    _list(folder / "data.npz", "npz")


def check_csv(content: bytes, folder: Path) -> None:
    """A table of images: none outside of its folder is listed, or of that with images beside."""
    data, beside = folder / "data", folder / "images"
    for name in (data / "a.png", data / "b.png", beside / "c.png", folder / "d.png"):
        name.parent.mkdir(exist_ok=True)
        name.write_bytes(png(np.zeros((3, 3), np.uint8)))
    for table in (data / "labels.csv", data / "labels.tsv", data / "labels.jsonl"):
        table.write_bytes(content)
        _list(table, "csv")
        with contextlib.suppress(DataError):
            images = read_listing(table, "csv").images
            if isinstance(images, FileImages):
                places = (data.resolve(), beside.resolve())
                for index in range(len(images.paths)):
                    found = images.find(index).resolve()
                    assert any(found.is_relative_to(place) for place in places), found


def check_parquet(content: bytes, folder: Path) -> None:
    """A table of Parquet, its schema and metadata."""
    (folder / "data.parquet").write_bytes(content)
    _list(folder / "data.parquet", "parquet")


def check_contract(content: bytes, folder: Path) -> None:
    """The contract of a bundle, beside a file that it names."""
    (folder / "model.onnx").write_bytes(b"network")
    (folder / "contract.json").write_bytes(content)
    try:
        contract = read_contract(folder)
    except BundleError as error:
        _is_refused(error)
        return
    spec = read_input(contract)
    assert 0 < spec.height * spec.width * spec.num_channels <= 4096 * 4096 * 3
    assert all(name.isprintable() for name in contract["output"]["class_names"])
    assert set(contract["sha256"]) == {"model.onnx"}


def check_study(content: bytes, folder: Path) -> None:
    """A study file: what is taken means the same once it was written, and can be planned."""
    # Keras comes with it, which the other targets do without.
    from burnish.study.parse import parse_study
    from burnish.study.text import read_study_text

    (folder / "study.toml").write_bytes(content)
    try:
        text, where = read_study_text(str(folder / "study.toml"))
        study, text = parse_study(text, where, (), folder)
    except StudyError as error:
        _is_refused(error)
        return
    assert parse_study(text, "again")[0] == study
    for stage in study.stages:
        if stage.kind == "tune":
            assert study.brackets(stage)
        if stage.kind != "final":
            study.planned_params(stage)
            study.settings(stage)


def check_archive(content: bytes, folder: Path) -> None:
    """A zip file: a whole bundle comes out of it, or nothing, and nothing beside its folder."""
    (folder / "bundle.zip").write_bytes(content)
    try:
        unpack(folder / "bundle.zip", folder / "out")
    except BundleError as error:
        _is_refused(error)
        assert {path.name for path in folder.iterdir()} == {"bundle.zip"}
        return
    assert {path.name for path in folder.iterdir()} == {"bundle.zip", "out"}
    assert all(path.is_file() and not path.is_symlink() for path in (folder / "out").iterdir())


def check_network(content: bytes, folder: Path) -> None:
    """An ONNX file: where the format's own library finds weights elsewhere, so does burnish."""
    del folder
    try:
        refuse_outside_data(content)
    except BundleError as error:
        _is_refused(error)
        return
    network = onnx.ModelProto()
    try:
        network.ParseFromString(content)
    except Exception:  # Protobuf's error; onnxruntime refuses such a file too.
        return
    for tensor in onnx.external_data_helper._get_all_tensors(network):
        assert not onnx.external_data_helper.uses_external_data(tensor), "weights elsewhere"


# Good files.


def _seed_idx() -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_idx(Path(scratch) / "idx", make(12, (4, 4)))
        plain = [path.read_bytes() for path in sorted(folder.iterdir())]
    return [*plain, gzip.compress(plain[0], mtime=0)]


def _seed_npz() -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "data.npz"
        found = []
        for compressed in (False, True):
            write_npz(path, make(12, (4, 4)), compressed=compressed)
            found.append(path.read_bytes())
    buffer = io.BytesIO()
    names = np.array(["cat", "dog"] * 3)
    np.savez(buffer, images=np.zeros((6, 2, 2, 3), np.uint8), labels=names)
    return [*found, buffer.getvalue()]


def _seed_csv() -> list[bytes]:
    return [
        b"path,label\na.png,cat\nb.png,dog\n",
        b'\xef\xbb\xbfpath,label,split,writer\r\n"a.png",cat,train,"w\n1"\r\nb.png,dog,test,w2\r\n',
        b"path,label\n../x.png,cat\n/etc/passwd,dog\na.png,eel\n",
        b"file_name;class\nimages\\c;cat\nimages/c.PNG;dog\n",
        b'{"file_name": "a.png", "label": 0}\n{"file_name": "b.png", "label": 1}\n',
        b"label," + b",".join(b"pixel%d" % i for i in range(16)) + b"\n1" + b",7" * 16 + b"\n0"
        b",9" * 16 + b"\n",
        b'emotion,pixels,Usage\n0,1 2 3 4,Training\n3,"5 6 7 8",PublicTest\n',
        "path\tlabel\na.png\tcat\nb.png\tdog\n".encode("utf-16"),
    ]


def _seed_parquet() -> list[bytes]:
    made: Made = make(12, (4, 4))
    found = []
    for plain in (False, True):
        buffer = io.BytesIO()
        pq.write_table(make_table(made, range(12), plain=plain), buffer)
        found.append(buffer.getvalue())
    return found


def _make_contract() -> dict[str, object]:
    return {
        "format": FORMAT,
        "study": "bands",
        "study_fingerprint": "none",
        "input": describe_input(InputSpec(8, 8, "grey", recipe="digit")),
        "output": {"values": "probabilities", "class_names": ["cat", "dog"]},
        "data": {"source": "made up", "fingerprint": "none"},
        "sha256": {"model.onnx": sha256(b"network").hexdigest()},
    }


def _seed_contract() -> list[bytes]:
    return [json.dumps(_make_contract()).encode()]


def _seed_study() -> list[bytes]:
    from burnish.study.text import shipped_studies

    own = b'[study]\nname = "own"\n[data]\npath = "photos"\nsize = [24, 32]\n'
    stage = b'[[stage]]\nname = "a"\nkind = "train"\nmodel = "fnn"\n'
    return [own + stage, *(text.encode() for text in shipped_studies().values())]


def _seed_archive() -> list[bytes]:
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("contract.json", json.dumps(_make_contract()))
            archive.writestr("model.onnx", b"network")
        found.append(buffer.getvalue())
    return found


def _seed_network() -> list[bytes]:
    weights = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    outside = TensorProto(name="v", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="x")
    found = []
    for tensors in ([weights], [weights, outside]):
        constant = helper.make_node("Constant", [], ["c"], value=tensors[-1])
        branch = helper.make_graph([constant], "b", [], [])
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            helper.make_node("If", ["y"], ["z"], then_branch=branch, else_branch=branch),
        ]
        graph = helper.make_graph(nodes, "g", [], [], tensors[:1])
        found.append(helper.make_model(graph).SerializeToString())
    return found


TARGETS = {
    "idx": Target(check_idx, _seed_idx),
    "npz": Target(check_npz, _seed_npz),
    "csv": Target(check_csv, _seed_csv),
    "parquet": Target(check_parquet, _seed_parquet),
    "contract": Target(check_contract, _seed_contract),
    "study": Target(check_study, _seed_study),
    "archive": Target(check_archive, _seed_archive),
    "network": Target(check_network, _seed_network),
}


def try_target(name: str, content: bytes) -> None:
    """Return bytes to a target, in a folder of their own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="burnish-fuzz-") as folder:
        TARGETS[name].check(content, Path(folder))
