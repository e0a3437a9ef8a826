from __future__ import annotations

import numpy as np

from burnish.augmentation import Augmentation
from burnish.data import Split
from burnish.features.views import Views

from ..support.photographs import cut_photographs

AUGMENTATION = Augmentation({"crop_range": 0.3, "horizontal_flip": True})
IMAGES = cut_photographs(10, 24)
SPLIT = Split(IMAGES, np.zeros(10, np.int32))


def test_view_0_is_the_image_and_the_others_are_not() -> None:
    views = Views(AUGMENTATION, 4, SPLIT)
    assert len(views) == 40
    pixels = views.read(0, 40).reshape(10, 4, 24, 24, 3)
    np.testing.assert_array_equal(pixels[:, 0], IMAGES)
    for view in range(1, 4):
        assert (np.abs(pixels[:, view] - IMAGES).mean(axis=(1, 2, 3)) > 1).all()
    # They differ from one another, and within one view images are not all changed alike.
    assert np.abs(pixels[:, 1] - pixels[:, 2]).mean() > 1
    drawn = [AUGMENTATION.draw(np.random.default_rng(v), 10, (24, 24, 3)) for v in range(2)]
    assert not np.array_equal(drawn[0], drawn[1])


def test_a_view_does_not_depend_on_how_they_are_divided() -> None:
    views = Views(AUGMENTATION, 3, SPLIT)
    whole = views.read(0, 30)
    for at_once in (1, 2, 7, 16):
        pieces = [views.read(i, min(i + at_once, 30)) for i in range(0, 30, at_once)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_more_views_leave_the_first_ones_what_they_are() -> None:
    few = Views(AUGMENTATION, 2, SPLIT).read(0, 20).reshape(10, 2, -1)
    many = Views(AUGMENTATION, 5, SPLIT).read(0, 50).reshape(10, 5, -1)
    np.testing.assert_array_equal(many[:, :2], few)


def test_views_are_of_the_rows_of_a_split() -> None:
    rows = SPLIT.take([7, 2])
    np.testing.assert_array_equal(Views(AUGMENTATION, 2, rows).read(0, 4)[::2], IMAGES[[7, 2]])
