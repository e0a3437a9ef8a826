"""What a fit trains on: images, or what the frozen part of its network makes of them."""

from __future__ import annotations

from collections.abc import Callable

from burnish.augmentation import Augmentation
from burnish.data import Dataset
from burnish.errors import StudyError
from burnish.features import FeatureSet, compute_features
from burnish.models import find_family
from burnish.space import Params
from burnish.training.request import FitRequest


def freeze(
    request: FitRequest,
    dataset: Dataset,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Return what a fit trains on: images, or what the frozen part of its network makes of them.

    The latter is computed here unless it was before; a data set that is of a frozen part already
    is given back.

    Raises
    ------
    StudyError
        If the model does not fit the images.
    DataError
        If what is computed cannot be kept.
    """
    wanted = find_feature_set(request.model, request.params, dataset)
    return dataset if wanted is None else compute_features(wanted, on_progress)


def imitate(request: FitRequest, dataset: Dataset) -> Dataset:
    """Return what stands for :func:`freeze` where only its shape counts: nothing is computed.

    Raises
    ------
    StudyError
        If the model does not fit the images.
    """
    wanted = find_feature_set(request.model, request.params, dataset)
    return dataset if wanted is None else wanted.imitate()


def find_feature_set(model: str, params: Params, dataset: Dataset) -> FeatureSet | None:
    """Return the features that a fit trains on, whether they are there or not.

    ``None``: it trains on the data set as it is, of images or of what was made of them.

    Raises
    ------
    StudyError
        If the model does not fit the images.
    """
    if dataset.frozen:
        return None
    family = find_family(model)
    misfit = family.explain_misfit(params, dataset.image_shape)
    if misfit:
        raise StudyError(misfit)
    part = family.freeze(params, dataset.image_shape)
    return None if part is None else FeatureSet(dataset, part, Augmentation(params))
