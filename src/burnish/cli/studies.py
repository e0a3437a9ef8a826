"""``burnish studies``: what ships."""

from __future__ import annotations


def studies() -> None:
    """List the studies that ship with burnish."""
    from rich.console import Console
    from rich.table import Table

    from burnish.study.parse import parse_study
    from burnish.study.text import shipped_studies

    table = Table("study", "data", "stages", "what it is")
    for name, text in shipped_studies().items():
        study, _ = parse_study(text, name)
        stages = ", ".join(stage.name for stage in study.stages)
        table.add_row(name, study.data.source or "", stages, study.study.description)
    Console().print(table)
