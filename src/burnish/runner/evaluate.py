"""Reading the test split again, with a finished model, on the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.errors import RunFolderError
from burnish.files import read_json
from burnish.runfolder.clock import now
from burnish.runfolder.store import RunFolder


def describe_readings(run: RunFolder) -> list[dict[str, Any]]:
    """Return the ledger's entries for a finished run; the test split stays closed.

    Raises
    ------
    RunFolderError
        If the run has not read its test split yet.
    """
    run.check()
    readings = run.readings()
    if not readings or not (run.model / "model.keras").exists():
        raise RunFolderError(
            f"{run.path} has no tested model yet: its final stage reads the test split. "
            "Let 'burnish run' finish, then ask again."
        )
    return readings


def evaluate_again(
    run: RunFolder, data_dir: Path | None, reason: str, data: Path | None = None
) -> dict[str, Any]:
    """Read the test split once more with the run's model, and record it in the ledger.

    Parameters
    ----------
    run
        A finished run.
    data_dir
        Folder with one folder per data source.
    reason
        The reason that the ledger records.
    data
        Where the user's images are now, if they have moved.

    Returns
    -------
    The ledger's new entry.

    Raises
    ------
    RunFolderError
        If the run has no tested model.
    DataError
        If the data is missing or has changed.
    BundleError
        If the model has changed since the run ended.
    """
    describe_readings(run)
    with run.lock():
        return _read_again(run, data_dir, reason, data)


def _read_again(
    run: RunFolder, data_dir: Path | None, reason: str, data: Path | None
) -> dict[str, Any]:
    """Read and record; nothing heavy is imported before the folder is locked."""
    from burnish.backend import configure
    from burnish.bundle import hash_file, read_contract
    from burnish.bundle.contract import find_keras_model
    from burnish.evaluation import read_test_split
    from burnish.models.saved import load_saved
    from burnish.runner.reload import reload_data
    from burnish.study.parse import parse_study

    contract = read_contract(run.model)  # A model that has changed is not read with.
    study, _ = parse_study(run.read_study(), str(run.study_file), folder=run.path)
    recorded = str(read_json(run.path / "provenance.json")["data"]["fingerprint"])
    # If the images differ, the test split stays closed.
    _, sealed = reload_data(study, recorded, data_dir=data_dir, data=data)
    configure(deterministic=True)
    path = find_keras_model(run.model, contract)
    summary = read_test_split(load_saved(path), sealed).summary()
    entry = {
        "time": now(),
        "model_sha256": hash_file(path),
        "reason": reason,
        "num_images": summary["num_images"],
        "accuracy": summary["accuracy"],
        "loss": summary["loss"],
    }
    run.append_reading(entry)
    run.count_readings()
    return entry
