"""What a model gave for each image of a split: ``predictions.parquet`` of a stage.

One row an image: ``index`` within the split, its ``name`` (a path or a row, as the data came;
null where the source has no names), ``label``, ``predicted``, and the ``probabilities`` of all
classes. With it every claim about a stage can be computed again,
and two stages compared on the same images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.errors import DamageError
from burnish.files import DIGEST, write_whole
from burnish.metrics import balance_classes, cross_entropy_per_image

FILE = "predictions.parquet"


@dataclass(frozen=True)
class SplitPredictions:
    """SplitPredictions of one split.

    ``labels`` int32, shape (num_images,); ``probabilities`` float32, shape (num_images,
    num_classes); ``facts`` are texts kept with them, such as the model's hash; ``names`` of
    the images (num_images,), ``None`` where the source has none or an older burnish kept none.
    """

    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    facts: Mapping[str, str] = field(default_factory=dict)
    names: Sequence[str] | None = None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image is classified rightly."""
        return np.asarray(self.predicted == self.labels)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Cross-entropy of each image, in nats."""
        return cross_entropy_per_image(self.probabilities, self.labels)

    def weights(self, class_weight: str) -> NDArray[np.float64] | None:
        """Each image's weight in the mean loss; ``None`` where all count the same."""
        if class_weight != "balanced":
            return None
        of_classes = balance_classes(self.labels, self.probabilities.shape[1])
        return of_classes[self.labels].astype(np.float64)


def write_predictions(path: Path, predictions: SplitPredictions) -> None:
    """Write predictions as Parquet, whole or not at all; the same give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if predictions.names is not None:
        predictions = replace(predictions, names=[_as_text(name) for name in predictions.names])
    rows = predictions.probabilities
    columns = {
        "index": pa.array(np.arange(len(rows), dtype=np.int32)),
        "name": _name_column(predictions),
        "label": pa.array(predictions.labels.astype(np.int32)),
        "predicted": pa.array(predictions.predicted.astype(np.int32)),
        "probabilities": pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(rows, np.float32).ravel()), rows.shape[1]
        ),
    }
    facts = {**predictions.facts, DIGEST: _digest(predictions)}
    table = pa.table(columns).replace_schema_metadata(facts)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=True)
    write_whole(path, sink.getvalue().to_pybytes())


def read_predictions(path: Path) -> SplitPredictions:
    """Read predictions.

    Raises
    ------
    DamageError
        If the file is missing or damaged, or does not hold one row for each image.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # From memory: what cannot be read must not be kept open.
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        labels = table["label"].to_numpy().astype(np.int32)
        flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        probabilities = flat.astype(np.float32).reshape(len(labels), -1)
        if (table["index"].to_numpy() != np.arange(len(labels))).any() or not len(labels):
            raise ValueError("its rows are not the images of a split in their order")
        facts = _texts(table.schema.metadata)
        digest = facts.pop(DIGEST, None)
        predictions = SplitPredictions(labels, probabilities, facts, _read_names(table))
        if digest != _digest(predictions):
            raise ValueError("its content does not match its digest")
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:
        raise DamageError(
            f"{path} cannot be read as predictions ({error}); its stage writes it when it "
            "ends. Move the stage's folder away and run the study again: it is done anew."
        ) from error
    return predictions


def find_predictions(folder: Path) -> SplitPredictions | None:
    """Return the predictions in a stage's folder; ``None`` where an older burnish kept none."""
    path = folder / FILE
    return read_predictions(path) if path.exists() else None


def _name_column(predictions: SplitPredictions) -> Any:
    """Return the names as a column; of nulls, where there are none."""
    import pyarrow as pa

    if predictions.names is None:
        return pa.nulls(len(predictions.labels), pa.string())
    return pa.array(predictions.names, pa.string())


def _read_names(table: Any) -> tuple[str, ...] | None:
    """Return the names; ``None`` where there are none, or the file is an older burnish's."""
    if "name" not in table.column_names or table["name"].null_count:
        return None
    return tuple(table["name"].to_pylist())


def _as_text(name: str) -> str:
    """Return a name as UTF-8 can hold it: what it cannot, of a file's name, as its escape."""
    return name.encode("utf-8", "backslashreplace").decode()


def _digest(predictions: SplitPredictions) -> str:
    """SHA-256 of all that predictions say."""
    digest = hashlib.sha256(json.dumps(sorted(predictions.facts.items())).encode())
    digest.update(np.ascontiguousarray(predictions.labels, "<i4").tobytes())
    digest.update(np.ascontiguousarray(predictions.probabilities, "<f4").tobytes())
    if predictions.names is not None:  # Without them, the digest of files from before stays.
        digest.update("\0".join(predictions.names).encode())
    return digest.hexdigest()


def _texts(metadata: Any) -> dict[str, str]:
    pairs = {key.decode(): value.decode() for key, value in (metadata or {}).items()}
    pairs.pop("ARROW:schema", None)
    return pairs
