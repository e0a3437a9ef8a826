"""Operation ``alternating-flip``: each image mirrored left to right in every other epoch.

In two epochs that follow each other both sides of every image are seen, where a coin for each
shows a quarter of them twice alike (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single
GPU", section 3.6).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from burnish.augmentation.operation import Drawn, ImageShape, Operation, Turn
from burnish.augmentation.pose import Pose
from burnish.space import Choice, Params, SearchSpace


def _draw_turn(turn: Turn, params: Params, image_shape: ImageShape) -> Drawn:
    """Return 1 where an image is mirrored in this epoch, else 0."""
    begins = _hash(turn.rows.astype(np.uint64) + _hash(np.array([turn.seed], np.uint64)))
    return ((begins + np.uint64(turn.epoch)) % 2).astype(np.float64)[:, None]


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble numbers (SplitMix64's last steps: Steele, Lea & Flood 2014, figure 16)."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _place(pose: Pose, drawn: Drawn) -> None:
    pose.is_mirrored = pose.is_mirrored ^ (drawn[:, 0] == 1)


ALTERNATING_FLIP = Operation(
    name="alternating-flip",
    # In place of horizontal_flip: of both together, chance decides again.
    defaults={"alternating_flip": False},
    limits=SearchSpace({"alternating_flip": Choice((False, True))}),
    num_drawn=1,
    draw_turn=_draw_turn,
    place=_place,
    only_mirrors=True,
)
