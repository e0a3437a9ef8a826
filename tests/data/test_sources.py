from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import burnish.data
from burnish.data import (
    SOURCES,
    LabelledImages,
    Source,
    Split,
    SplitSizes,
    load_source,
    prepare,
)
from burnish.data.conformance import check_source
from burnish.data.digits import load_digits
from burnish.errors import DataError


def test_the_sources_that_ship() -> None:
    assert SOURCES.names() == ("digits", "mnist")


def test_an_unknown_source_says_what_exists() -> None:
    with pytest.raises(DataError, match=r"unknown source 'minst'; did you mean 'mnist'\? There"):
        load_source("minst", None)


def test_a_new_source_is_one_registration(
    plug_in: Callable[[Any, Any], None], tmp_path: Path
) -> None:
    given = []

    def load(data_dir: Path | None) -> LabelledImages:
        given.append(data_dir)
        return load_digits(None)

    plug_in(SOURCES, Source("mine", load))
    assert "mine" in SOURCES
    assert len(load_source("mine", tmp_path).train) == 1797
    assert given == [tmp_path]
    with pytest.raises(ValueError, match="the source 'mine' is registered already"):
        SOURCES.register(Source("mine", load))


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, burnish.data; "
        "print([m for m in ('sklearn', 'rich', 'urllib.request') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(burnish.data.__file__).parents[2])},
    )
    assert done.stdout.strip() == "[]"


def test_digits_keep_the_contract() -> None:
    raw = check_source(SOURCES.find("digits"), data_dir=None)
    assert raw.source == "digits"
    assert raw.test is None
    assert raw.class_names == tuple("0123456789")
    assert raw.train.images.shape == (1797, 8, 8, 1)
    # The first scan is a zero whose third pixel is 5 of 16.
    assert raw.train.labels[0] == 0
    assert raw.train.images[0, 0, 2, 0] == round(5 * 255 / 16) == 80
    assert (raw.train.images.min(), raw.train.images.max()) == (0, 255)
    assert len(np.unique(raw.train.images)) == 17


def test_digits_are_cut_to_size() -> None:
    raw = load_source("digits", None)
    dataset, sealed = prepare(raw, SplitSizes(train=0.6, val=0.2, test=0.2), seed=42)
    assert (len(dataset.train), len(dataset.val), sealed.num_images) == (1078, 360, 359)
    share = np.bincount(raw.train.labels) / 1797
    for split in (dataset.train, dataset.val, sealed.open()):
        assert np.all(np.abs(np.bincount(split.labels) - share * len(split)) < 1)


def make_images(top: int = 255) -> LabelledImages:
    images = np.full((40, 2, 2, 1), top, np.uint8)
    return LabelledImages(
        "made", Split(images, np.arange(40, dtype=np.int32) % 2), None, ("a", "b")
    )


def test_the_check_finds_what_breaks_the_contract() -> None:
    def check(load: Callable[[Path | None], LabelledImages], name: str = "made") -> LabelledImages:
        return check_source(Source(name, load), None)

    assert check(lambda data_dir: make_images()).source == "made"
    with pytest.raises(AssertionError, match=r"gives LabelledImages; this one gave list"):
        check(lambda data_dir: [])  # type: ignore[arg-type, return-value]
    with pytest.raises(AssertionError, match="bear the source's name, 'other'; found 'made'"):
        check(lambda data_dir: make_images(), "other")
    with pytest.raises(AssertionError, match=r"largest is 1\. Were they scaled to 0\.\.1 first"):
        check(lambda data_dir: make_images(top=1))

    tops = iter((255, 254))
    with pytest.raises(AssertionError, match="two loads give the same train images"):
        check(lambda data_dir: make_images(next(tops)))

    def load_with_a_class_of_nothing(data_dir: Path | None) -> LabelledImages:
        return LabelledImages("made", make_images().train, None, ("a", "b", "never"))

    with pytest.raises(AssertionError, match=r"every class has training images; none of \['never"):
        check(load_with_a_class_of_nothing)
