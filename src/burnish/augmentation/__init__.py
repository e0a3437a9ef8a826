"""Random changes of training images: rotation, zoom, shift, mirroring, and those of plug-ins."""

from burnish.augmentation.augmentation import Augmentation
from burnish.augmentation.operation import Operation
from burnish.augmentation.operations import (
    OPERATIONS,
    augmentation_defaults,
    augmentation_limits,
)
from burnish.augmentation.pose import Pose

__all__ = [
    "OPERATIONS",
    "Augmentation",
    "Operation",
    "Pose",
    "augmentation_defaults",
    "augmentation_limits",
]
