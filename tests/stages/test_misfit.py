"""What ``burnish check`` passes is taken by ``init`` and by its study, and nothing else is."""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from burnish.data import prepare
from burnish.data.check import check_data
from burnish.errors import DataError
from burnish.stages.misfit import refuse_misfit
from burnish.study.init import advise, init_study
from burnish.study.parse import load_study
from burnish.study.source import load_data

from ..study.test_init import make_dataset

Row = tuple[int, int, int, str]
"""Label, content, group and split of an image; equal contents are equal images."""

IMAGES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that many data sets are made of."""
    root = tmp_path_factory.mktemp("images")
    for number in range(IMAGES):
        pixels = np.full((8, 8), 4 * number, np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    return root


def rows(splits: list[str]) -> st.SearchStrategy[list[Row]]:
    """Two or three classes, of 1 to 14 images each; few of them alike, or of one writer."""

    def of_class(label: int) -> st.SearchStrategy[list[Row]]:
        own = st.integers(IMAGES // 3 * label, IMAGES // 3 * (label + 1) - 1)
        shared = st.integers(0, IMAGES - 1)
        content = st.one_of(*[own] * 7, shared)
        row = st.tuples(st.just(label), content, st.integers(0, 20), st.sampled_from(splits))
        return st.integers(1, 9).flatmap(lambda least: st.lists(row, min_size=least, max_size=14))

    classes = st.integers(2, 3).flatmap(lambda num: st.tuples(*map(of_class, range(num))))
    return classes.map(lambda parts: [row for part in parts for row in part])


TWELVE_ALIKE = [(0, number, 0, "train") for number in range(12)] + [(1, 40, 0, "train")] * 12
FEW_GROUPS = [(label, 12 * label + i, i % 2, "train") for label in range(2) for i in range(12)]
SIX_OF_TWO_WRITERS = [
    (label, 12 * label + i, 10 * label + i // 2, "train") for label in range(2) for i in range(8)
]


@pytest.mark.filterwarnings("ignore:The least populated class")
@given(
    data=st.one_of(
        rows(["train"]),
        rows(["train"]),
        rows(["train"] * 5 + ["val", "test"]),
        rows(["train", "test"]),
    ),
    grouped=st.booleans(),
    seed=st.integers(0, 5),
)
@example(data=TWELVE_ALIKE, grouped=False, seed=1)
@example(data=FEW_GROUPS, grouped=True, seed=1)
@example(data=SIX_OF_TWO_WRITERS, grouped=True, seed=1)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_check_refuses_what_init_and_its_study_refuse(
    folder: Path, data: list[Row], grouped: bool, seed: int
) -> None:
    group = "writer" if grouped else None
    with tempfile.TemporaryDirectory(dir=folder) as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        table = write_table(Path(scratch), folder, data)
        found = check_data(table, group=group)
        refusal = try_study(table, group, Path(scratch) / "made.toml", seed)
    event(f"{'grouped' if grouped else 'alone'}, {'taken' if refusal is None else 'refused'}")
    assert found["is_refused"] == (refusal is not None), (found["problems"], refusal)
    if refusal is not None:
        assert found["problems"], refusal


def write_table(root: Path, images: Path, data: list[Row]) -> Path:
    path = root / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "writer", "split"])
        for number, (label, content, group, split) in enumerate(data):
            os.link(images / f"{content}.png", root / f"{number}.png")
            writer.writerow([f"{number}.png", f"c{label}", f"w{group}", split])
    return path


def try_study(table: Path, group: str | None, out: Path, seed: int) -> str | None:
    """Make a study of a data set, load it with another seed, and give why it was refused."""
    try:
        study, _ = load_study(str(init_study(table, out, group=group)), [f"study.seed={seed}"])
        loaded, _ = prepare(load_data(study.data, None), study.data.split.sizes(), study.seed)
        refuse_misfit(study, loaded)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("size", [(8, 8), (8, 256), (256, 8), (30, 256), (256, 256)])
def test_the_networks_of_an_own_study_suit_images_of_any_size(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (12, *size), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=pixels, y=np.arange(12) % 2)
    study, _ = load_study(str(init_study(tmp_path / "x.npz", tmp_path / "x.toml")))
    raw = load_data(study.data, None)
    loaded, _ = prepare(raw, study.data.split.sizes(), study.seed)
    refuse_misfit(study, loaded)


def test_folds_are_advised_where_they_can_be_cut() -> None:
    assert advise(make_dataset([20, 20])).folds == 3
