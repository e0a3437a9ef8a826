"""The PyTorch side of photographs: EfficientNet-Lite0, fine-tuned whole from the same weights.

The recipe of the field: AdamW with ten times the rate on the head, random resized crops and flips,
label smoothing, rates that fall linearly to nothing when the minutes are over. The images were
decoded once, to 256 pixels a side, and lie in memory as bytes; the network and its batches are in
the memory format ``channels_last``. Batch normalisation is trained as PyTorch does it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Of each stage of blocks: expansion, channels, blocks, stride of the first, side of the kernel."""

SIDE, BATCH_SIZE = 224, 32
BODY_RATE, HEAD_RATE, SMOOTHING = 3e-4, 3e-3, 0.1
AREA, ASPECT = (0.35, 1.0), (3 / 4, 4 / 3)
"""Least and largest share of the image that a crop shows, and its width over its height."""


@dataclass(frozen=True)
class Point:
    """What was seen on held-out images, so many seconds of training after the beginning."""

    seconds: float
    accuracy: float
    loss: float


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dictionary of a ``.pth`` file, read by PyTorch itself."""
    return cast(dict[str, torch.Tensor], torch.load(path, "cpu", weights_only=True))


def make_convolution(into: int, out: int, kernel: int, stride: int, groups: int = 1) -> nn.Module:
    """Return a convolution padded as TensorFlow does by "same", on images of any size."""

    class Same(nn.Conv2d):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pads: list[int] = []
            for length in (x.shape[3], x.shape[2]):  # Of the last axis first.
                total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
                pads += [total // 2, total - total // 2]
            return super().forward(functional.pad(x, pads))

    if stride == 1:  # Both sides alike: the convolution pads by itself, without a copy.
        return cast(
            nn.Module, nn.Conv2d(into, out, kernel, 1, kernel // 2, groups=groups, bias=False)
        )
    return cast(nn.Module, Same(into, out, kernel, stride, groups=groups, bias=False))


def make_network(classes: int) -> Any:
    """Return EfficientNet-Lite0 with names as in the file of weights.

    It takes pixel values of 0-255, shape (batch, 3, height, width), and gives a vector of 1280
    numbers an image, or as many logits as there are ``classes``.
    """

    def normalise(channels: int) -> nn.Module:
        return cast(nn.Module, nn.BatchNorm2d(channels, eps=1e-3))

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, into: int, out: int, expansion: int, kernel: int, stride: int) -> None:
            super().__init__()
            wide = into * expansion
            self.adds = stride == 1 and into == out
            self._expand_conv = make_convolution(into, wide, 1, 1) if expansion > 1 else None
            self._bn0 = normalise(wide) if expansion > 1 else None
            self._depthwise_conv = make_convolution(wide, wide, kernel, stride, groups=wide)
            self._bn1 = normalise(wide)
            self._project_conv = make_convolution(wide, out, 1, 1)
            self._bn2 = normalise(out)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            before = x
            if self._expand_conv is not None and self._bn0 is not None:
                x = functional.relu6(self._bn0(self._expand_conv(x)), inplace=True)
            x = functional.relu6(self._bn1(self._depthwise_conv(x)), inplace=True)
            x = self._bn2(self._project_conv(x))
            return x + before if self.adds else x

    class Lite(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._conv_stem, self._bn0 = make_convolution(3, 32, 3, 2), normalise(32)
            blocks, into = [], 32
            for expansion, out, repeats, stride, kernel in STAGES:
                for number in range(repeats):
                    blocks.append(Block(into, out, expansion, kernel, 1 if number else stride))
                    into = out
            self._blocks = nn.ModuleList(blocks)
            self._conv_head, self._bn1 = make_convolution(into, 1280, 1, 1), normalise(1280)
            self._fc = nn.Linear(1280, classes) if classes else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = functional.relu6(self._bn0(self._conv_stem((x - 127) / 128)), inplace=True)
            for block in self._blocks:
                x = block(x)
            x = functional.relu6(self._bn1(self._conv_head(x)), inplace=True)
            return cast(torch.Tensor, self._fc(x.mean((2, 3))))

    return Lite()


def load_network(path: Path, classes: int = 0) -> Any:
    """Return the network with the weights of a file, but for those of the last layer."""
    network = make_network(classes)
    weights = {k: v for k, v in load_weights(path).items() if not k.startswith("_fc.")}
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected, unexpected
    assert all(name.startswith("_fc.") for name in missing), missing
    return network


def compute_features(path: Path, images: NDArray[Any]) -> NDArray[np.float32]:
    """Return vectors of 1280 numbers for images of 0-255, shape (num, height, width, 3)."""
    network = load_network(path).eval()
    with torch.no_grad():
        given = torch.tensor(np.asarray(images, np.float32).transpose(0, 3, 1, 2))
        return np.asarray(network(given).numpy(), np.float32)


def fine_tune(
    weights: Path,
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    held: tuple[NDArray[np.uint8], NDArray[np.int64]],
    minutes: float,
    seed: int,
    note: Callable[[Point], None] | None = None,
) -> list[Point]:
    """Fine-tune the whole network for given minutes.

    Parameters
    ----------
    weights
        File of the pretrained weights.
    train, held
        Images, shape (num, height, width, 3), of 256 pixels a side, and classes from 0.
    minutes
        Of training, as `Clock` counts. What is done on held-out images takes none of it.
    seed
        Of the head's weights, the order of images, their crops and flips.
    note
        Called with each point as it is measured.

    Returns
    -------
    What was seen on the held-out images after each epoch, and at the end.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(seed)
    clock = Clock(minutes * 60)
    network = load_network(weights, int(train[1].max()) + 1)
    network = network.to(memory_format=torch.channels_last)
    head = list(network._fc.parameters())
    body = [p for n, p in network.named_parameters() if not n.startswith("_fc.")]
    optimizer = torch.optim.AdamW(
        [{"params": body, "lr": BODY_RATE}, {"params": head, "lr": HEAD_RATE}], fused=True
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    images, labels = hold(train[0]), torch.tensor(train[1]).long()
    held_images = shrink_all(hold(held[0]))
    curve: list[Point] = []
    while clock.left > 0:
        network.train()
        for picked in torch.randperm(len(images)).split(BATCH_SIZE):
            if clock.left <= 0 or len(picked) == 1:  # Of one image there is no variance.
                break
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * clock.left / clock.seconds
            optimizer.zero_grad(set_to_none=True)
            logits = network(crop_all(images[picked]))
            loss = functional.cross_entropy(logits, labels[picked], label_smoothing=SMOOTHING)
            loss.backward()
            optimizer.step()
        clock.stop()
        curve.append(Point(clock.gone, *judge(network, held_images, torch.tensor(held[1]).long())))
        if note is not None:
            note(curve[-1])
        clock.start()
    return curve


class Clock:
    """Seconds of training on a machine of its own: what its threads got, divided by their number.

    Where nothing else runs, that is the time that passes, as training keeps all of them busy. Where
    others run, too, they take no steps from the peer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.before, self.since = 0.0, time.process_time()
        self.runs = True

    @property
    def gone(self) -> float:
        """Seconds that have gone."""
        running = time.process_time() - self.since if self.runs else 0.0
        return self.before + running / int(torch.get_num_threads())

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - self.gone

    def stop(self) -> None:
        """Stop."""
        self.before, self.runs = self.gone, False

    def start(self) -> None:
        """Go on."""
        self.since, self.runs = time.process_time(), True


def hold(images: NDArray[np.uint8]) -> torch.Tensor:
    """Return images as bytes, shape (num, 3, height, width), in the order of ``channels_last``."""
    return torch.tensor(images).permute(0, 3, 1, 2)


def scale(images: torch.Tensor) -> torch.Tensor:
    """Bring images to the side that the network is given."""
    return functional.interpolate(
        images.float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
    )


def shrink_all(images: torch.Tensor) -> torch.Tensor:
    """Bring many images to that side, as bytes."""
    return torch.cat([scale(some).round().clamp(0, 255).byte() for some in images.split(64)])


def crop_all(images: torch.Tensor) -> torch.Tensor:
    """Cut a random part of each image, scale it, and mirror half of them."""
    height, width = images.shape[2:]
    cut = []
    for image in images:
        area = height * width * float(torch.empty(()).uniform_(*AREA))
        low, high = np.log(ASPECT)
        aspect = float(torch.empty(()).uniform_(low, high).exp())
        wide = min(width, round((area * aspect) ** 0.5))
        high_ = min(height, round((area / aspect) ** 0.5))
        left = int(torch.randint(width - wide + 1, ()))
        top = int(torch.randint(height - high_ + 1, ()))
        part = scale(image[None, :, top : top + high_, left : left + wide])
        cut.append(part.flip(3) if torch.rand(()) < 0.5 else part)
    return torch.cat(cut).contiguous(memory_format=torch.channels_last)


def judge(network: Any, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return the accuracy and the mean log loss on images, without changing the network."""
    network.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for some, classes in zip(images.split(64), labels.split(64), strict=True):
            given = some.float().contiguous(memory_format=torch.channels_last)
            logits = network(given)
            right += int((logits.argmax(1) == classes).sum())
            loss += float(functional.cross_entropy(logits, classes, reduction="sum"))
    return right / len(labels), loss / len(labels)
