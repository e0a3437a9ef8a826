"""``burnish.open`` and `Run`: what a run folder holds, for Python programs and notebooks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.api.stage import RunStage
from burnish.api.study import Study
from burnish.errors import RunFolderError, StudyError, name_what_exists
from burnish.runfolder.status import describe_run
from burnish.runfolder.store import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from burnish.api.table import Table
    from burnish.bundle.model import Model


@dataclass(frozen=True)
class TestResult:
    """What the final stage measured on the sealed test split.

    Attributes
    ----------
    accuracy
        Share of the images that were classified rightly, 0 to 1.
    interval
        Its 95 % interval (Wilson).
    loss
        Cross-entropy in nats.
    num_images
        Images of the split.
    readings
        How often it was read; more than once only by ``burnish evaluate --again``.
    """

    accuracy: float
    interval: tuple[float, float]
    loss: float
    num_images: int
    readings: int


class Stages(dict[str, RunStage]):
    """The stages of a run by name, in their order."""

    def __missing__(self, name: str) -> RunStage:
        raise StudyError(name_what_exists("stage", name, self))


class Run:
    """What a run folder holds; `run` and `open` return it.

    Everything is read from the folder when it is asked for, so that a run that goes on may be
    looked at too.

    Attributes
    ----------
    path
        The run folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._folder = RunFolder(self.path)
        self._folder.check()

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self._describe()["study"])

    @property
    def state(self) -> str:
        """``running``, ``done``, ``interrupted`` or ``failed``."""
        return str(self._describe()["state"])

    @property
    def seconds(self) -> float:
        """Time that the run has taken."""
        return float(self._describe()["seconds"])

    @property
    def study(self) -> Study:
        """The study that ran: as it was given, or planned for its minutes."""
        return Study.from_toml(self._folder.study_file)

    @property
    def stages(self) -> Stages:
        """The stages by name, in their order: ``run.stages["head"].trials``."""
        done = {record.name: record for record in self._folder.stages()}
        return Stages(
            (found["name"], RunStage(number, found, done.get(found["name"]), self._folder))
            for number, found in enumerate(self._describe()["stages"], start=1)
        )

    @property
    def chosen(self) -> str:
        """Name of the stage whose model was chosen, by its validation loss.

        Raises
        ------
        RunFolderError
            Before the final stage.
        """
        return str(self._final()["chosen"])

    @property
    def test(self) -> TestResult:
        """What was measured on the sealed test split.

        Raises
        ------
        RunFolderError
            Before the final stage.
        """
        test = self._final()["test"]
        low, high = test["accuracy_interval"]
        return TestResult(
            accuracy=float(test["accuracy"]),
            interval=(float(low), float(high)),
            loss=float(test["loss"]),
            num_images=int(test["num_images"]),
            readings=len(self._folder.readings()),
        )

    @cached_property
    def model(self) -> Model:
        """The finished model, as `load` returns it.

        Raises
        ------
        BundleError
            If there is none yet, or it is damaged.
        """
        from burnish.bundle.model import load

        return load(self.path)

    @property
    def plots(self) -> tuple[str, ...]:
        """Names of the figures that `plot` draws, those of the report.

        Raises
        ------
        RunFolderError
            Before the first stage is done.
        """
        from burnish.report.analysis.account import read_account
        from burnish.report.plots import list_plots

        return tuple(list_plots(read_account(self._folder)))

    def plot(self, name: str) -> Figure:
        """Draw a figure of the report.

        Parameters
        ----------
        name
            One of `plots`.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it as the report does.

        Raises
        ------
        RunFolderError
            If there is none of this name.
        """
        from burnish.report.analysis.account import read_account
        from burnish.report.plots import draw_plot

        return draw_plot(read_account(self._folder), name)

    def mistakes(self) -> Table:
        """Return the wrong test images, those with the most confidence first.

        Returns
        -------
        DataFrame or structured array
            With ``file`` (empty where the data has no names), ``number`` of the image in the test
            split, ``label``, ``predicted``, ``probability`` of that and ``label_probability``.

        Raises
        ------
        RunFolderError
            Before the final stage.
        """
        from burnish.api.table import make_table
        from burnish.report.tables import COLUMNS, list_mistakes

        self._final()
        rows = list_mistakes(self._folder)
        return make_table({name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)})

    def report(self, *, show: bool = True) -> Path:
        """Write the report, and open its page.

        Parameters
        ----------
        show
            Open it in a browser, or link to it in a notebook; else it is only written.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        RunFolderError
            Before the first stage is done.
        """
        from burnish.report import write_report

        page = write_report(self._folder)
        if show:
            from burnish.api.notebook import show_page

            show_page(page)
        return page

    def export(
        self,
        format: str,
        out: str | os.PathLike[str] | None = None,
        *,
        quantize: bool = False,
    ) -> Path:
        """Write the model in another format, as ``burnish export`` does.

        Parameters
        ----------
        format
            A network's, such as ``onnx``, ``litert`` or ``keras``; or ``zip``, the whole bundle.
        out
            What to write; by default the study's name with the format's ending.
        quantize
            Whether to export in int8.

        Raises
        ------
        ExportError
            If there is no such format, or the export would not be the same model.
        """
        from burnish.runner.export import export_finished

        target = None if out is None else Path(out)
        return export_finished(self.path, format, target, quantize=quantize).path

    def to_mlflow(self, uri: str) -> str:
        """Log the run to MLflow, with its stages and trials.

        Parameters
        ----------
        uri
            Tracking URI, for example ``http://localhost:5000`` or ``sqlite:///mlflow.db``.

        Returns
        -------
        str
            MLflow's identifier of the run.

        Raises
        ------
        RunFolderError
            If MLflow does not take it.
        """
        from burnish.report.tracking import log_to_mlflow

        return log_to_mlflow(self._folder, uri)

    def _describe(self) -> dict[str, Any]:
        return describe_run(self._folder)

    def _final(self) -> dict[str, Any]:
        for record in self._folder.stages():
            if record.kind == "final":
                return record.result
        raise RunFolderError(
            f"{self.path} has no final stage yet (it is {self.state}), and its test split is "
            "sealed; run it to its end"
        )

    def __repr__(self) -> str:
        from burnish.api.notebook import describe_in_a_line

        return describe_in_a_line(self._describe(), self.path)

    def _repr_html_(self) -> str:
        from burnish.api.notebook import write_summary

        return write_summary(self._folder, self._describe())


def open(path: str | os.PathLike[str]) -> Run:
    """Open a run folder, of a run that is done, goes on, or was stopped.

    Parameters
    ----------
    path
        The run folder, such as ``runs/photos``.

    Raises
    ------
    RunFolderError
        If it is no run folder.
    """
    return Run(path)
