"""Exporting what a run handed over: finds the model, and the images that judge the export."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.bundle.archive import pack, unpack
from burnish.bundle.contract import CONTRACT, find_bundle, find_keras_model, read_contract
from burnish.errors import ExportError, name_what_exists
from burnish.files import flush_all, make_folder, move_folder

if TYPE_CHECKING:
    from burnish.data import Dataset

SUFFIXES = {
    "keras": ".keras",
    "onnx": ".onnx",
    "litert": ".tflite",
    "savedmodel": "-savedmodel",
    "zip": ".zip",
    "folder": "-model",
}
"""Formats, and how what is written is called after the study's name.

The first four are of the network, the last two of the bundle as a whole.
"""


def export_finished(
    path: Path,
    format_name: str,
    out: Path | None = None,
    *,
    quantize: bool = False,
    study: Path | None = None,
    data_dir: Path | None = None,
    data: Path | None = None,
) -> tuple[Path, dict[str, Any] | None]:
    """Export a finished model, to a format of its network or as a whole bundle.

    Parameters
    ----------
    path
        A run folder, a bundle, or a zip file of one.
    format_name
        One of ``SUFFIXES``.
    out
        What to write; by default the study's name, here, with the format's suffix.
    quantize
        In int8; see :func:`burnish.bundle.export.export_model`.
    study
        A run folder or a study file that says which images the model was trained on and
        judged by; needed where ``path`` is no run folder and lies in none.
    data_dir
        Folder with one folder per data source.
    data
        Where one's own images lie now, if it is not where they lay.

    Returns
    -------
    What was written, and its certificate (``None`` for a bundle as a whole)

    Raises
    ------
    BundleError
        If there is no finished model, or it cannot be exported.
    DataError
        If the images are not to be had, or are not those of this model.
    """
    if format_name not in SUFFIXES:
        raise ExportError(name_what_exists("format", format_name, SUFFIXES))
    with _opened(path) as folder:
        contract = read_contract(folder)
        middle = "-int8" if quantize else ""
        target = out or Path(f"{contract['study']}{middle}{SUFFIXES[format_name]}")
        if format_name in ("zip", "folder"):
            _export_whole(folder, target, format_name, quantize=quantize)
            return target, None
        from burnish.bundle.export import export_model

        judges = _load_data(path, contract, study, data_dir, data)
        certificate = export_model(
            find_keras_model(folder, contract), target, format_name, judges, quantize=quantize
        )
        return target, certificate


def describe_certificate(certificate: Mapping[str, Any]) -> str:
    """Say in a few words what a certificate certifies."""
    num = f"{certificate['num_images']:,} validation images"
    if certificate["precision"] == "float32":
        return (
            f": agrees with Keras on {num}; largest difference of a probability "
            f"{certificate['max_probability_difference']:.1g}"
        )
    accuracy, size = certificate["accuracy"], certificate["bytes"]
    speed = certificate["microseconds_per_image"]
    return (
        f": against float32 on {num}, accuracy {accuracy['change']:+.2%} (to "
        f"{accuracy['int8']:.2%}), {size['int8'] / size['float32']:.0%} of the size, "
        f"{speed['int8'] / speed['float32']:.0%} of the time"
    )


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """Return the bundle's folder; a zip file is unpacked for as long as it is needed."""
    if not path.is_file():
        yield find_bundle(path)
        return
    with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
        unpack(path, Path(scratch) / "model")
        yield Path(scratch) / "model"


def _export_whole(folder: Path, target: Path, format_name: str, *, quantize: bool) -> None:
    if quantize:
        raise ExportError(f"int8 is for onnx and litert, not for {format_name}")
    if target.exists():
        raise ExportError(f"{target} is there already: remove it, or give another --out")
    if format_name == "zip":
        pack(folder, target)
        return
    staging = target.with_name(f".{target.name}.copying")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        make_folder(staging)
        for name in (*read_contract(folder)["sha256"], CONTRACT):
            shutil.copyfile(folder / name, staging / name)
        flush_all(staging)
        move_folder(staging, target)
    except OSError as error:
        raise ExportError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _load_data(
    path: Path,
    contract: dict[str, Any],
    given: Path | None,
    data_dir: Path | None,
    data: Path | None,
) -> Dataset:
    """Cut the images of the model's study again, as its run did."""
    from burnish.runner.reload import reload_data
    from burnish.study.parse import load_study

    study, _ = load_study(_find_study(path, given))
    asked = contract["data"]["fingerprint"]
    found, _ = reload_data(study, asked, data_dir=data_dir, data=data)
    return found


def _find_study(path: Path, given: Path | None) -> str:
    """Return the file of the model's study, or the name of one that ships."""
    if given is not None and not given.is_dir():
        return str(given)
    for place in [given] if given is not None else [path, path.parent]:
        file = place / "study.toml"
        if file.is_file():
            return str(file)
    missing = (
        f"{given} is no run folder: it has no study.toml"
        if given is not None
        else f"{path} lies in no run folder, and a bundle holds no images"
    )
    raise ExportError(
        f"{missing}. Give --study with the run folder or the study file: an export is compared "
        "with Keras on the study's validation images"
    )
