"""The operations that there are. A new one is one file and one line here, or a plug-in."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.augmentation.alternating_flip import ALTERNATING_FLIP
from burnish.augmentation.color import COLOR
from burnish.augmentation.crop import CROP
from burnish.augmentation.cutmix import CUTMIX
from burnish.augmentation.cutout import CUTOUT
from burnish.augmentation.elastic import ELASTIC
from burnish.augmentation.flip import FLIP
from burnish.augmentation.mixup import MIXUP
from burnish.augmentation.operation import Operation
from burnish.augmentation.rotation import ROTATION
from burnish.augmentation.shift import SHIFT
from burnish.augmentation.zoom import ZOOM
from burnish.errors import StudyError
from burnish.recipe import RECIPE_LIMITS
from burnish.registry import Registry
from burnish.space import SearchSpace, Value


def _check(operation: Operation, others: Sequence[Operation]) -> None:
    operation.refuse_misuse()
    names = {*RECIPE_LIMITS.ranges, *(name for other in others for name in other.defaults)}
    taken = sorted(names & set(operation.defaults))
    if taken:
        raise ValueError(
            f"the augmentation '{operation.name}': the hyperparameter '{taken[0]}' is there "
            "already; choose another name"
        )


OPERATIONS: Registry[Operation] = Registry(
    "augmentation",
    StudyError,
    (
        ROTATION,
        ZOOM,
        SHIFT,
        FLIP,
        CROP,
        ALTERNATING_FLIP,
        ELASTIC,
        COLOR,
        CUTOUT,
        MIXUP,
        CUTMIX,
    ),
    _check,
)
"""In the order in which they draw and are applied."""


def augmentation_limits() -> SearchSpace:
    """Return what each hyperparameter of all operations may be."""
    return SearchSpace({n: r for op in OPERATIONS for n, r in op.limits.ranges.items()})


def augmentation_defaults() -> dict[str, Value]:
    """Return the hyperparameters that every fit names, with values that leave images as they are.

    An operation that came later, or a plug-in, and that nobody uses must not change the params,
    and so the fingerprint, of any stage.
    """
    named = [op for op in OPERATIONS if op.is_always_named]
    return {name: value for op in named for name, value in op.defaults.items()}
