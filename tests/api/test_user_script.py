"""A user's script, written before reading the reference: it must do what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import burnish

from .studies import TINIER, write_digits

SCRIPT = """
import pandas as pd
from sklearn.model_selection import train_test_split

import burnish

table = pd.read_csv("images.csv")
rest, held_out = train_test_split(table, test_size=0.2, stratify=table["label"], random_state=0)
rest.to_csv("rest.csv", index=False)

study = burnish.Study.from_toml("mine.toml").with_images("rest.csv", on_bad_image="skip")
runs = []
for seed in (1, 2, 3):
    seeded = study.with_values({"study.seed": seed})
    runs.append(burnish.run(seeded, out=f"runs/seed-{seed}", verbose=False, report=False))

results = pd.DataFrame(
    {
        "seed": [run.study.seed for run in runs],
        "val_loss": [run.stages[run.chosen].val_loss for run in runs],
        "test": [run.test.accuracy for run in runs],
        "low": [run.test.interval[0] for run in runs],
        "high": [run.test.interval[1] for run in runs],
    }
)
print(results)
burnish.compare(runs, out="seeds.html")

best = min(runs, key=lambda run: run.stages[run.chosen].val_loss)
best.plot("confusion").savefig("confusion.png")
labels, probabilities = best.model.predict(held_out["path"].tolist())
print("held out:", (pd.Series(labels) == held_out["label"].reset_index(drop=True)).mean())
best.export("onnx", "best.onnx")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working folder with a table of images, and a study of the user's."""
    images = write_digits(tmp_path / "images", 160)
    rows = [(str(p.relative_to(tmp_path)), p.parent.name) for p in sorted(images.rglob("*.png"))]
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(tmp_path / "images.csv", index=False)
    burnish.Study.from_dict(TINIER).write(tmp_path / "mine.toml")
    return tmp_path


def test_the_script_does_what_it_says(place: Path) -> None:
    """It takes some seconds: three studies are run."""
    (place / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=place,
        env={**os.environ, "XDG_CACHE_HOME": str(place / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["seed", "val_loss", "test", "low", "high"]
    assert [line.split()[1] for line in lines[1:4]] == ["1", "2", "3"]
    assert float(lines[-1].removeprefix("held out: ")) > 0.9
    for name in ("best.onnx", "confusion.png", "seeds.html"):
        assert (place / name).stat().st_size > 1000
