"""Training: one fit, from a request to weights and a history."""

from burnish.training.fit import fit, freeze, predict_val, restore_model
from burnish.training.request import Epoch, FitRequest, FitResult, Progress, Start, TrainingSettings

__all__ = [
    "Epoch",
    "FitRequest",
    "FitResult",
    "Progress",
    "Start",
    "TrainingSettings",
    "fit",
    "freeze",
    "predict_val",
    "restore_model",
]
