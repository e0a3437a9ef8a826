"""Answers about image files laid out for people, for programs and for spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from burnish.bundle.classify import Answer
from burnish.errors import show_name
from burnish.files import show_json
from burnish.spreadsheet import write_table


def list_for_people(answers: Sequence[Answer]) -> str:
    """One line an image: its path, and each class with its probability in columns.

    Where there is nothing to classify, the reason stands behind the path.
    """
    rows = [
        [
            show_name(str(answer.path)),
            *(
                cell
                for name, probability in answer.classes
                for cell in (show_name(name), f"{probability:.2%}")
            ),
        ]
        for answer in answers
        if answer.error is None
    ]
    reasons = [answer.reason for answer in answers if answer.error is None]
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    lines = []
    for row, reason in zip(rows, reasons, strict=True):
        cells = [
            # Probabilities, every second column from the third, stand flush right.
            cell.rjust(width) if place and place % 2 == 0 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        if reason is not None:
            cells.append(f"({reason})")
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def list_as_json(model_name: str, answers: Sequence[Answer]) -> str:
    """One JSON object: the model, and a list with an entry an image."""
    content = {"model": model_name, "images": [_describe(answer) for answer in answers]}
    return show_json(content) + "\n"


def _describe(answer: Answer) -> dict[str, object]:
    if answer.error is not None:
        return {"image": str(answer.path), "error": answer.error}
    if not answer.classes:
        return {
            "image": str(answer.path),
            "label": None,
            "probability": None,
            "classes": [],
            "reason": answer.reason,
        }
    label, probability = answer.classes[0]
    return {
        "image": str(answer.path),
        "label": label,
        "probability": probability,
        "classes": [{"label": name, "probability": share} for name, share in answer.classes],
    }


def list_as_csv(answers: Sequence[Answer]) -> str:
    """A table with a heading, safe to open in a spreadsheet."""
    num_classes = max((len(answer.classes) for answer in answers), default=0) or 1
    heading = ["image", "label", "probability"]
    for place in range(2, num_classes + 1):
        heading += [f"label_{place}", f"probability_{place}"]
    rows = []
    for answer in answers:
        cells: list[str | float] = [
            cell for name, probability in answer.classes for cell in (name, round(probability, 6))
        ]
        cells += [""] * (2 * num_classes - len(cells))
        rows.append([str(answer.path), *cells, answer.error or "", answer.reason or ""])
    return write_table([*heading, "error", "reason"], rows)
