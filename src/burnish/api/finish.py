"""``burnish.finish``: a run that was stopped ends with the best model that it has."""

from __future__ import annotations

import os
from pathlib import Path

from burnish.api.cluster import find_data_dir
from burnish.api.result import Run
from burnish.api.telling import make_teller
from burnish.child_processes import refuse_to_begin_again
from burnish.report import write_report
from burnish.runfolder.store import RunFolder


def finish(
    run: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    report: bool = True,
    verbose: bool = True,
) -> Run:
    """End a run with what it has: the best model of its finished stages is tested and reported.

    Stages that are not done are taken out of the run's study. Stop the run first, as with Ctrl-C.

    Parameters
    ----------
    run
        The run folder.
    data_dir, report, verbose
        As for `burnish.run`.

    Returns
    -------
    Run
        What the run folder holds.

    Raises
    ------
    BurnishError
        If it goes on in another process, if no stage is done, or if the images are not those of
        the run any more.
    """
    refuse_to_begin_again()
    folder = RunFolder(Path(run))
    folder.check()
    teller = make_teller(verbose=verbose)
    observer = teller.observer()
    with folder.lock():
        from burnish.runner.finish import cut_to_finished
        from burnish.runner.run import run_study
        from burnish.study.parse import parse_study

        text = cut_to_finished(folder)
        study, text = parse_study(text, str(folder.study_file), folder=folder.path)
        # The minutes are over: a plan would bring the other stages back.
        folder.plan.unlink(missing_ok=True)
        found = find_data_dir(None if data_dir is None else Path(data_dir))
        try:
            run_study(
                study,
                text,
                folder,
                data_dir=found,
                observer=observer,
                command=f"burnish finish {run}",
            )
        finally:
            observer.close()
        if report:
            teller.say(f"report: {write_report(folder)}")
        teller.say(f"model:  {folder.model}")
    return Run(folder.path)
