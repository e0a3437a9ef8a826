"""``burnish.run``: from images, or a study, to a run folder with a tested model and its report."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from burnish.api.check import check_before_run
from burnish.api.cluster import CheckpointsName, ExecutorName, Placing, find_data_dir
from burnish.api.command import write_command
from burnish.api.reading import ReadingKeywords, list_given
from burnish.api.result import Run
from burnish.api.source import (
    MINUTES_FOR_IMAGES,
    Source,
    StudyText,
    Values,
    are_images,
    choose_folder,
    find_study,
)
from burnish.api.telling import Teller, make_teller
from burnish.child_processes import refuse_to_begin_again
from burnish.interrupts import is_stopping
from burnish.report import write_report
from burnish.runfolder.store import RunFolder


def run(
    source: Source,
    *,
    minutes: float | None = None,
    out: str | os.PathLike[str] | None = None,
    values: Values = None,
    data_dir: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    memory_per_worker: str | None = None,
    check_disk: bool = True,
    executor: ExecutorName = "local",
    address: str | None = None,
    checkpoints: CheckpointsName = "object-store",
    report: bool = True,
    verbose: bool = True,
    **reading: Unpack[ReadingKeywords],
) -> Run:
    """Run a study, or resume one, to a tested model and a report.

    Of images without a study it first says what is wrong with them, and writes the study that suits
    them beside the run folder, unless it is there already. That file is the user's to change.

    Parameters
    ----------
    source
        A folder of labelled images, or a file that lists or holds them; a study file; the name of
        a study that ships; or a `Study`.
    minutes
        Finish in about this time. By default 10 for images, and no limit for a study.
    out
        The run folder; by default ``runs/`` and the name of the study or the images.
    values
        Values of the study to change, by key: ``{"cnn.params.learning_rate": 0.002}``.
    data_dir
        Folder with one subfolder per data source; by default the variable ``BURNISH_DATA``.
    workers
        Trials that run at once; by default one per core.
    memory_per_worker
        Stop a trial whose process uses more memory than this, such as ``"4GB"``.
    check_disk
        Refuse to start if the disk may fill up.
    executor, address, checkpoints
        ``"ray"`` fits trials on a cluster; its address, and how checkpoints reach other nodes.
    report
        Write the report at the end; `Run.report` does it at any time.
    verbose
        Tell on standard output how it goes on.
    reading
        How images are read: ``format``, ``group``, ``image_column``, ``label_column``,
        ``image_root``, ``class_case``, ``labels``, ``masks``, ``range``, ``max_pixels``,
        ``on_bad_image``.

    Returns
    -------
    Run
        What the run folder holds.

    Raises
    ------
    BurnishError
        If anything is wrong with the study, the images or the folder; before training whenever it
        can be known then.
    """
    began = time.monotonic()
    refuse_to_begin_again()
    placing = Placing(executor, address, checkpoints, memory_per_worker)
    teller = make_teller(verbose=verbose)
    options = {
        "out": out,
        "workers": workers,
        "minutes": minutes,
        "memory_per_worker": memory_per_worker,
        "executor": None if executor == "local" else executor,
        **placing.of_cluster(),
        **list_given(reading),
    }
    chosen = None if out is None else Path(out)
    if are_images(source):
        minutes = MINUTES_FOR_IMAGES if minutes is None else minutes
        chosen = choose_folder(source, chosen)
        study = _study_images(source, chosen, values, reading, teller)
    else:
        study = find_study(source, values=values, **reading)
    folder = RunFolder(chosen or Path("runs") / study.name())
    # A study that was made in Python lies in the run folder alone.
    name = source if isinstance(source, str | os.PathLike) else folder.study_file
    flags = {"skip_disk_check": not check_disk}
    command = write_command(os.fspath(name), study.values, options, flags)
    job = _Job(study, folder, placing, teller, command, workers, minutes, check_disk, began)
    try:
        # Locked before TensorFlow is loaded: a second process then fails without loading it.
        with folder.lock(), _notebook_warnings_held():
            job.run(find_data_dir(None if data_dir is None else Path(data_dir)))
            if report:
                teller.say(f"report: {write_report(folder)}")
            if folder.model.is_dir():
                teller.say(f"model:  {folder.model}")
    except KeyboardInterrupt:
        if not is_stopping():  # The command line says it itself.
            teller.note(
                f"stopped; burnish.open({str(folder.path)!r}) has what was recorded, and the same "
                "call goes on from there"
            )
        raise
    return Run(folder.path)


@contextmanager
def _notebook_warnings_held() -> Iterator[None]:
    """Keep from a notebook that Optuna's bars, which nobody sees, look better with widgets."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


@dataclass(frozen=True)
class _Job:
    study: StudyText
    folder: RunFolder
    placing: Placing
    teller: Teller
    command: str
    workers: int | None
    minutes: float | None
    check_disk: bool
    began: float

    def run(self, data_dir: Path | None) -> None:
        """Run the study in its folder, which is held."""
        from burnish.runner.run import run_study

        memory = self.placing.memory()
        study, text = self.study.check()
        observer = self.teller.observer()
        try:
            with self.placing.open(study, self.workers, self.folder, observer.on_note) as placement:
                run_study(
                    study,
                    text,
                    self.folder,
                    data_dir=data_dir,
                    observer=observer,
                    command=self.command,
                    workers=self.workers,
                    minutes=self.minutes,
                    memory_per_worker=memory,
                    check_disk=self.check_disk,
                    placement=placement,
                    began=self.began,
                )
        finally:
            observer.close()


def _study_images(
    source: Source, out: Path | None, values: Values, reading: ReadingKeywords, teller: Teller
) -> StudyText:
    """Say what is wrong with images, and see to it that their study is beside the run folder."""
    from burnish.files import write_whole

    assert isinstance(source, str | os.PathLike)
    check_before_run(Path(source), reading, teller)
    study = find_study(source, out, values, quiet=teller.is_quiet, **reading)
    file = study.images_file
    assert file is not None
    if file.exists():
        teller.say(f"study:  {file}, which was there")
    else:
        write_whole(file, study.text.encode())
        teller.say(f"study:  {file}")
    return study
