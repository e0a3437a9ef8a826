"""All that a run folder says of its run: what the page, and plots of Python, are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.advice.diagnostics import Finding, diagnose_stage, read_facts
from burnish.errors import RunFolderError
from burnish.files import read_json
from burnish.report.analysis.evidence import collect_evidence
from burnish.report.analysis.facts import RunFacts, read_stage
from burnish.report.analysis.final import FinalFacts, read_final
from burnish.report.formatting import need
from burnish.runfolder.store import RunFolder, StageRecord


@dataclass(frozen=True)
class RunAccount:
    """What a run folder says.

    Attributes
    ----------
    records
        The finished stages.
    provenance, data
        Where the run comes from, and what that says of its data.
    whole, final
        What figures are drawn from; ``final`` is ``None`` before the final stage.
    findings
        What is to be said of its stages.
    """

    records: Sequence[StageRecord]
    provenance: Mapping[str, Any]
    data: Mapping[str, Any]
    whole: RunFacts
    final: FinalFacts | None
    findings: Sequence[Finding]

    @property
    def final_record(self) -> StageRecord | None:
        """The final stage; ``None`` before it is done."""
        return None if self.final is None else self.final.record


def read_account(run: RunFolder) -> RunAccount:
    """Read a run folder.

    Raises
    ------
    RunFolderError
        If the folder is not a run, has no finished stage yet, or cannot be read.
    """
    run.check()
    records = run.stages()
    fits = _find_fits(run, records)
    final = next((record for record in records if record.kind == "final"), None)
    provenance = read_json(run.path / "provenance.json")
    data = need(provenance, "data", run.path / "provenance.json")
    source = str(need(data, "source", run.path / "provenance.json"))
    chosen = str(need(final.result, "chosen", final.folder)) if final else None
    evidence = collect_evidence(fits)
    facts = read_facts(run)
    spaces = {fact.name: fact.space for fact in facts}
    num_train = int(data.get("num_train") or 0)
    stages = [
        read_stage(record, fits, evidence, spaces[record.name], source, num_train)
        for record in fits
    ]
    return RunAccount(
        records=records,
        provenance=provenance,
        data=data,
        whole=RunFacts(source, stages, chosen, evidence),
        final=read_final(final, evidence, data, source) if final else None,
        findings=[finding for fact in facts for finding in diagnose_stage(fact)],
    )


def _find_fits(run: RunFolder, records: Sequence[StageRecord]) -> list[StageRecord]:
    fits = [record for record in records if record.kind != "final"]
    if not fits:
        raise RunFolderError(
            f"{run.path} has no finished stage yet, so there is nothing to report. "
            "Let 'burnish run' finish its first stage, then ask again."
        )
    return fits
