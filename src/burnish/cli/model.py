"""``burnish predict``, ``export`` and ``serve``: the finished model is used."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.options import AsJson, DataDir, MaxPixels, ModelPath, MovedData
from burnish.cli.output import complain, say, write_text
from burnish.errors import show_plainly


class Quantization(enum.StrEnum):
    """Number types that a network may be quantized to."""

    INT8 = "int8"


def predict(
    model: ModelPath,
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders of them.", metavar="IMAGE...")
    ],
    top_k: Annotated[
        int, typer.Option(min=1, help="Show this many of the most probable classes.")
    ] = 1,
    as_json: AsJson = False,
    as_csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a table; '-' prints it.", dir_okay=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images to predict at once.")] = 64,
    max_pixels: MaxPixels = None,
) -> None:
    """Classify images with a finished model; exit code 1 if one cannot be read.

    An image without ink (an empty canvas) gets a reason instead of a label, and exit code 0.
    """
    from burnish.bundle.classify import classify_files, find_images
    from burnish.bundle.listing import list_as_csv, list_as_json, list_for_people
    from burnish.bundle.model import load

    loaded = load(model)
    found = find_images(images)
    classified = classify_files(
        loaded, found.paths, top_k=top_k, batch_size=batch_size, max_pixels=max_pixels
    )
    answers = [*classified, *found.refused]
    if found.unread:
        unread = f"{len(found.unread):,}, such as {found.unread[0]}"
        typer.echo(show_plainly(f"not called as images are, and not read: {unread}"), err=True)
    if as_csv is not None:
        write_text(as_csv, list_as_csv(answers))
    if as_json:
        typer.echo(list_as_json(loaded.name, answers), nl=False)
    elif as_csv is None:
        typer.echo(list_for_people(answers), nl=False)
    failures = [answer.error for answer in answers if answer.error is not None]
    for failure in failures:
        complain(f"error: {failure}")
    if failures:
        raise typer.Exit(1)


def export(
    model: ModelPath,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="The network: {network formats}. The whole bundle: {bundle formats}.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="File or folder to write.  (default: ./<study> with the format's ending)"
        ),
    ] = None,
    quantize: Annotated[
        Quantization | None,
        typer.Option(help="Quantize the network's numbers ({int8 formats} only)."),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|STUDY",
            help="Study whose validation images certify the export; needed if MODEL is outside a "
            "run folder.",
        ),
    ] = None,
    data_dir: DataDir = None,
    data: MovedData = None,
) -> None:
    """Export a finished model to another format, checked against Keras."""
    from burnish.runner.export import export_finished

    exported = export_finished(
        model,
        format_,
        out,
        quantize=quantize is not None,
        study=study,
        data_dir=data_dir,
        data=data,
    )
    say(exported.describe())


def serve(
    model: ModelPath,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 listens on all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Host name to accept, for example of a proxy; '*' accepts any."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Site whose pages may send requests, such as http://localhost:5173; '*': any.",
        ),
    ] = None,
    max_body: Annotated[
        str, typer.Option(metavar="SIZE", help="Refuse larger request bodies.")
    ] = "16MiB",
    max_pixels: Annotated[
        int, typer.Option(min=1, max=1_000_000_000, help="Refuse images with more pixels.")
    ] = 64_000_000,
) -> None:
    """Serve a model over HTTP: predictions, metrics, and a page to draw on."""
    from burnish.serve.limits import make_limits
    from burnish.serve.run import serve as serve_model

    def announce(name: str, address: str) -> None:
        typer.echo(f"{name}: {address}  (API: {address}/docs; Ctrl-C ends)")

    limits = make_limits(max_body, max_pixels, allow_origin or [])
    serve_model(model, host, port, workers, announce, allow_host or [], limits)
