"""What `burnish verify` finds beside damage, which tests/faults/test_damage.py causes."""

from __future__ import annotations

from pathlib import Path

import pytest

from burnish.files import write_json
from burnish.runfolder.store import RunFolder
from burnish.runfolder.verify import verify_run


@pytest.mark.parametrize("name", ["plain", "a?b", "c%20d", "e#f"])
def test_a_database_of_trials_that_is_not_there_is_missing(name: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / name)
    write_json(run.path / "state.json", {"study": "s", "state": "running", "readings": 0})
    assert not any(finding.path == run.trials for finding in verify_run(run))
    write_json(run.path / "stages" / "01-tuned" / "trials" / "0000" / "trial.json", {"number": 0})
    (found,) = [finding for finding in verify_run(run) if finding.path == run.trials]
    assert found.problem == "missing"
    assert "The same 'burnish run' writes it anew" in found.detail
    run.trials.write_bytes(b"no database")
    (found,) = [finding for finding in verify_run(run) if finding.path == run.trials]
    assert found.problem == "damaged"
