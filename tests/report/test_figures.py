"""A figure is one object in one list: the page finds it there, and asks nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure as Canvas

from burnish.errors import RunFolderError
from burnish.report import write_report
from burnish.report.analysis.facts import RunFacts, StageFacts
from burnish.report.analysis.final import FinalFacts
from burnish.report.figures import FIGURES, Drawing, Figure
from burnish.runfolder.store import RunFolder

from .fake_run import STAGES, make_run


@contextmanager
def registered(*figures: Figure[Any]) -> Iterator[None]:
    for figure in figures:
        FIGURES.register(figure)
    try:
        yield
    finally:
        for figure in figures:
            FIGURES.unregister(figure.name)


def plot(values: list[float], description: str, form: Any = "inline") -> Drawing:
    canvas = Canvas(figsize=(3.0, 2.0))
    canvas.subplots().scatter(range(len(values)), values, gid="dots")
    titles = {"dots": [f"value {value:g}" for value in values]}
    return Drawing(canvas, description, titles, form=form)


OF_THE_RUN = Figure[RunFacts](
    name="seconds",
    section="overview",
    applies=lambda facts: facts.source == "mnist",
    caption=lambda facts: f"Seconds of {len(facts.stages)} stages <i>.",
    draw=lambda facts: plot([stage.cost.seconds for stage in facts.stages], "Seconds & stages"),
)

OF_A_STAGE = Figure[StageFacts](
    name="rates",
    section="stage",
    applies=lambda facts: facts.name != "fnn",
    caption=lambda facts: f"Learning rates of {facts.name}.",
    draw=lambda facts: plot([row["learning_rate"] for row in facts.history], "Rates"),
    shape="half",
)

OF_THE_CURVE = Figure[StageFacts](
    name="curve",
    section="stage",
    applies=lambda _: True,
    caption=lambda _: "",
    draw=lambda _: plot([], ""),
)

OF_THE_TEST = Figure[FinalFacts](
    name="diagonal",
    section="final",
    applies=lambda _: True,
    caption=lambda _: "Right images of each class.",
    draw=lambda facts: plot(facts.counts.diagonal().tolist(), "Right images", "image"),
    file="right",
)


def read_page(run: RunFolder) -> str:
    return (run.report / "index.html").read_text(encoding="utf-8")


def find_caption(page: str, caption: str) -> re.Match[str]:
    """Return the figure that has a caption."""
    found = re.search(
        rf"<figure(?P<attributes>[^>]*)>(?:(?!</figure>).)*<figcaption>{re.escape(caption)}"
        r"</figcaption>\s*</figure>",
        page,
        re.DOTALL,
    )
    assert found is not None, caption
    return found


def test_a_figure_from_outside_is_one_object(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stages=STAGES[:2])
    write_report(run)
    before = read_page(run)
    with registered(OF_THE_RUN, OF_A_STAGE, OF_THE_TEST):
        write_report(run)
        page = read_page(run)
    overview = find_caption(page, "Seconds of 2 stages &lt;i&gt;.")
    stage = find_caption(page, "Learning rates of fnn-tuned.")
    final = find_caption(page, "Right images of each class.")
    # Each stands in its section, once for each that it applies to.
    starts = [page.index(f'id="{name}"') for name in ("stages", "evidence", "stage-02", "test")]
    assert starts[0] < overview.start() < starts[1]
    assert starts[2] < stage.start() < starts[3] < final.start()
    assert "Learning rates of fnn." not in page
    assert 'class="half" id="stage-02-rates"' in stage["attributes"]
    # It is drawn, described, has its values at the pointer, and lies beside the page.
    assert 'aria-label="Seconds &amp; stages"' in overview[0]
    assert "<title>value " in overview[0]
    assert '<img src="data:image/svg+xml;base64,' in final[0]
    files = {path.name for path in (run.report / "figures").iterdir()}
    assert {"seconds.png", "fnn-tuned-rates.svg", "right.svg"} <= files
    # Without it the page is what it was.
    write_report(run)
    assert read_page(run) == before
    assert not (run.report / "figures" / "seconds.png").exists()


def test_a_figure_that_does_not_apply_is_not_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", source="photos", stages=STAGES[:1])
    with registered(OF_THE_RUN):
        write_report(run)
    assert "Seconds of" not in html.unescape(read_page(run))
    assert not (run.report / "figures" / "seconds.svg").exists()


def test_names_are_taken_once_and_unknown_ones_are_named() -> None:
    with pytest.raises(ValueError, match="the figure 'curve' is registered already"):
        FIGURES.register(OF_THE_CURVE)
    with pytest.raises(RunFolderError, match=r"unknown figure 'curv'.*did you mean 'curve'"):
        FIGURES.find("curv")
