"""Training: one fit, from a request to weights and a history."""

from burnish.training.fit import fit, predict_val, restore_model
from burnish.training.frozen import find_feature_set, freeze, imitate
from burnish.training.request import Epoch, FitRequest, FitResult, Progress, Start, TrainingSettings

__all__ = [
    "Epoch",
    "FitRequest",
    "FitResult",
    "Progress",
    "Start",
    "TrainingSettings",
    "find_feature_set",
    "fit",
    "freeze",
    "imitate",
    "predict_val",
    "restore_model",
]
