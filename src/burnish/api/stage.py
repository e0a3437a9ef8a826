"""One stage of a run, for Python programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from burnish.runfolder.store import RunFolder, StageRecord, read_trials

if TYPE_CHECKING:
    from burnish.api.table import Table

_TRIAL_COLUMNS = ("number", "bracket", "state", "loss", "std", "accuracy", "epochs", "seconds")


class RunStage:
    """One stage of a run: what it found, and how; `Run.stages` has them by name.

    Parameters
    ----------
    number, described
        Its place, from 1, and what ``burnish status`` says of it.
    record
        What it left; ``None`` before it is done.
    folder
        The run folder.
    """

    def __init__(
        self,
        number: int,
        described: Mapping[str, Any],
        record: StageRecord | None,
        folder: RunFolder,
    ) -> None:
        self._described = described
        self._record = record
        self._path = folder.stage(number, str(described["name"]))

    @property
    def name(self) -> str:
        """Name of the stage."""
        return str(self._described["name"])

    @property
    def kind(self) -> str:
        """``train``, ``tune`` or ``final``."""
        return str(self._described["kind"])

    @property
    def state(self) -> str:
        """``pending``, ``running``, ``done``, ``interrupted`` or ``failed``."""
        return str(self._described["state"])

    @property
    def params(self) -> dict[str, Any]:
        """Hyperparameters of its model: those that won; empty until it is done."""
        return dict(self._described["params"] or {})

    @property
    def val_loss(self) -> float | None:
        """Loss on the validation images, in nats; ``None`` until it is done."""
        return self._number("val_loss")

    @property
    def val_accuracy(self) -> float | None:
        """Accuracy on the validation images, 0 to 1; ``None`` until it is done."""
        return self._number("val_accuracy")

    @property
    def epochs(self) -> float | None:
        """Epochs of the fit of its model; ``None`` until it is done."""
        return self._number("epochs")

    @property
    def seconds(self) -> float | None:
        """Time that it took; ``None`` until it is done."""
        return self._number("seconds")

    @property
    def history(self) -> Table:
        """Its fit, a row per epoch: losses, accuracies, learning rate; empty until it is done."""
        from burnish.api.table import make_table
        from burnish.runfolder.tables import HISTORY_COLUMNS

        rows = [] if self._record is None else self._record.history()
        return make_table({name: [row[name] for row in rows] for name in HISTORY_COLUMNS})

    @property
    def trials(self) -> Table:
        """Its trials so far, a row each, params in columns of their own; empty if it is no search.

        Columns that all have: ``number``, ``bracket``, ``state``, ``loss``, ``std`` (over folds),
        ``accuracy``, ``epochs``, ``seconds`` and, last, ``failure``.
        """
        from burnish.api.table import make_table

        trials = read_trials(self._path)
        params = list(trials[0]["params"]) if trials else []
        columns = {name: [trial[name] for trial in trials] for name in _TRIAL_COLUMNS}
        columns |= {name: [trial["params"][name] for trial in trials] for name in params}
        return make_table({**columns, "failure": [trial["failure"] or "" for trial in trials]})

    def _number(self, key: str) -> float | None:
        value = self._described[key]
        return None if value is None else float(value)

    def __repr__(self) -> str:
        loss = "" if self.val_loss is None else f", val loss {self.val_loss:.4f}"
        accuracy = "" if self.val_accuracy is None else f", val accuracy {self.val_accuracy:.2%}"
        return f"<stage '{self.name}', {self.kind}: {self.state}{loss}{accuracy}>"
