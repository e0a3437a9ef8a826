"""``burnish.ImageClassifier``: scikit-learn's conventions for what `burnish.run` does."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_is_fitted, validate_data

from burnish.api.given_images import name_classes, shape_rows, take_images, write_images
from burnish.api.run import run
from burnish.api.study import Study
from burnish.bundle.archive import pack
from burnish.bundle.model import Model, load

if TYPE_CHECKING:
    from numpy.random import RandomState


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The best classifier of images that some minutes can buy, by scikit-learn's conventions.

    A part of the images is held back: 15 % to choose by, 15 % to test the model on, once. A fitted
    one can be pickled; what is kept of it is its bundle.

    Parameters
    ----------
    minutes
        How long a fit may take; ``None`` for as long as the study says.
    study
        Whose stages are run, for other images: a `Study`, a study file or the name of one that
        ships. By default the study that suits the images.
    out
        The run folder; by default a temporary one, which goes with this object. What is written of
        images that have no files lies beside it.
    image_shape
        Height, width and perhaps channels of an image, where each comes as a row of pixels.
    random_state
        Seed of the study; by default the study's own, so that two fits give the same.
    workers
        Trials that run at once; by default one per core.
    verbose
        Tell on standard output how a fit goes on.

    Attributes
    ----------
    classes_
        The labels, sorted (num_classes,).
    run_
        The `Run` of the last fit; not of one that was pickled, unless ``out`` was given.
    n_features_in_
        Pixels of a row, where images come as rows.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> classifier = ImageClassifier(minutes=5)
    >>> classifier.fit(digits.images, digits.target).score(new, labels)  # doctest: +SKIP
    0.99
    """

    def __init__(
        self,
        *,
        minutes: float | None = 5.0,
        study: Study | str | os.PathLike[str] | None = None,
        out: str | os.PathLike[str] | None = None,
        image_shape: Sequence[int] | None = None,
        random_state: int | RandomState | None = None,
        workers: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.minutes = minutes
        self.study = study
        self.out = out
        self.image_shape = image_shape
        self.random_state = random_state
        self.workers = workers
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        """Find a model of images.

        Parameters
        ----------
        X
            An array (num_images, height, width) or (num_images, height, width, channels); a list
            of paths, Pillow images or arrays; a DataFrame with one column of paths; with
            ``image_shape`` also rows of pixels (num_images, num_pixels).
        y
            Label of each image (num_images,): texts or whole numbers.

        Raises
        ------
        ValueError
            If these are no images and labels.
        BurnishError
            If a study of them cannot be run.
        """
        images = self._take_images(X, reset=True)
        labels = self._take_labels(y, len(images))
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"all images have the label {self.classes_[0]!r}, one class; a classifier needs "
                "at least 2 classes"
            )
        self._names = name_classes(self.classes_)
        folder = Path(self.out or self._make_scratch() / "run")
        beside = folder.with_name(f"{folder.name}-images")
        written = write_images(images, [self._names[code] for code in codes], beside)
        study = (
            Study.of_images(written.path, name="images", verbose=self.verbose, **written.reading)
            if self.study is None
            else self._find_study(self.study).with_images(
                written.path, verbose=self.verbose, **written.reading
            )
        )
        if self.random_state is not None:
            seed = check_random_state(self.random_state).randint(2**31)
            study = study.with_values({"study.seed": int(seed)})
        self.run_ = run(
            study,
            minutes=self.minutes,
            out=folder,
            workers=self.workers,
            report=False,
            verbose=self.verbose,
        )
        archive = beside / "model.zip"
        pack(folder / "model", archive)
        self._bundle: bytes = archive.read_bytes()
        self._model: Model | None = load(archive)
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """Return the most probable label of each image (num_images,).

        Parameters
        ----------
        X
            Images, in any form that `fit` takes.
        """
        check_is_fitted(self)
        found: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Return the probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X
            Images, in any form that `fit` takes.

        Returns
        -------
        float64, shape (num_images, num_classes)
        """
        check_is_fitted(self)
        images = self._take_images(X, reset=False)
        if isinstance(images, np.ndarray) and images.ndim == 3:
            images = images[..., None]  # To a model, three axes are one image.
        model = self._open_model()
        found = model.predict(images).probabilities.astype(np.float64)
        columns = [model.class_names.index(name) for name in self._names]
        ordered: NDArray[np.float64] = found[:, columns] / found.sum(axis=1, keepdims=True)
        return ordered

    def _take_images(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        if self.image_shape is None:
            return take_images(X)
        return shape_rows(validate_data(self, X, reset=reset), self.image_shape)

    def _take_labels(self, y: Any, num_images: int) -> NDArray[Any]:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        labels: NDArray[Any] = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        if len(labels) != num_images:
            raise ValueError(f"got {num_images} images and {len(labels)} labels; expected as many")
        if not num_images:
            raise ValueError("got no images: found array with 0 sample(s)")
        return labels

    @staticmethod
    def _find_study(study: Study | str | os.PathLike[str]) -> Study:
        return study if isinstance(study, Study) else Study.from_toml(study)

    def _make_scratch(self) -> Path:
        """Return a folder for a run, which goes with this object."""
        folder = tempfile.mkdtemp("-burnish")
        self._scratch = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _open_model(self) -> Model:
        if self._model is None:
            with tempfile.TemporaryDirectory("-burnish") as scratch:
                archive = Path(scratch) / "model.zip"
                archive.write_bytes(self._bundle)
                self._model = load(archive)
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        # What is pickled: the parameters and the bundle, not a run that goes with this object.
        state: dict[str, Any] = {**super().__getstate__(), "_model": None}
        if state.pop("_scratch", None) is not None:
            state.pop("run_", None)
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.image_shape is not None
        tags.input_tags.three_d_array = tags.input_tags.string = True
        return tags
