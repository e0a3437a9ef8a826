"""The images of a finished model once more: cut as its run cut them, and proven to be the same."""

from __future__ import annotations

from pathlib import Path

from burnish.data import Dataset, SealedTest, prepare
from burnish.errors import DataError, DataNotFoundError, StudyError
from burnish.study.source import load_data
from burnish.study.study import Study


def reload_data(
    study: Study,
    fingerprint: str,
    *,
    data_dir: Path | None = None,
    data: Path | None = None,
) -> tuple[Dataset, SealedTest]:
    """Load and split a study's images again.

    Parameters
    ----------
    study
        The study of the run, its path anchored.
    fingerprint
        Fingerprint of the data when the study ran.
    data_dir
        Folder with one folder per data source.
    data
        Where the user's images are now, if they have moved.

    Raises
    ------
    DataNotFoundError
        If the images are missing; the message says how to give their path.
    DataError
        If the images have changed.
    StudyError
        If ``data`` is given for a registered source.
    """
    section = study.data
    if data is not None:
        if section.path is None:
            raise StudyError(
                f"--data is for one's own images, and the study '{study.name}' is of the source "
                f"'{section.source}': say with --data-dir where its files are"
            )
        section = section.model_copy(update={"path": str(data.absolute())})
    remedy = "--data-dir" if section.path is None else "--data"
    try:
        raw = load_data(section, data_dir)
    except DataNotFoundError as error:
        if section.path is None:
            raise
        raise DataNotFoundError(
            f"{error}. The images of the study '{study.name}' were there when it ran: give their "
            f"present path with {remedy}"
        ) from error
    found, sealed = prepare(raw, section.split.sizes(), study.seed)
    if found.fingerprint != fingerprint:
        raise DataError(
            f"the images of the study '{study.name}' ({section.path or section.source}, "
            f"fingerprint {found.fingerprint[:16]}) are not those that its run had "
            f"({fingerprint[:16]}): give the same images with {remedy}"
        )
    return found, sealed
