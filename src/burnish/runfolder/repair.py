"""What becomes of damage when a run goes on: it is set aside, and done again.

A stage is not lost for one file. What can be relied on stays, trials and a reading of the
test split above all; the damaged files move to ``superseded/``, and with them the stage's
result, so that the stage goes on as one that was interrupted before its end.
"""

from __future__ import annotations

import re
from pathlib import Path

from burnish.errors import RunFolderError
from burnish.files import read_json, write_json
from burnish.runfolder.clock import now
from burnish.runfolder.manifest import DRAWN, check_folder
from burnish.runfolder.manifest import FILE as MANIFEST
from burnish.runfolder.store import RunFolder

_CLAIMS = ("result.json", "begun.json", MANIFEST)
"""Files of a stage that say what it was begun with."""


def set_damage_aside(run: RunFolder, stage_dir: Path) -> list[str]:
    """Move what is damaged in a stage's folder out of the way.

    Parameters
    ----------
    run, stage_dir
        The run, and the folder of its stage.

    Returns
    -------
    What was found, a line each; nothing where all is well.

    Raises
    ------
    RunFolderError
        If a file may not be read: it may be as good as ever.
    """
    if not stage_dir.is_dir():
        return []
    finished = (stage_dir / "result.json").exists()
    found = [
        finding
        for finding in check_folder(stage_dir, finished=finished)
        if finding.problem != "unknown" and finding.path.name not in DRAWN
    ]
    if not found:
        return []
    for finding in found:
        if finding.problem == "unreadable":
            raise RunFolderError(
                f"{finding.detail}. Correct that, then give the same command again"
            )
    notes = [finding.detail for finding in found]
    fingerprint = _find_fingerprint(stage_dir)
    if fingerprint is None:
        # Nobody can say what the rest is of.
        kept = run.supersede(stage_dir)
        return [*notes, f"the stage is done again; it is kept in {kept.relative_to(run.path)}"]
    target = run.make_room(f"{stage_dir.name}-damaged")
    damaged = {finding.path for finding in found if finding.problem == "damaged"}
    for finding in found:
        damaged |= _find_claims(finding.path, stage_dir)
    if finished:
        # First: without a result, what the rest was begun with must be known.
        write_json(
            stage_dir / "begun.json", {"fingerprint": fingerprint, "time": now(), "epochs": 0.0}
        )
        damaged -= {stage_dir / name for name in _CLAIMS}
    # The result last: as long as it stands, the damage is found again.
    for path in [
        *sorted(damaged),
        *([stage_dir / MANIFEST, stage_dir / "result.json"] if finished else []),
    ]:
        if path.exists():
            kept = target / path.relative_to(stage_dir)
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.replace(kept)
    return [*notes, f"what it was made of is done again; see {target.relative_to(run.path)}"]


def _find_claims(path: Path, stage_dir: Path) -> set[Path]:
    """Records of a trial's round, or of one of several seeds, that count a file as done."""
    if path.parent == stage_dir:
        return set()
    a_round = re.match(r"round-\d+", path.name)
    names = [f"{a_round[0]}.json"] if a_round else ["result.json", MANIFEST]
    return {path.with_name(name) for name in names}


def _find_fingerprint(stage_dir: Path) -> str | None:
    for name in _CLAIMS:
        try:
            found = read_json(stage_dir / name).get("fingerprint")
        except RunFolderError:
            continue
        if isinstance(found, str):
            return found
    return None
