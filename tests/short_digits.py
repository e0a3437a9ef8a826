"""Settings with which the study `digits` takes seconds rather than a minute."""

from __future__ import annotations

SHORT = (
    "training.max_epochs=4",
    "fnn-tuned.schedule.max_epochs=3",
    "cnn-tuned.trials=3",
    "cnn-tuned.schedule.min_epochs=1",
    "cnn-tuned.schedule.max_epochs=3",
    "augmented.trials=2",
    "augmented.schedule.max_epochs=1",
    "augmented.refit.max_epochs=3",
    "learning-rate.schedule.max_epochs=1",
    "learning-rate.refit.max_epochs=3",
)
"""The study digits with all its stages, in the time that a test has."""
