"""Who wants to know how a run goes on: what the stage loop tells, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The status command observes nothing, and must not wait for TensorFlow.
    from burnish.data import Dataset
    from burnish.training import Progress
    from burnish.tuning.trial import Trial


class Observer:
    """Is told what happens in a run, in the order in which it happens; this one keeps quiet."""

    def images_decoded(self, num_done: int, num_images: int) -> None:
        """So many of the images have been decoded."""

    def data_loaded(self, dataset: Dataset, num_test: int) -> None:
        """The data has been read and cut."""

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        """A stage begins; stages count from 1."""

    def fit_progressed(self, progress: Progress) -> None:
        """The stage's fit has done some steps."""

    def search_started(self, num_trials: int, epochs: float) -> None:
        """A tuning stage begins to search: at most so many trials and epochs in all."""

    def trial_finished(self, trial: Trial, best: Trial | None) -> None:
        """A trial has finished a round; ``best`` is the best so far."""

    def refit_started(self, best: Trial) -> None:
        """A tuning stage's winner is trained again."""

    def stage_finished(self, result: Mapping[str, Any], *, reused: bool) -> None:
        """A stage is done; ``reused`` where its result stood in the run folder already."""

    def on_note(self, message: str) -> None:
        """Something a person should know."""
