"""The finished model as a folder: ``model.keras``, its contract and a model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import BundleError, RunFolderError
from burnish.files import read_json, write_json, write_whole

FORMAT = 1
"""Version of the bundle's layout and contract."""


@dataclass(frozen=True)
class BundleFacts:
    """What goes into a bundle beside the weights.

    ``image_shape`` is (height, width, channels); ``validation`` and ``test`` map names
    to figures (``accuracy``, ``loss``, and for the test split also ``num_images`` and
    ``accuracy_interval``); ``provenance`` is the run's.
    """

    study: str
    stage: str
    family: str
    params: Mapping[str, Any]
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    source: str
    data_fingerprint: str
    validation: Mapping[str, Any]
    test: Mapping[str, Any]
    num_parameters: int
    provenance: Mapping[str, Any]


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bundle(folder: Path, model_file: Path, facts: BundleFacts) -> None:
    """Write a bundle from a saved Keras model.

    The contract comes last: a folder without one is no bundle.

    Raises
    ------
    RunFolderError
        If the folder cannot be written.
    """
    (folder / "contract.json").unlink(missing_ok=True)
    write_whole(folder / "model.keras", model_file.read_bytes())
    write_whole(folder / "README.md", _write_card(facts).encode())
    write_json(
        folder / "contract.json",
        {
            "format": FORMAT,
            "study": facts.study,
            "stage": facts.stage,
            "family": facts.family,
            "params": dict(facts.params),
            "input": {
                "shape": list(facts.image_shape),
                "values": "0 to 255, as float32; scaling to 0-1 is inside the model",
                "color": "grey" if facts.image_shape[2] == 1 else "rgb",
            },
            "output": {"values": "probabilities", "class_names": list(facts.class_names)},
            "data": {"source": facts.source, "fingerprint": facts.data_fingerprint},
            "metrics": {"validation": dict(facts.validation), "test": dict(facts.test)},
            "versions": {
                name: facts.provenance[name] for name in ("burnish", "keras", "tensorflow")
            },
            "sha256": {name: hash_file(folder / name) for name in ("model.keras", "README.md")},
        },
    )


def read_contract(folder: Path) -> dict[str, Any]:
    """Read a bundle's contract and check its files against it.

    Raises
    ------
    BundleError
        If there is no contract, its format is unknown, or a file is missing or has
        changed since.
    """
    path = folder / "contract.json"
    if not path.exists():
        raise BundleError(f"{folder} is not a bundle: it has no contract.json")
    try:
        contract = read_json(path)
    except RunFolderError as error:
        raise BundleError(str(error)) from error
    if contract.get("format") != FORMAT:
        raise BundleError(
            f"{folder} is a bundle of format {contract.get('format')!r}; "
            f"this burnish reads format {FORMAT}"
        )
    for name, expected in contract["sha256"].items():
        file = folder / name
        if not file.exists():
            raise BundleError(f"{folder}: {name} is missing")
        if hash_file(file) != expected:
            raise BundleError(f"{folder}: {name} has changed since the bundle was written")
    return contract


def _write_card(facts: BundleFacts) -> str:
    """The model card, in Markdown with the front matter that model hubs read."""
    test, val = facts.test, facts.validation
    low, high = test["accuracy_interval"]
    height, width, channels = facts.image_shape
    shape = f"{height}x{width}x{channels}"
    front = {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["burnish", facts.family],
        "model-index": [
            {
                "name": facts.study,
                "results": [
                    {
                        "task": {"type": "image-classification"},
                        "dataset": {"name": facts.source, "type": facts.source, "split": "test"},
                        "metrics": [
                            {"type": "accuracy", "value": round(test["accuracy"], 4)},
                            {"type": "loss", "value": round(test["loss"], 4)},
                        ],
                    }
                ],
            }
        ],
    }
    # JSON is YAML: no YAML writer is needed, and every name is quoted safely.
    lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())
    params = "\n".join(f"| {name} | {value} |" for name, value in sorted(facts.params.items()))
    classes = ", ".join(json.dumps(name, ensure_ascii=False) for name in facts.class_names)
    return f"""---
{lines}
---
# {facts.study}: an image classifier for `{facts.source}`

A `{facts.family}` network of {facts.num_parameters:,} weights, from stage `{facts.stage}` of the
burnish study `{facts.study}`. It takes images of {shape} (height x width x channels) with pixel
values 0 to 255 and gives the probabilities of {len(facts.class_names)} classes: {classes}.

| split | images | accuracy | loss (nats) |
|---|---|---|---|
| validation | {val["num_images"]} | {val["accuracy"]:.2%} | {val["loss"]:.4f} |
| test | {test["num_images"]} | {test["accuracy"]:.2%} | {test["loss"]:.4f} |

The 95 % interval of the test accuracy (Wilson) is {low:.2%} to {high:.2%}.

The model was chosen by its validation loss, which is therefore optimistic; the test split was
opened after that choice was written down.

## Use
```python
import keras
import numpy as np

model = keras.saving.load_model("model.keras")
images = np.zeros((1, {height}, {width}, {channels}), "float32")  # pixel values 0 to 255
probabilities = model.predict(images)
```

## Limits
It knows only images like those of `{facts.source}` (fingerprint
`{facts.data_fingerprint[:16]}`) and gives every other image one of the classes above, often with
high confidence.

## Procedure
| hyperparameter | value |
|---|---|
{params}

burnish {facts.provenance["burnish"]}, Keras {facts.provenance["keras"]},
TensorFlow {facts.provenance["tensorflow"]}, seed {facts.provenance["study_seed"]}.
"""
