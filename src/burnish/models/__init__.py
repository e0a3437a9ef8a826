"""Model families, their hyperparameters, and the building of models."""

from burnish.models.build import build_model
from burnish.models.count import count_operations, count_weights, sum_operations
from burnish.models.families import (
    FAMILIES,
    check_params,
    default_params,
    find_family,
    limits_of,
)
from burnish.models.family import Family

__all__ = [
    "FAMILIES",
    "Family",
    "build_model",
    "check_params",
    "count_operations",
    "count_weights",
    "default_params",
    "find_family",
    "limits_of",
    "sum_operations",
]
