"""Training: one fit, from a request to weights and a history."""

from burnish.training.fit import fit, restore_model
from burnish.training.request import Epoch, FitRequest, FitResult, Progress, TrainingSettings

__all__ = [
    "Epoch",
    "FitRequest",
    "FitResult",
    "Progress",
    "TrainingSettings",
    "fit",
    "restore_model",
]
