"""``ImageClassifier`` by scikit-learn's conventions, and by scikit-learn's own checks."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import burnish
from burnish.errors import DataError, StudyError

from .studies import TINIER, write_digits

# Keras 3.15 asks NumPy 2 for arrays of variables in a way that NumPy means to end.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DIGITS = load_digits(n_class=3)
IMAGES: NDArray[Any] = (DIGITS.images * 15).astype(np.uint8)
NAMES = np.array(["zero", "one", "two"])[DIGITS.target]


def make(**changed: Any) -> burnish.ImageClassifier:
    """An estimator that is fitted in seconds."""
    study = burnish.Study.from_dict(TINIER).with_values({"training.max_epochs": 20})
    return burnish.ImageClassifier(**{"study": study, "minutes": None, "workers": 1, **changed})


@pytest.fixture(scope="module")
def fitted() -> burnish.ImageClassifier:
    return make().fit(IMAGES[:300], NAMES[:300])


def test_it_predicts_the_labels_that_it_was_given(fitted: burnish.ImageClassifier) -> None:
    assert fitted.classes_.tolist() == ["one", "two", "zero"]
    assert fitted.score(IMAGES[300:], NAMES[300:]) > 0.9
    probabilities = fitted.predict_proba(IMAGES[300:])
    assert probabilities.shape == (len(IMAGES) - 300, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    found = fitted.classes_[probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(fitted.predict(IMAGES[300:]), found)
    assert fitted.run_.test.accuracy > 0.9
    assert fitted.run_.model.class_names == ("one", "two", "zero")


def test_images_come_in_many_forms(fitted: burnish.ImageClassifier, tmp_path: Path) -> None:
    expected = fitted.predict_proba(IMAGES[:6])
    pictures = [Image.fromarray(image) for image in IMAGES[:6]]
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    texts = [str(path) for path in paths]
    forms: list[Any] = [
        IMAGES[:6, :, :, None],
        list(IMAGES[:6]),
        pictures,
        paths,
        texts,
        np.array(texts),
        pd.Series(texts),
        pd.DataFrame({"file": texts}),
    ]
    for form in forms:
        np.testing.assert_array_equal(fitted.predict_proba(form), expected)


@pytest.mark.parametrize("form", ["paths", "pictures"])
def test_it_learns_from_files_and_pictures(form: str, tmp_path: Path) -> None:
    write_digits(tmp_path / "images", 140)
    paths = sorted(tmp_path.rglob("*.png"))
    labels = [int(path.parent.name[1:]) for path in paths]
    images: list[Any] = list(paths)
    if form == "pictures":  # Of several sizes, so that they are no array.
        images = [Image.open(path).resize((8 + at % 2, 8)) for at, path in enumerate(paths)]
    out = tmp_path / "run"
    fitted = make(out=out).fit(images[::2], labels[::2])  # Beside files that are held out.
    assert fitted.classes_.tolist() == [0, 1]
    assert fitted.score(images, labels) > 0.9
    assert burnish.open(out).test == fitted.run_.test


def test_a_pickled_one_has_its_bundle_and_no_run(fitted: burnish.ImageClassifier) -> None:
    other = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict_proba(IMAGES[:9]), fitted.predict_proba(IMAGES[:9]))
    assert not hasattr(other, "run_")
    path = fitted.run_.path
    assert path.is_dir()
    del other
    assert path.is_dir()  # It goes with the first alone.


def test_its_run_goes_with_it() -> None:
    fitted = make().fit(IMAGES[:100], NAMES[:100])
    path = fitted.run_.path
    assert path.is_dir()
    del fitted
    assert not path.exists()


def test_it_works_in_a_pipeline_and_in_cross_validation() -> None:
    rows = IMAGES[:200].reshape(200, 64)
    pipeline = make_pipeline(FunctionTransformer(), make(image_shape=(8, 8), random_state=3))
    scores = cross_val_score(clone(pipeline), rows, NAMES[:200], cv=2)
    assert scores.min() > 0.8


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES.reshape(-1, 64), NAMES, r"of rows of pixels say image_shape"),
        (IMAGES, NAMES[:-1], "got 537 images and 536 labels"),
        (IMAGES, np.zeros(len(IMAGES), int), "one class"),
        (IMAGES, None, "requires y"),
        (IMAGES.astype(complex), NAMES, "pixels are real numbers"),
        (np.where(IMAGES > 200, np.nan, IMAGES), NAMES, "NaN"),
        ("photos", ["a"], "got str; expected an array"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), ["a"], "one column of paths"),
    ],
)
def test_what_are_no_images_is_refused(images: Any, labels: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make().fit(images, labels)


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="did you mean 'digits'"):
        make(study="digts").fit(IMAGES, NAMES)
    with pytest.raises(DataError, match=r"gone0\.png"):
        make().fit([tmp_path / f"gone{at}.png" for at in range(20)], ["a", "b"] * 10)


SLOW = {
    "check_classifiers_classes",
    "check_classifiers_train",
    "check_estimators_dtypes",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_estimators_fit_returns_self",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_classifier_data_not_an_array",
    "check_fit2d_predict1d",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_supervised_y_2d",
}
"""Checks that fit once or more often; 'make torture' runs them."""

DO_NOT_APPLY = {
    "check_array_api_input": "images are arrays of NumPy, files or pictures",
}
"""scikit-learn's checks that are not for images, with the reason."""


# Rows are images of one line: scikit-learn's checks have rows of 1 to 20 numbers.
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [make(image_shape=(1, -1))], expected_failed_checks=lambda estimator: DO_NOT_APPLY
)
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    name = getattr(check, "func", check).__name__
    if name in SLOW and "BURNISH_TORTURE" not in os.environ:
        pytest.skip("fits; 'make torture' runs it")
    check(estimator)
