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
from burnish.image import (
    MAX_PIXELS,
    NO_INK,
    InputSpec,
    Picture,
    convert,
    decode,
    find_blank,
    from_array,
    from_values,
    simplify,
)
from burnish.image.wide import WideImage, show_range
from burnish.onnx_runtime import onnxruntime

ImageLike: TypeAlias = str | Path | bytes | Picture | NDArray[Any]
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

    def predict(
        self,
        images: ImageLike | Iterable[ImageLike],
        batch_size: int = 64,
        max_pixels: int | None = None,
    ) -> Predictions:
        """Classify images.

        Parameters
        ----------
        images
            One image or several: paths, contents of image files, Pillow images, or arrays
            (height, width) or (height, width, 1 to 4 channels: grey, grey and alpha, RGB,
            RGBA); also one array (num_images, height, width, channels). Sizes may differ.
            Arrays are uint8; of other types they hold the values that the training images
            had, which ``spec.range`` maps.
        batch_size
            Images that are held and predicted at once.
        max_pixels
            Larger images are refused; `burnish.image.MAX_PIXELS` by default.

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
        prepared = self._prepare_all(images, max_pixels)
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

    def prepare(self, image: ImageLike, max_pixels: int | None = None) -> NDArray[np.uint8]:
        """Bring one image to what the network takes, as its training images were.

        Parameters
        ----------
        image
            As one of those that :meth:`predict` takes.
        max_pixels
            As there.

        Returns
        -------
        uint8 array (height, width, channels), of the shape ``spec.shape``

        Raises
        ------
        ImageError
            If it cannot be read or used; a path is named.
        """
        return self._prepare(image, "the image", max_pixels)

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

    def _prepare(self, image: ImageLike, name: str, max_pixels: int | None) -> NDArray[np.uint8]:
        try:
            return convert(_open(image, self.spec, max_pixels or MAX_PIXELS), self.spec)
        except ImageError as error:
            shown = str(image) if isinstance(image, str | Path) else name
            raise ImageError(f"{shown} {error}") from error

    def _prepare_all(
        self, images: ImageLike | Iterable[ImageLike], max_pixels: int | None
    ) -> Iterator[NDArray[np.uint8]]:
        if isinstance(images, str | Path | bytes | Image.Image | WideImage) or (
            isinstance(images, np.ndarray) and images.ndim != 4
        ):
            yield self._prepare(images, "the image", max_pixels)
            return
        for place, image in enumerate(images):
            yield self._prepare(image, f"image {place}", max_pixels)

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
    given = Path(path)
    if given.is_file():
        from burnish.bundle.archive import unpack

        with tempfile.TemporaryDirectory(prefix="burnish-") as scratch:
            folder = Path(scratch) / "model"
            unpack(given, folder)
            return _load_folder(folder, given, threads)
    folder = find_bundle(given)
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


def _open(image: ImageLike, spec: InputSpec, max_pixels: int) -> Picture:
    if isinstance(image, str):
        image = Path(image)
    if isinstance(image, Path | bytes):
        return decode(image, max_pixels=max_pixels)
    if isinstance(image, WideImage):
        return image
    if isinstance(image, Image.Image):
        return simplify(image)
    if isinstance(image, np.ndarray):
        return _open_array(image, spec, max_pixels)
    raise ImageError(
        f"is a {type(image).__name__}; expected a path, the bytes of an image file, "
        "a Pillow image or a NumPy array"
    )


def _open_array(array: NDArray[Any], spec: InputSpec, max_pixels: int) -> Picture:
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= shape[2] <= 4) or array.size == 0:
        raise ImageError(
            f"is an array of shape {shape}; expected (height, width) or (height, width, 1 to 4 "
            "channels), or for several images (num_images, height, width, channels)"
        )
    if shape[0] * shape[1] > max_pixels:
        raise ImageError(
            f"has {shape[1]}x{shape[0]} = {shape[0] * shape[1]:,} pixels; "
            f"at most {max_pixels:,} are taken, unless max_pixels allows more"
        )
    native = array.dtype.newbyteorder("=")
    if spec.range is None and native not in (np.uint8, np.bool_, np.uint16):
        return _open_bytes(array)
    return from_values(array)


def _open_bytes(array: NDArray[Any]) -> Image.Image:
    """Take integers for bytes, as a data set does whose integers all go from 0 to 255."""
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
        return from_array(array.astype(np.uint8))
    raise ImageError(
        f"is an array of {array.dtype}; the model was trained on images of 8 bits, and expects "
        f"uint8 from 0 to 255: {_advise(array)}"
    )


def _advise(array: NDArray[Any]) -> str:
    """Say how an array of another type becomes one of bytes."""
    if array.dtype.kind not in "iuf":
        return "numbers are needed"
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1.0:
        return "(array * 255).round().astype('uint8')"
    if low >= 0 and high <= 255:
        return "array.round().astype('uint8')"
    return (
        f"it has values from {show_range((low, high))}; map those that were black and white in "
        "the training images to 0 and 255"
    )
