"""Writing a finished model as a folder: its files, its contract and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.bundle.contract import (
    CARD,
    CONTRACT,
    FORMAT,
    KERAS_MODEL,
    ONNX_MODEL,
    describe_input,
)
from burnish.files import hash_file, write_json, write_whole
from burnish.image import InputSpec
from burnish.image.wide import show_range


@dataclass(frozen=True)
class BundleFacts:
    """What goes into a bundle beside the weights.

    ``spec`` says what images the model takes. ``validation`` and ``test`` map names to
    figures (``accuracy``, ``loss``, ``num_images``, and for the test split also
    ``accuracy_interval``); ``test`` is ``None`` while a run goes on: the split is sealed then.
    ``provenance`` is the run's. ``study_fingerprint`` is over all
    that the model depends on: data, code, versions and every stage's settings. ``credit`` says
    where the network's first weights came from, if not from chance.
    """

    study: str
    study_fingerprint: str
    stage: str
    family: str
    params: Mapping[str, Any]
    spec: InputSpec
    class_names: tuple[str, ...]
    source: str
    data_fingerprint: str
    validation: Mapping[str, Any]
    test: Mapping[str, Any] | None
    num_parameters: int
    provenance: Mapping[str, Any]
    credit: str = ""


def write_bundle(
    folder: Path, model_file: Path, facts: BundleFacts, exports: Sequence[Path] = ()
) -> None:
    """Write a bundle from a saved Keras model and what was exported from it.

    The contract comes last: a folder without one is no bundle.

    Parameters
    ----------
    folder
        The bundle's.
    model_file
        The saved Keras model; it becomes ``model.keras``.
    facts
        What the contract and the card say.
    exports
        Further files, each under its own name: ``model.onnx`` and its certificate.

    Raises
    ------
    RunFolderError
        If the folder cannot be written.
    """
    (folder / CONTRACT).unlink(missing_ok=True)
    (folder / ONNX_MODEL).unlink(missing_ok=True)
    files = {KERAS_MODEL: model_file, **{file.name: file for file in exports}}
    for name, file in files.items():
        write_whole(folder / name, file.read_bytes())
    write_whole(folder / CARD, _write_card(facts, ONNX_MODEL in files).encode())
    write_json(
        folder / CONTRACT,
        {
            "format": FORMAT,
            "study": facts.study,
            "study_fingerprint": facts.study_fingerprint,
            "stage": facts.stage,
            "family": facts.family,
            "params": dict(facts.params),
            "num_parameters": facts.num_parameters,
            "input": describe_input(facts.spec),
            "output": {"values": "probabilities", "class_names": list(facts.class_names)},
            "data": {"source": facts.source, "fingerprint": facts.data_fingerprint},
            "metrics": {
                "validation": dict(facts.validation),
                **({} if facts.test is None else {"test": dict(facts.test)}),
            },
            "versions": {
                name: facts.provenance[name] for name in ("burnish", "keras", "tensorflow")
            },
            "sha256": {name: hash_file(folder / name) for name in sorted([*files, CARD])},
        },
    )


def _write_card(facts: BundleFacts, has_network: bool) -> str:
    """The model card, in Markdown with the front matter that model hubs read (it is YAML)."""
    val = facts.validation
    split, judged = ("validation", val) if facts.test is None else ("test", facts.test)
    height, width, channels = facts.spec.shape
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
                        "dataset": {"name": facts.source, "type": facts.source, "split": split},
                        "metrics": [
                            {"type": "accuracy", "value": round(judged["accuracy"], 4)},
                            {"type": "loss", "value": round(judged["loss"], 4)},
                        ],
                    }
                ],
            }
        ],
    }
    # JSON is YAML: no YAML writer is needed, and every name is quoted safely.
    lines = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())
    params = "\n".join(f"| {name} | {value} |" for name, value in sorted(facts.params.items()))
    credit = f"{facts.credit}\n\n" if facts.credit else ""
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
{_write_test_row(facts.test)}
{credit}{_describe_choice(facts.test)}

## Use
{_describe_use(facts.spec) if has_network else ""}With Keras alone; its layers are stock ones:

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
high confidence. The interval speaks of new images from the same source; of images from elsewhere,
nothing was measured.

## Procedure
These values come from the stages of the study, which were judged by validation loss alone.

| hyperparameter | value |
|---|---|
{params}

burnish {facts.provenance["burnish"]}, Keras {facts.provenance["keras"]},
TensorFlow {facts.provenance["tensorflow"]}, seed {facts.provenance["study_seed"]}.
"""


def _write_test_row(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return ""
    figures = f"{test['num_images']} | {test['accuracy']:.2%} | {test['loss']:.4f}"
    return f"| test | {figures} |\n"


def _describe_choice(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return (
            "This is the best model so far of a run that goes on. It was chosen by its validation\n"
            "loss, which is therefore optimistic; the test split is still sealed."
        )
    low, high = test["accuracy_interval"]
    return f"""The 95 % interval of the test accuracy (Wilson) is {low:.2%} to {high:.2%}.

The model was chosen by its validation loss, which is therefore optimistic; the test split was
opened after that choice was written down."""


def _describe_use(spec: InputSpec) -> str:
    """How the model is used without TensorFlow."""
    shape = ", ".join(map(str, spec.shape))
    return f"""With burnish, without TensorFlow: image files of any size, Pillow images, arrays.

```python
import burnish

model = burnish.load(".")  # this folder
labels, probabilities = model.predict(["image.png"])
```

{_describe_preparation(spec)}{_write_preparation(spec)}What follows takes images that have been
brought there. First the same network with onnxruntime alone; that it is the same stands in
`model.onnx.certificate.json`:

```python
import os

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would report its use
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
images = np.zeros((1, {shape}), "float32")  # pixel values 0 to 255
(probabilities,) = session.run(None, {{"image": images}})
```

"""


def _write_preparation(spec: InputSpec) -> str:
    """Return the same as a block of Python for the card; a space where it is more."""
    if spec.recipe != "plain" or spec.range is not None:
        return " "
    height, width, _ = spec.shape
    mode = "L" if spec.color == "grey" else "RGB"
    opened = f'image = ImageOps.exif_transpose(Image.open(path)).convert("{mode}")'
    if spec.resize == "pad":
        lines = f"""    scale = min({width} / image.width, {height} / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    scaled = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    image = Image.new("{mode}", ({width}, {height}))
    image.paste(scaled, (({width} - size[0]) // 2, ({height} - size[1]) // 2))
"""
    else:
        lines = f"""    size = ({width}, {height})
    image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
"""
    return f""" With Pillow alone, for images
of 8 bits that are not transparent:

```python
import numpy as np
from PIL import Image, ImageOps


def prepare(path):
    {opened}
{lines}    return np.asarray(image, "float32").reshape(1, {", ".join(map(str, spec.shape))})
```

"""


def _describe_preparation(spec: InputSpec) -> str:
    """What is done to an image before the network sees it, in a sentence or two."""
    size = f"{spec.height}x{spec.width}"
    if spec.recipe == "digit":
        return (
            "Dark ink on light ground is inverted; the ink is cropped, scaled and centred by mass "
            f"in {size}, as the digits of MNIST were."
        )
    color = "grey" if spec.color == "grey" else "colour"
    way = "keeping its aspect, on black" if spec.resize == "pad" else "without keeping its aspect"
    said = f"An image is turned upright, brought to {color}, and scaled to {size}, {way}."
    if spec.range is not None:
        said += (
            f" Values of more than 8 bits are mapped first: {show_range(spec.range)} to 0 to 255."
        )
    return said
