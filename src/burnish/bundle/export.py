"""A finished model in another format, with the certificate that it is the same model.

What is written is run in its own runtime on the validation split, and compared with Keras.
Where the two do not agree there is an error, and no file. What nothing here can run is written
without a certificate.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from burnish.backend import hold_back_stderr
from burnish.bundle.formats import EXPORT_FORMATS, NetworkFormat, Probabilities
from burnish.bundle.formats.format import write_labels
from burnish.bundle.formats.formats import refuse_unable
from burnish.data import Dataset, Split
from burnish.errors import ExportError, RunFolderError
from burnish.files import flush_all, hash_file, make_folder, sync_folder, write_json
from burnish.metrics import accuracy
from burnish.models.saved import load_saved
from burnish.training.engine import make_predictor
from burnish.version import __version__

TOLERANCE = 1e-4
"""Largest difference of a probability from Keras's."""

TIE = 1e-5
"""Two classes whose probabilities lie closer than this may change places."""

NUM_TIMED, NUM_TIMINGS = 1000, 5
"""Validation images whose prediction is timed, in one process with loading, and how often."""

NUM_CALIBRATION = 500
"""Training images by which the ranges of int8 are set."""

WRITTEN, CERTIFICATE, LABELS = "written", "certificate.json", "labels.txt"
"""Names while an export is written: the folder of what is written, and the files beside it."""


def certificate_file(target: Path) -> Path:
    """Where the certificate of an exported file stands: beside it."""
    return target.with_name(f"{target.name}.certificate.json")


def labels_file(target: Path) -> Path:
    """Where the names of the classes of an exported file stand: beside it, one a line."""
    return target.with_name(f"{target.name}.labels.txt")


def export_model(
    model_file: Path,
    target: Path,
    export_format: NetworkFormat,
    data: Dataset,
    *,
    quantize: bool = False,
) -> dict[str, Any]:
    """Write a saved Keras model in another format, and certify it.

    Parameters
    ----------
    model_file
        A ``model.keras`` of burnish: pixel values 0-255 in, probabilities out.
    target
        What to write; the certificate and the names of the classes come beside it. Formats that
        have a place for names have them inside, too.
    export_format
        One that can be certified: it has ``predict``.
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
        If the format has no int8, or lacks a package, the target is there already, the model
        cannot be written in it, or does not agree with Keras; nothing is left behind then.
    """
    refuse_unable(export_format, quantize=quantize)
    with _staged(target, export_format, data.class_names) as staging:
        written = staging / WRITTEN / target.name
        certificate = _write_and_certify(model_file, written, export_format, data, quantize)
        write_json(staging / CERTIFICATE, certificate)
    return certificate


def export_uncertified(
    model_file: Path, target: Path, export_format: NetworkFormat, class_names: Sequence[str]
) -> None:
    """Write a saved Keras model in a format that nothing runs: there is no certificate.

    Parameters
    ----------
    model_file, target, export_format
        As for `export_model`.
    class_names
        In the order of the probabilities; they come beside it.

    Raises
    ------
    ExportError
        As of `export_model`.
    """
    refuse_unable(export_format, quantize=False)
    with _staged(target, export_format, class_names) as staging:
        written = staging / WRITTEN / target.name
        _write(model_file, load_saved(model_file), written, export_format, class_names)


@contextmanager
def _staged(
    target: Path, export_format: NetworkFormat, class_names: Sequence[str]
) -> Iterator[Path]:
    """Return a folder to write into; what it holds takes its place at the end, or nothing does."""
    ending = export_format.ending
    if not export_format.is_folder and not target.name.endswith(ending):
        raise ExportError(
            f"{target} is no name for format {export_format.name}: give one that ends in {ending}"
        )
    beside = {CERTIFICATE: certificate_file(target), LABELS: labels_file(target)}
    for path in (target, *beside.values()):
        if path.exists():
            raise ExportError(f"{path} is there already: remove it, or give another --out")
    staging = target.with_name(f".{target.name}.{os.getpid()}.export")
    try:
        make_folder(staging / WRITTEN)
        yield staging
        (staging / LABELS).write_text(write_labels(class_names), encoding="utf-8")
        flush_all(staging)
        try:
            for name, path in beside.items():
                if (staging / name).exists():
                    (staging / name).replace(path)
            (staging / WRITTEN / target.name).replace(target)
        except BaseException:
            for path in beside.values():
                path.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    except OSError as error:
        raise RunFolderError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(
    model_file: Path,
    model: Any,
    written: Path,
    export_format: NetworkFormat,
    class_names: Sequence[str],
) -> None:
    """Write the model in float32, with the names of its classes."""
    _attempt(export_format, partial(export_format.write, model_file, model, written))
    _attempt(export_format, partial(export_format.add_class_names, written, class_names))


def _write_and_certify(
    model_file: Path, written: Path, export_format: NetworkFormat, data: Dataset, quantize: bool
) -> dict[str, Any]:
    model = load_saved(model_file)
    expected = make_predictor(model, data.val).predict()
    certificate: dict[str, Any] = {
        "format": export_format.name,
        "precision": "int8" if quantize else "float32",
        "model_sha256": hash_file(model_file),
        "data": {"source": data.source, "fingerprint": data.fingerprint, "split": "val"},
        "num_images": len(data.val),
        "class_names": list(data.class_names),
    }
    if quantize:
        exact = written.with_name(f"exact{export_format.ending}")
        _attempt(export_format, partial(export_format.write, model_file, model, exact))
        picked = data.train.read(slice(NUM_CALIBRATION))
        assert export_format.quantize is not None
        _attempt(export_format, partial(export_format.quantize, model, written, picked))
        _attempt(export_format, partial(export_format.add_class_names, written, data.class_names))
        certificate |= {
            "num_calibration_images": len(picked),
            **_compare_with_float(export_format, exact, written, data),
        }
        _remove(exact)
    else:
        _write(model_file, model, written, export_format, data.class_names)
        agreement = compare_probabilities(expected, _predict(export_format, written, data.val))
        _refuse_disagreement(export_format, agreement)
        certificate |= {**agreement, "tolerance": TOLERANCE, "bytes": _count_bytes(written)}
    certificate["versions"] = {"burnish": __version__, **export_format.versions()}
    if export_format.name in EXPORT_FORMATS and (
        origin := EXPORT_FORMATS.origin(export_format.name)
    ):
        certificate["plugin"] = origin
    certificate["sha256"] = _hash(written)
    return certificate


def _predict(export_format: NetworkFormat, written: Path, split: Split) -> Probabilities:
    """Return what the format's own runtime says of images."""
    if export_format.predict is None:
        raise ExportError(f"nothing runs the format {export_format.name}, so nothing certifies it")
    probabilities: Probabilities = _attempt(
        export_format, partial(export_format.predict, written, split)
    )
    return probabilities


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


def _refuse_disagreement(export_format: NetworkFormat, agreement: Mapping[str, Any]) -> None:
    difference, same = agreement["max_probability_difference"], agreement["label_agreement"]
    # Asked so that a NaN is refused too.
    if not (difference < TOLERANCE and same == 1.0):
        raise ExportError(
            f"the model in format {export_format.name} does not agree with Keras on the validation "
            f"split: {same:.4%} of the labels are the same, and the largest difference of a "
            f"probability is {difference:.2g} (less than {TOLERANCE:g} is asked). "
            "Nothing was written; export another format"
        )


def _compare_with_float(
    export_format: NetworkFormat, exact: Path, written: Path, data: Dataset
) -> dict[str, Any]:
    """Accuracy, size and time an image of int8, beside those of float32."""
    values: dict[str, dict[str, float]] = {"accuracy": {}, "bytes": {}, "microseconds": {}}
    files = {"float32": exact, "int8": written}
    some = data.val.take(np.arange(min(NUM_TIMED, len(data.val))))
    for name, path in files.items():
        given = _predict(export_format, path, data.val)
        values["accuracy"][name] = accuracy(given, data.val.labels)
        values["bytes"][name] = _count_bytes(path)
    # In turns, so that what else the machine does falls on both.
    for _ in range(NUM_TIMINGS):
        for name, path in files.items():
            started = time.perf_counter()
            _predict(export_format, path, some)
            taken = 1e6 * (time.perf_counter() - started) / len(some)
            values["microseconds"][name] = min(taken, values["microseconds"].get(name, taken))
    change = values["accuracy"]["int8"] - values["accuracy"]["float32"]
    return {
        "accuracy": {**values["accuracy"], "change": change},
        "bytes": values["bytes"],
        "microseconds_per_image": values["microseconds"],
    }


def _attempt(export_format: NetworkFormat, do: Callable[[], Any]) -> Any:
    """Call a converter or runtime; what it raises becomes an error of burnish's own."""
    try:
        with hold_back_stderr():
            return do()
    except (ExportError, OSError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # Converters fail in many ways, without a common base.
        said = str(error).strip().splitlines()
        raise ExportError(
            f"the model cannot be written or run in format {export_format.name}: "
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
