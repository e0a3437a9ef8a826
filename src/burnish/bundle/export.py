"""A finished model in another format, with the certificate that it is the same model.

What is written is run in its own runtime on the validation split, and compared with Keras.
Where the two do not agree there is an error, and no file.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import burnish
from burnish.backend import hold_back_stderr
from burnish.bundle.formats import (
    FORMATS,
    ExportFormat,
    Probabilities,
    find_format,
    write_labels,
)
from burnish.data import Dataset
from burnish.errors import ExportError, RunFolderError
from burnish.files import flush_all, hash_file, make_folder, sync_folder, write_json
from burnish.metrics import accuracy
from burnish.models.saved import load_saved
from burnish.training.engine import make_predictor

TOLERANCE = 1e-4
"""Largest difference of a probability from Keras's."""

TIE = 1e-5
"""Two classes whose probabilities lie closer than this may change places."""

NUM_TIMED, NUM_TIMINGS = 1000, 5
"""Validation images whose prediction is timed, in one process with loading, and how often."""

NUM_CALIBRATION = 500
"""Training images by which the ranges of int8 are set."""


def certificate_file(target: Path) -> Path:
    """Where the certificate of an exported file stands: beside it."""
    return target.with_name(f"{target.name}.certificate.json")


def labels_file(target: Path) -> Path:
    """Where the names of the classes of an exported file stand: beside it, one a line."""
    return target.with_name(f"{target.name}.labels.txt")


def export_model(
    model_file: Path, target: Path, format_name: str, data: Dataset, *, quantize: bool = False
) -> dict[str, Any]:
    """Write a saved Keras model in another format, and certify it.

    Parameters
    ----------
    model_file
        A ``model.keras`` of burnish: pixel values 0-255 in, probabilities out.
    target
        What to write, a file or for ``savedmodel`` a folder; the certificate and the names of
        the classes come beside it. ONNX and LiteRT files have the names inside, too.
    format_name
        ``keras``, ``onnx``, ``litert`` or ``savedmodel``.
    data
        Its validation split is the test; its train split calibrates int8.
    quantize
        Write it in int8 instead of float32, where the format can.

    Returns
    -------
    The certificate. In float32 it states agreement with Keras, on which the export depends;
    in int8 what changed: accuracy, size and speed.

    Raises
    ------
    ExportError
        If there is no such format, it has no int8, the target is there already, the model
        cannot be written in it, or does not agree with Keras; nothing is left behind then.
    """
    found = find_format(format_name)
    if quantize and found.quantize is None:
        able = ", ".join(name for name, other in FORMATS.items() if other.quantize)
        raise ExportError(f"int8 is for {able}, not for {found.name}: leave --quantize out")
    if target.suffix != found.suffix and found.suffix:
        raise ExportError(
            f"{target} is no name for format {found.name}: give one that ends in {found.suffix}"
        )
    for path in (target, certificate_file(target), labels_file(target)):
        if path.exists():
            raise ExportError(f"{path} is there already: remove it, or give another --out")
    staging = target.with_name(f".{target.name}.{os.getpid()}.export")
    try:
        make_folder(staging)
        certificate = _write_and_certify(model_file, staging / target.name, found, data, quantize)
        write_json(staging / "certificate.json", certificate)
        (staging / "labels.txt").write_text(write_labels(data.class_names), encoding="utf-8")
        flush_all(staging)
        beside = {"certificate.json": certificate_file(target), "labels.txt": labels_file(target)}
        try:
            for name, path in beside.items():
                (staging / name).replace(path)
            (staging / target.name).replace(target)
        except BaseException:
            for path in beside.values():
                path.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    except OSError as error:
        raise RunFolderError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return certificate


def _write_and_certify(
    model_file: Path, written: Path, format_: ExportFormat, data: Dataset, quantize: bool
) -> dict[str, Any]:
    model = load_saved(model_file)
    expected = make_predictor(model, data.val).predict()
    certificate: dict[str, Any] = {
        "format": format_.name,
        "precision": "int8" if quantize else "float32",
        "model_sha256": hash_file(model_file),
        "data": {"source": data.source, "fingerprint": data.fingerprint, "split": "val"},
        "num_images": len(data.val),
        "class_names": list(data.class_names),
    }
    if quantize:
        exact = written.with_name(f"exact{format_.suffix}")
        _attempt(format_, partial(format_.write, model_file, model, exact))
        picked = data.train.read(slice(NUM_CALIBRATION))
        assert format_.quantize is not None
        _attempt(format_, partial(format_.quantize, model, written, picked))
        _attempt(format_, partial(format_.add_class_names, written, data.class_names))
        certificate |= {
            "num_calibration_images": len(picked),
            **_compare_with_float(format_, exact, written, data),
        }
        _remove(exact)
    else:
        _attempt(format_, partial(format_.write, model_file, model, written))
        _attempt(format_, partial(format_.add_class_names, written, data.class_names))
        given = _attempt(format_, partial(format_.predict, written, data.val))
        agreement = compare_probabilities(expected, given)
        _refuse_disagreement(format_, agreement)
        certificate |= {**agreement, "tolerance": TOLERANCE, "bytes": _count_bytes(written)}
    certificate["versions"] = {"burnish": burnish.__version__, **format_.versions()}
    certificate["sha256"] = _hash(written)
    return certificate


def compare_probabilities(expected: Probabilities, given: Probabilities) -> dict[str, Any]:
    """Say how far two predictions of the same images agree.

    Parameters
    ----------
    expected, given
        Shape (num_images, num_classes).

    Returns
    -------
    ``label_agreement`` (0 to 1; images whose two largest probabilities tie count as agreeing),
    ``num_ties`` (those that changed places in a tie), ``max_probability_difference``
    """
    if given.shape != expected.shape:
        raise ExportError(
            f"it gives probabilities of shape {given.shape}, and Keras of {expected.shape}"
        )
    differs = expected.argmax(axis=1) != given.argmax(axis=1)
    ordered = np.sort(expected, axis=1)
    ties = differs & (ordered[:, -1] - ordered[:, -2] < TIE)
    return {
        "label_agreement": float(1 - (differs & ~ties).mean()),
        "num_ties": int(ties.sum()),
        "max_probability_difference": float(np.abs(expected - given).max()),
    }


def _refuse_disagreement(format_: ExportFormat, agreement: Mapping[str, Any]) -> None:
    difference, same = agreement["max_probability_difference"], agreement["label_agreement"]
    # Asked so that a NaN is refused too.
    if not (difference < TOLERANCE and same == 1.0):
        raise ExportError(
            f"the model in format {format_.name} does not agree with Keras on the validation "
            f"split: {same:.4%} of the labels are the same, and the largest difference of a "
            f"probability is {difference:.2g} (less than {TOLERANCE:g} is asked). "
            "Nothing was written; export another format"
        )


def _compare_with_float(
    format_: ExportFormat, exact: Path, written: Path, data: Dataset
) -> dict[str, Any]:
    """Accuracy, size and time an image of int8, beside those of float32."""
    values: dict[str, dict[str, float]] = {"accuracy": {}, "bytes": {}, "microseconds": {}}
    files = {"float32": exact, "int8": written}
    some = data.val.take(np.arange(min(NUM_TIMED, len(data.val))))
    for name, path in files.items():
        given = _attempt(format_, partial(format_.predict, path, data.val))
        values["accuracy"][name] = accuracy(given, data.val.labels)
        values["bytes"][name] = _count_bytes(path)
    # In turns, so that what else the machine does falls on both.
    for _ in range(NUM_TIMINGS):
        for name, path in files.items():
            started = time.perf_counter()
            _attempt(format_, partial(format_.predict, path, some))
            taken = 1e6 * (time.perf_counter() - started) / len(some)
            values["microseconds"][name] = min(taken, values["microseconds"].get(name, taken))
    change = values["accuracy"]["int8"] - values["accuracy"]["float32"]
    return {
        "accuracy": {**values["accuracy"], "change": change},
        "bytes": values["bytes"],
        "microseconds_per_image": values["microseconds"],
    }


def _attempt(format_: ExportFormat, do: Callable[[], Any]) -> Any:
    """Call a converter or runtime; what it raises becomes an error of burnish's own."""
    try:
        with hold_back_stderr():
            return do()
    except (ExportError, OSError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # Converters fail in many ways, without a common base.
        said = str(error).strip().splitlines()
        raise ExportError(
            f"the model cannot be written or run in format {format_.name}: "
            f"{type(error).__name__}{': ' + said[0] if said else ''}"
        ) from error


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _count_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _hash(path: Path) -> dict[str, str]:
    return {file.relative_to(path.parent).as_posix(): hash_file(file) for file in _files(path)}


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
