"""Arguments and options that more than one command takes, as annotations for Typer."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

SourceName = Annotated[
    str,
    typer.Argument(
        help="A folder or file of labelled images, a study file, or the name of a shipped study.",
        metavar="DATA|STUDY",
    ),
]
RunPath = Annotated[Path, typer.Argument(help="A run folder, such as runs/<study>.", metavar="RUN")]
ModelPath = Annotated[
    Path,
    typer.Argument(
        help="A run folder, its subfolder model/, or a zip file of model/.", metavar="MODEL"
    ),
]

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Change one value of the study."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(envvar="BURNISH_DATA", help="Folder with one subfolder per data source."),
]
MovedData = Annotated[
    Path | None,
    typer.Option("--data", metavar="PATH", help="Where your images are now, if they have moved."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Trials that run at once.  (default: one per core, or what the cluster has room for)",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        help="Finish in about this many minutes.  (default: 10 for images, no limit for a study)",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(min=1, help="Refuse images with more pixels.  (default: 64,000,000)"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class ExecutorName(enum.StrEnum):
    """Where trials are fitted."""

    LOCAL = "local"
    RAY = "ray"


ExecutorOption = Annotated[
    ExecutorName,
    typer.Option("--executor", help="Fit trials in processes here, or on a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT|ray://HOST:PORT",
        help="Address of the Ray cluster.  (default: RAY_ADDRESS, or a cluster started here)",
    ),
]
