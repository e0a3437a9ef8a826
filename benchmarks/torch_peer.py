"""The PyTorch side: the study's networks and a plain training loop, in its good form.

The images lie in memory as one float32 tensor in the memory format ``channels_last``; a batch
is gathered by a permutation; Adam is PyTorch's fused one; bfloat16 is autocast, also in
validation. No compiler, as none need be there.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from torch import nn

from burnish.space import Params
from record import load_mnist

BATCH_SIZE = 128
VALIDATION_BATCH = 500
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def build_torch(model: str, params: Params) -> Any:
    """Build a network of the families ``fnn`` and ``cnn`` for images of 28x28; logits out."""
    activation = ACTIVATIONS[str(params["activation"])]
    dropout = float(params["dropout_rate"])
    layers: list[nn.Module] = []
    if model == "fnn":
        width, layers = 28 * 28, [nn.Flatten()]
        for _ in range(int(params["num_hidden_layers"])):
            units = int(params["hidden_layer_size"])
            layers += [nn.Linear(width, units), activation(), nn.Dropout(dropout)]
            width = units
        return nn.Sequential(*layers, nn.Linear(width, 10))
    normalise = bool(params["batch_normalization"])
    side, channels = 28, 1

    def conv(into: int, size: int, stride: int) -> list[nn.Module]:
        made: list[nn.Module] = [
            nn.Conv2d(channels, into, size, stride, size // 2, bias=not normalise)
        ]
        made += [nn.BatchNorm2d(into)] if normalise else []
        return [*made, activation()]

    for block in range(int(params["num_conv_layers"])):
        which = "num_filters_first_layer" if block == 0 else "num_filters_sub_layers"
        filters = int(params[which])
        layers += conv(filters, int(params["kernel_size"]), 1)
        channels = filters
        if params["subsample_type"] == "2x2pool":
            layers.append(nn.MaxPool2d(2))
            side //= 2
        else:
            layers += conv(filters, 5, 2)
            side = (side + 1) // 2
    units = int(params["dense_layer_size"])
    layers += [nn.Flatten(), nn.Linear(side * side * channels, units, bias=not normalise)]
    layers += [nn.BatchNorm1d(units)] if normalise else []
    layers += [activation()] + ([nn.Dropout(dropout)] if dropout else [])
    return nn.Sequential(*layers, nn.Linear(units, 10)).to(memory_format=torch.channels_last)


def fit_torch(
    model: str, params: Params, num_images: int, epochs: int, seed: int, bfloat16: bool
) -> list[float]:
    """Return seconds per epoch, validation included."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(seed)
    data = load_mnist(num_images)
    x, x_val = (
        torch.tensor(split.images.transpose(0, 3, 1, 2).astype("float32") / 255)
        for split in (data.train, data.val)
    )
    y, y_val = (torch.tensor(split.labels).long() for split in (data.train, data.val))
    network = build_torch(model, params)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=float(params["learning_rate"]), eps=1e-7, fused=True
    )
    entropy = nn.CrossEntropyLoss()
    l2 = float(params.get("l2_strength", 0.0))
    weights = [m.weight for m in network if isinstance(m, nn.Linear)][:-1]
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        network.train()
        total = torch.zeros(())
        for picked in torch.randperm(len(x)).split(BATCH_SIZE):
            batch = x[picked].contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits = network(batch)
            loss = entropy(logits.float(), y[picked])
            total += loss.detach()
            if l2:
                loss = loss + l2 * sum(weight.square().sum() for weight in weights)
            loss.backward()
            optimizer.step()
        network.eval()
        val_loss = 0.0
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            for images, labels in zip(
                x_val.split(VALIDATION_BATCH), y_val.split(VALIDATION_BATCH), strict=True
            ):
                batch = images.contiguous(memory_format=torch.channels_last)
                val_loss += float(entropy(network(batch).float(), labels)) * len(labels)
        seconds.append(time.perf_counter() - started)
    return seconds


def time_product(side: int, repeats: int, bfloat16: bool) -> float:
    """Seconds of one product of two square matrices, the least of several."""
    torch.set_num_threads(os.cpu_count() or 1)
    a, b = (torch.rand(side, side).to(torch.bfloat16 if bfloat16 else torch.float32) for _ in "ab")
    least = float("inf")
    for _ in range(repeats + 1):
        started = time.perf_counter()
        torch.matmul(a, b)
        least = min(least, time.perf_counter() - started)
    return least
