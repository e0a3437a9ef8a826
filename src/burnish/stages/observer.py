"""Who wants to know how a run goes on: what the stage loop tells, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # The status command observes nothing, and must not wait for TensorFlow.
    from burnish.data import Dataset
    from burnish.training import Progress
    from burnish.tuning.trial import Trial


class Observer:
    """Receives the events of a run in their order; this base class ignores them."""

    def images_decoded(self, num_done: int, num_images: int) -> None:
        """``num_done`` of the images have been decoded."""

    def data_loaded(self, dataset: Dataset, num_test: int) -> None:
        """The data has been read and split."""

    def features_computed(self, num_done: int, num_views: int) -> None:
        """The frozen part of the stage's network has been applied to so many views of images."""

    def stage_started(self, number: int, num_stages: int, name: str, detail: str) -> None:
        """A stage begins; stages count from 1."""

    def fit_progressed(self, progress: Progress) -> None:
        """The stage's fit has finished some steps."""

    def search_started(self, num_trials: int, epochs: float) -> None:
        """A tuning stage begins to search, with at most this many trials and epochs in total."""

    def trial_finished(self, trial: Trial, best: Trial | None) -> None:
        """A trial has finished a round; ``best`` is the best so far."""

    def refit_started(self, best: Trial) -> None:
        """A tuning stage's winner is trained again."""

    def stage_finished(self, result: Mapping[str, Any], *, reused: bool) -> None:
        """A stage is done; ``reused`` means that its result was in the run folder already."""

    def on_note(self, message: str) -> None:
        """A message for the user."""
