"""docs/use-the-model.md, "Over HTTP": its commands are run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from burnish.image import InputSpec

from .bundles import draw_band, write_bundle, write_image
from .test_run import start

PAGE = Path(__file__).parents[2] / "docs" / "use-the-model.md"


def read_commands() -> list[list[str]]:
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^## ", text, flags=re.M)
    (mine,) = (part for part in section if part.startswith("Over HTTP"))
    blocks = re.findall(r"^```sh\n(.*?)^```$", mine, re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_what_the_page_says_of_http_works(tmp_path: Path) -> None:
    digits = tuple(str(number) for number in range(10))
    write_bundle(tmp_path / "runs/tiny/model", "tiny", InputSpec(8, 8, "grey"), digits)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/0.png").write_bytes(write_image(draw_band(0)))
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 1], "data": [0] * 64}
    (tmp_path / "tensor.json").write_text(json.dumps({"inputs": [tensor]}), encoding="utf-8")

    first, *rest = read_commands()
    assert first == ["burnish", "serve", "runs/tiny"]
    answers = []
    with start(str(tmp_path / "runs/tiny")) as (_, address):
        for command in rest:
            here = [part.replace("localhost:8000", address) for part in command]
            assert here[0] == "curl"
            done = subprocess.run(
                [*here, "--silent", "--fail"], capture_output=True, text=True, cwd=tmp_path
            )
            assert done.returncode == 0, (command, done.stderr)
            answers.append(done.stdout)
    predicted, cut, described, inferred, counted = answers
    assert json.loads(predicted)["label"] == "0"
    assert len(json.loads(cut)["classes"]) == 3
    assert json.loads(described)["name"] == "tiny"
    assert json.loads(inferred)["outputs"][0]["shape"] == [1, 10]
    assert 'burnish_images_total{model="tiny"} 3.0' in counted
