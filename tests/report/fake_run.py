"""A run folder with made-up but likely numbers, as a finished run would leave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.files import write_json
from burnish.runfolder.manifest import write_manifest
from burnish.runfolder.predictions import SplitPredictions, write_predictions
from burnish.runfolder.store import RunFolder
from burnish.runfolder.tables import write_arrays, write_history

DIGITS = tuple("0123456789")

_FNN = {
    "num_hidden_layers": 2,
    "hidden_layer_size": 64,
    "activation": "relu",
    "dropout_rate": 0.2,
    "l2_strength": 0.0,
    "learning_rate": 0.001,
}
_CNN = {
    "num_conv_layers": 2,
    "num_filters_first_layer": 32,
    "num_filters_sub_layers": 64,
    "kernel_size": 3,
    "subsample_type": "2x2pool",
    "dense_layer_size": 64,
    "activation": "relu",
    "batch_normalization": False,
    "dropout_rate": 0.0,
    "learning_rate": 0.001,
}
_TUNED = _CNN | {
    "num_conv_layers": 3,
    "num_filters_first_layer": 16,
    "num_filters_sub_layers": 32,
    "kernel_size": 5,
    "subsample_type": "5x5stride2",
    "dense_layer_size": 256,
    "batch_normalization": True,
    "dropout_rate": 0.4,
    "learning_rate": 0.01,
}
_AUGMENTED = _TUNED | {
    "rotation_range": 0.05,
    "zoom_range": 0.0,
    "width_shift_range": 0.15,
    "height_shift_range": 0.1,
    "dropout_rate": 0.2,
    "learning_rate": 0.001,
}

# name, model, base, params, epochs, best epoch, val loss, val accuracy, weights
STAGES: tuple[tuple[str, str, str | None, dict[str, Any], int, int, float, float, int], ...] = (
    ("fnn", "fnn", None, _FNN, 31, 26, 0.0812, 0.9771, 55_050),
    (
        "fnn-tuned",
        "fnn",
        "fnn",
        _FNN | {"num_hidden_layers": 1, "hidden_layer_size": 256, "dropout_rate": 0.4},
        92,
        82,
        0.0836,
        0.9815,
        203_530,
    ),
    ("cnn", "cnn", None, _CNN, 9, 4, 0.0412, 0.9881, 220_234),
    ("cnn-tuned", "cnn", "cnn", _TUNED, 17, 12, 0.0318, 0.9908, 231_434),
    ("augmented", "cnn", "cnn-tuned", _AUGMENTED, 22, 22, 0.0229, 0.9934, 231_434),
)


def make_history(
    epochs: int, best_epoch: int, val_loss: float, val_accuracy: float, noisy: bool
) -> list[dict[str, float]]:
    """Make a history whose best epoch has exactly the given numbers."""
    rng = np.random.default_rng(epochs)
    rows = []
    for epoch in range(1, epochs + 1):
        fall = np.exp(-3.5 * epoch / best_epoch)
        rise = max(0, epoch - best_epoch) / best_epoch
        wobble = 0.0 if epoch == best_epoch else abs(rng.normal(0, 0.04))
        loss = val_loss * (1 + 4 * (fall - np.exp(-3.5)) * (epoch < best_epoch) + rise + wobble)
        miss = (1 - val_accuracy) * (1 + 3 * (fall - np.exp(-3.5)) * (epoch < best_epoch) + wobble)
        rows.append(
            {
                "epoch": epoch,
                "train_loss": float(val_loss * ((1.1 if noisy else 0.35) + 9 * fall)),
                "train_accuracy": float(
                    1 - (1 - val_accuracy) * ((1.2 if noisy else 0.3) + 7 * fall)
                ),
                "val_loss": float(loss),
                "val_accuracy": float(1 - miss),
                "learning_rate": 0.001,
                "seconds": 11.0,
            }
        )
    return rows


def make_run(
    path: Path,
    *,
    source: str = "mnist",
    class_names: Sequence[str] = DIGITS,
    num_test: int = 10_000,
    num_wrong: int = 54,
    finished: bool = True,
    stages: Sequence[tuple[Any, ...]] = STAGES,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    study: str = "mnist-published",
    predictions: bool = False,
    name_image: Callable[[str, int], str] | None = None,
) -> RunFolder:
    """Write a run folder; with ``finished=False`` it ends before its last stage and the final.

    With ``predictions`` its stages keep those of 60 validation images, the first of which
    all get wrong. ``name_image`` names image ``row`` of ``val`` or ``test``.
    """
    run = RunFolder(path)
    done = stages if finished else stages[:-1]
    toml = f'[study]\nname = "{study}"\nseed = 42\n'
    for name in [*(stage[0] for stage in stages), "final"]:
        toml += f"\n[[stage]]\nname = '{name}'\n"
    run.write_study(toml)
    write_json(
        path / "provenance.json",
        {
            "burnish": "0.1.0",
            "python": "3.12.4",
            "keras": "3.15.1",
            "tensorflow": "2.21.0",
            "numpy": "2.3.1",
            "platform": "Linux-6.1-x86_64",
            "processor": "a processor with 2 cores",
            "cores": 2,
            "precision": "mixed_bfloat16",
            "deterministic": True,
            "study_seed": 42,
            "command": "burnish run mnist-published --out runs/mnist-published",
            "data": {
                "source": source,
                "fingerprint": "sha256:3f1c5d0e9a77b2",
                "class_names": list(class_names),
                "num_train": 50_000,
                "num_val": 10_000,
                "num_test": num_test,
                "image_shape": list(image_shape),
            },
        },
    )
    write_json(
        path / "state.json",
        {"study": study, "state": "done" if finished else "interrupted", "seconds": 2613.4},
    )
    for number, stage in enumerate(done, 1):
        _write_stage(run, number, stage)
    if predictions:
        for number, stage in enumerate(done, 1):
            names = [name_image("val", row) for row in range(60)] if name_image else None
            _write_predictions(run.stage(number, stage[0]), number, len(class_names), names)
    if finished:
        names = [name_image("test", row) for row in range(num_test)] if name_image else None
        _write_final(run, len(done) + 1, done, class_names, num_test, num_wrong, image_shape, names)
    for record in run.stages():
        write_manifest(record.folder)
    return run


def _write_predictions(
    folder: Path, number: int, num_classes: int, names: Sequence[str] | None
) -> None:
    rng = np.random.default_rng(number)
    labels = (np.arange(60) % num_classes).astype(np.int32)
    probabilities = rng.dirichlet([0.3] * num_classes, 60)
    probabilities[np.arange(60), labels] += 1.5
    probabilities[0] = 1.0
    probabilities[0, (labels[0] + 1) % num_classes] = 9.0 * num_classes
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    kept = SplitPredictions(labels, probabilities.astype(np.float32), names=names)
    write_predictions(folder / "predictions.parquet", kept)


def _write_stage(run: RunFolder, number: int, stage: tuple[Any, ...]) -> None:
    name, model, base, params, epochs, best_epoch, val_loss, val_accuracy, weights = stage
    folder = run.stage(number, name)
    write_json(
        folder / "result.json",
        {
            "name": name,
            "kind": "train",
            "model": model,
            "base": base,
            "params": params,
            "settings": {
                "batch_size": 128,
                "max_epochs": 100,
                "patience": 5,
                "learning_rate_schedule": "constant",
            },
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "best_epoch": best_epoch,
            "epochs": epochs,
            "seconds": 11.0 * epochs,
            "num_parameters": weights,
            "num_val": 10_000,
            "precision": "mixed_bfloat16",
            "fingerprint": f"{number:064x}",
        },
    )
    history = make_history(
        epochs, best_epoch, val_loss, val_accuracy, bool(params.get("rotation_range"))
    )
    write_history(folder / "history.csv", history)


def _write_final(
    run: RunFolder,
    number: int,
    stages: Sequence[tuple[Any, ...]],
    class_names: Sequence[str],
    num_test: int,
    num_wrong: int,
    image_shape: tuple[int, int, int],
    names: Sequence[str] | None,
) -> None:
    rng = np.random.default_rng(7)
    num_classes = len(class_names)
    labels = (np.arange(num_test) % num_classes).astype(np.int32)
    wrong = rng.choice(num_test, num_wrong, replace=False)
    probabilities = np.full((num_test, num_classes), 0.001, np.float32)
    probabilities[np.arange(num_test), labels] = 1 - 0.001 * (num_classes - 1)
    # Errors fall on few pairs of classes, as they do in earnest.
    offsets = rng.choice([1, 3, 5], num_wrong, p=[0.2, 0.2, 0.6])
    taken_for = (labels[wrong] + offsets) % num_classes
    taken_for[taken_for == labels[wrong]] += 1
    taken_for %= num_classes
    confidence = np.sort(rng.beta(5, 1, num_wrong))[::-1] * 0.48 + 0.515
    probabilities[wrong] = ((1 - confidence) / max(num_classes - 1, 1))[:, None]
    probabilities[wrong, taken_for] = confidence
    shown = wrong[:24]
    write_predictions(
        run.stage(number, "final") / "predictions.parquet",
        SplitPredictions(labels, probabilities, names=names),
    )
    images = (
        np.stack([_draw(label, image_shape) for label in labels[shown]])
        if len(shown)
        else (np.zeros((0, *image_shape), np.uint8))
    )
    write_arrays(run.stage(number, "final") / "mistakes.npz", index=shown, images=images)
    write_arrays(
        run.stage(number, "final") / "hard.npz",
        index=np.array([0]),
        images=np.stack([_draw(0, image_shape)]),
    )
    chosen = min(stages, key=lambda stage: float(stage[6]))
    correct = num_test - num_wrong
    test = {
        "accuracy": correct / num_test,
        "loss": 0.0175,
        "num_images": num_test,
        "num_correct": correct,
        "accuracy_interval": list(_wilson(correct, num_test)),
    }
    write_json(
        run.stage(number, "final") / "result.json",
        {
            "name": "final",
            "kind": "final",
            "chosen": chosen[0],
            "model": chosen[1],
            "params": chosen[3],
            "val_loss": chosen[6],
            "val_accuracy": chosen[7],
            "epochs": chosen[4],
            "seconds": 2.1,
            "candidates": [
                {"name": stage[0], "val_loss": stage[6], "val_accuracy": stage[7]}
                for stage in stages
            ],
            "test": test,
        },
    )
    run.append_reading(
        {
            "time": "2025-01-02T03:04:05Z",
            "model_sha256": "9c1e" * 16,
            "reason": "final stage",
            "num_images": num_test,
            "accuracy": test["accuracy"],
            "loss": test["loss"],
        }
    )


def _wilson(correct: int, num: int) -> tuple[float, float]:
    # Wilson (1927), with z for 95 %.
    z, p = 1.959964, correct / num
    centre = (p + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * (p * (1 - p) / num + z * z / (4 * num * num)) ** 0.5
    return centre - half, min(centre + half, 1.0)


def _draw(label: int, shape: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw something digit-like: strokes of a seven-segment display, blurred a little."""
    segments = {0: "abcdef", 1: "bc", 2: "abged", 3: "abgcd", 4: "fgbc"}
    segments |= {5: "afgcd", 6: "afgedc", 7: "abc", 8: "abcdefg", 9: "abcfgd"}
    canvas = np.zeros((28, 28), np.float32)
    strokes = {
        "a": (slice(4, 7), slice(9, 19)),
        "b": (slice(4, 14), slice(17, 20)),
        "c": (slice(14, 24), slice(17, 20)),
        "d": (slice(22, 25), slice(9, 19)),
        "e": (slice(14, 24), slice(8, 11)),
        "f": (slice(4, 14), slice(8, 11)),
        "g": (slice(13, 16), slice(9, 19)),
    }
    for segment in segments[int(label) % 10]:
        canvas[strokes[segment]] = 255
    blurred = (canvas + np.roll(canvas, 1, 0) + np.roll(canvas, 1, 1) + np.roll(canvas, -1, 1)) / 4
    rows = np.arange(shape[0]) * 28 // shape[0]
    columns = np.arange(shape[1]) * 28 // shape[1]
    image = blurred[rows][:, columns].astype(np.uint8)
    return np.repeat(image[..., None], shape[2], axis=2)
