"""What the tests of the user's own images share: small data sets in every format."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from burnish.image import from_array


@dataclass(frozen=True)
class Made:
    """Images (num, height, width[, 3]), class names, labels and perhaps splits."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    class_names: tuple[str, ...]
    splits: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def class_of(self, index: int) -> str:
        label: int = self.labels[index]
        return self.class_names[label]


def make(num: int = 24, shape: tuple[int, ...] = (9, 9), num_classes: int = 3) -> Made:
    """Random images, each another."""
    images = np.random.default_rng(0).integers(0, 256, (num, *shape), dtype=np.uint8)
    labels = (np.arange(num) % num_classes).astype(np.int32)
    return Made(images, labels, tuple(str(number) for number in range(num_classes)))


def png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    from_array(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(root: Path, made: Made) -> Path:
    for index, image in enumerate(made.images):
        split = "" if made.splits is None else made.splits[index]
        path = root / split / made.class_of(index) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return root


def write_csv(root: Path, made: Made, extra: dict[str, Sequence[Any]] | None = None) -> Path:
    (root / "scans").mkdir(parents=True)
    columns = {**({} if made.splits is None else {"split": made.splits}), **(extra or {})}
    path = root / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", *columns])
        for index, image in enumerate(made.images):
            name = f"scans/{index}.png"
            (root / name).write_bytes(png(image))
            cells = [values[index] for values in columns.values()]
            writer.writerow([name, made.class_of(index), *cells])
    return path


def write_npz(path: Path, made: Made, *, compressed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    for split in (None,) if made.splits is None else sorted(set(made.splits)):
        chosen = slice(None) if split is None else np.array(made.splits) == split
        end = "" if split is None else f"_{split}"
        arrays |= {f"x{end}": made.images[chosen], f"y{end}": made.labels[chosen]}
    if made.class_names != tuple(str(number) for number in range(len(made.class_names))):
        arrays["class_names"] = np.array(made.class_names)
    if compressed:
        np.savez_compressed(path, **arrays)
    else:
        np.savez(path, **arrays)
    return path


def write_idx(root: Path, made: Made) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split in (None,) if made.splits is None else sorted(set(made.splits)):
        chosen = slice(None) if split is None else np.array(made.splits) == split
        prefix = {None: "train", "test": "t10k"}.get(split, split)
        for what, array in (
            ("images-idx3", made.images[chosen]),
            ("labels-idx1", made.labels[chosen].astype(np.uint8)),
        ):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (root / f"{prefix}-{what}-ubyte").write_bytes(head + array.tobytes())
    return root


def make_table(
    made: Made, indices: Sequence[int], *, plain: bool = False, extra: dict[str, Any] | None = None
) -> pa.Table:
    """As Hugging Face's `Dataset.to_parquet` has it; `plain` without struct and metadata."""
    contents = [png(made.images[i]) for i in indices]
    if plain:
        names = [made.class_of(i) for i in indices]
        return pa.table({"image": contents, "label": names, **(extra or {})})
    table = pa.table(
        {
            "image": [{"bytes": content, "path": "any.png"} for content in contents],
            "label": pa.array([int(made.labels[i]) for i in indices], pa.int64()),
            **(extra or {}),
        }
    )
    label = {"names": list(made.class_names), "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": label}
    info = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": info})


def write_parquet(root: Path, made: Made, num_shards: int = 2) -> Path:
    """A folder of shards, with the split in their names."""
    folder = root / "data"
    folder.mkdir(parents=True)
    for split in sorted(set(made.splits or ("train",))):
        chosen = [i for i in range(len(made)) if made.splits is None or made.splits[i] == split]
        word = "validation" if split == "val" else split
        for shard in range(num_shards):
            name = f"{word}-{shard:05}-of-{num_shards:05}.parquet"
            rows = chosen[shard::num_shards]
            pq.write_table(make_table(made, rows), folder / name, row_group_size=3)
    return root


def write_every_format(root: Path, made: Made) -> dict[str, Path]:
    return {
        "folder": write_folder(root / "folder", made),
        "csv": write_csv(root / "csv", made),
        "npz": write_npz(root / "npz" / "data.npz", made),
        "idx": write_idx(root / "idx", made),
        "parquet": write_parquet(root / "parquet", made),
    }
