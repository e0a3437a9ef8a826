"""A finished model in use: from images to labels and probabilities, without TensorFlow.

    model = burnish.load("runs/mnist")
    labels, probabilities = model.predict(["three.png", "four.jpg"])

Only NumPy, Pillow and onnxruntime are imported, so that an answer is there at once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from burnish.bundle.contract import (
    CONTRACT,
    ONNX_MODEL,
    find_bundle,
    read_contract,
    read_file,
    read_input,
)
from burnish.bundle.network import refuse_outside_data
from burnish.errors import BundleError, ImageError, shorten
from burnish.image import MAX_PIXELS, NO_INK, InputSpec, convert, decode, find_blank, simplify

ImageLike: TypeAlias = str | Path | bytes | Image.Image | NDArray[Any]
"""An image file, the content of one, a Pillow image, or an array of pixel values."""

MAX_BATCH = 256
"""Images that go through the network at once; more only take more memory."""


class Predictions(NamedTuple):
    """What a model said, one entry an image.

    ``labels`` are the names of the most probable classes; ``probabilities`` are float32,
    shape (num_images, num_classes), in the order of the model's ``class_names``. Where there is
    nothing to classify, as on an empty canvas, the label is ``None``, the row is NaN, and
    ``reasons`` says why.
    """

    labels: list[str | None]
    probabilities: NDArray[np.float32]

    @property
    def reasons(self) -> list[str | None]:
        """Why an image has no label; ``None`` where it has one."""
        return [NO_INK if label is None else None for label in self.labels]


class Model:
    """A finished model; :func:`load` gives one.

    Attributes
    ----------
    name
        Name of the study that it came from.
    class_names
        Names of the classes, in the order of the probabilities.
    spec
        What it takes; see :class:`burnish.image.InputSpec`.
    contract
        All that the bundle says of it: data, metrics, versions, hashes.
    """

    def __init__(
        self, contract: Mapping[str, Any], network: bytes, threads: int | None = None
    ) -> None:
        self.contract = contract
        self.name: str = contract["study"]
        self.class_names: tuple[str, ...] = tuple(contract["output"]["class_names"])
        self.spec: InputSpec = read_input(contract)
        self._session = _start_session(network, threads)
        self._input, self._output = self._check_network()

    def predict(self, images: ImageLike | Iterable[ImageLike], batch_size: int = 64) -> Predictions:
        """Classify images.

        Parameters
        ----------
        images
            One image or several: paths, contents of image files, Pillow images, or uint8
            arrays (height, width), (height, width, 1) or (height, width, 3); also one
            uint8 array (num_images, height, width, channels). Sizes may differ.
        batch_size
            Images that are held and predicted at once.

        Returns
        -------
        Labels and probabilities. Where the recipe ``digit`` finds no ink, the label is ``None``
        and the row of probabilities is NaN: no class is more probable than another.

        Raises
        ------
        ImageError
            If an image cannot be used; it is named, by its path or its place.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size}; give at least 1")
        prepared = self._prepare_all(images)
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        while batch := list(islice(prepared, batch_size)):
            arrays = np.stack(batch)
            found = self.predict_arrays(arrays)
            found[self.find_blank(arrays)] = np.nan
            parts.append(found)
        probabilities = np.concatenate(parts)
        labels = [
            None if np.isnan(row[0]) else self.class_names[row.argmax()] for row in probabilities
        ]
        return Predictions(labels, probabilities)

    def prepare(self, image: ImageLike) -> NDArray[np.uint8]:
        """Bring one image to what the network takes, as its training images were.

        Parameters
        ----------
        image
            As one of those that :meth:`predict` takes.

        Returns
        -------
        uint8 array (height, width, channels), of the shape ``spec.shape``

        Raises
        ------
        ImageError
            If it cannot be read or used; a path is named.
        """
        return self._prepare(image, "the image")

    def find_blank(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return in which prepared images there is nothing to classify: bool (num_images,)."""
        return find_blank(images, self.spec)

    def predict_arrays(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify images that are prepared already, as the network does: also those without ink.

        Parameters
        ----------
        images
            uint8, shape (num_images, height, width, channels) as in ``spec.shape``.

        Returns
        -------
        float32, shape (num_images, num_classes): probabilities

        Raises
        ------
        ImageError
            If the array has another type or shape.
        """
        expected = ", ".join(map(str, self.spec.shape))
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.spec.shape:
            raise ImageError(
                f"an array of shape {images.shape} and type {images.dtype} was given; expected "
                f"uint8 of shape (num_images, {expected}). predict() takes images of any size"
            )
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        for first in range(0, len(images), MAX_BATCH):
            values = images[first : first + MAX_BATCH].astype(np.float32)
            parts.append(self._session.run([self._output], {self._input: values})[0])
        return np.concatenate(parts)

    def _prepare(self, image: ImageLike, name: str) -> NDArray[np.uint8]:
        try:
            return convert(_open(image), self.spec)
        except ImageError as error:
            shown = str(image) if isinstance(image, str | Path) else name
            raise ImageError(f"{shown} {error}") from error

    def _prepare_all(self, images: ImageLike | Iterable[ImageLike]) -> Iterator[NDArray[np.uint8]]:
        if isinstance(images, str | Path | bytes | Image.Image) or (
            isinstance(images, np.ndarray) and images.ndim != 4
        ):
            yield self._prepare(images, "the image")
            return
        for place, image in enumerate(images):
            yield self._prepare(image, f"image {place}")

    def _check_network(self) -> tuple[str, str]:
        """Hold the network against the contract; give the names of its input and output."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BundleError(
                f"{ONNX_MODEL} has {len(inputs)} inputs and {len(outputs)} outputs; "
                "expected one of each"
            )
        for what, found, expected in (
            ("takes", inputs[0], self.spec.shape),
            ("gives", outputs[0], (len(self.class_names),)),
        ):
            batch, *shape = found.shape or [None]
            if found.type != "tensor(float)" or tuple(shape) != expected or isinstance(batch, int):
                raise BundleError(
                    f"{ONNX_MODEL} {what} {found.type} of shape {found.shape}; by {CONTRACT} it "
                    f"should be tensor(float) of shape {['num_images', *expected]}"
                )
        return inputs[0].name, outputs[0].name


def load(path: str | os.PathLike[str], *, threads: int | None = None) -> Model:
    """Load a finished model, and check it.

    Parameters
    ----------
    path
        A run folder, a bundle (a run's folder ``model/``), or a zip file of one.
    threads
        Threads of onnxruntime for one batch; one a core when ``None``.

    Raises
    ------
    BundleError
        If there is no bundle, it is of an unknown format, a file of it is missing, too
        large or changed, or the network does not fit what the contract says of it, or has
        weights in another file.
    """
    place = Path(path)
    if place.is_file():
        from burnish.bundle.archive import unpack

        with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
            folder = Path(scratch) / "model"
            unpack(place, folder)
            return _load_folder(folder, place, threads)
    folder = find_bundle(place)
    return _load_folder(folder, folder, threads)


def _load_folder(folder: Path, shown: Path, threads: int | None) -> Model:
    contract = read_contract(folder)
    network = read_file(folder, contract, ONNX_MODEL)
    try:
        return Model(contract, network, threads)
    except BundleError as error:
        raise BundleError(f"{shown}: {error}") from error


def _start_session(network: bytes, threads: int | None) -> Any:
    try:
        refuse_outside_data(network)
    except BundleError as error:
        raise BundleError(f"{ONNX_MODEL} {error}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # What is wrong is said once, by what is raised here.
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads = {threads}; give at least 1")
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    try:
        # From memory: what was hashed is what runs, and no other file is opened.
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many, without a common base.
        said = shorten(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise BundleError(
            f"{ONNX_MODEL} cannot be loaded by onnxruntime {onnxruntime.__version__}: {said}"
        ) from error


def _open(image: ImageLike) -> Image.Image:
    if isinstance(image, str):
        image = Path(image)
    if isinstance(image, Path | bytes):
        return decode(image)
    if isinstance(image, Image.Image):
        return simplify(image)
    if isinstance(image, np.ndarray):
        return _open_array(image)
    raise ImageError(
        f"is a {type(image).__name__}; expected a path, the bytes of an image file, "
        "a Pillow image or a NumPy array"
    )


def _open_array(array: NDArray[Any]) -> Image.Image:
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3)) or array.size == 0:
        raise ImageError(
            f"is an array of shape {shape}; expected (height, width), (height, width, 1) or "
            "(height, width, 3), or for several images (num_images, height, width, channels)"
        )
    if array.dtype != np.uint8:
        raise ImageError(
            f"is an array of {array.dtype}; expected uint8 from 0 to 255: {_mend(array)}"
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise ImageError(
            f"has {shape[1]}x{shape[0]} = {shape[0] * shape[1]:,} pixels; "
            f"at most {MAX_PIXELS:,} are taken"
        )
    return Image.fromarray(
        np.ascontiguousarray(array.reshape(shape[:2]) if shape[2:] == (1,) else array)
    )


def _mend(array: NDArray[Any]) -> str:
    """Say how an array of another type becomes one of bytes."""
    if array.dtype == np.bool_:
        return "array.astype('uint8') * 255"
    if array.dtype.kind == "f" and array.max(initial=0.0) <= 1.0:
        return "(array * 255).round().astype('uint8')"
    if array.dtype.kind in "iuf":
        return "array.round().clip(0, 255).astype('uint8')"
    return "numbers are needed"
