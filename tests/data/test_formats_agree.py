"""The same images in any format train the same network, to the bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from burnish.data import load_source, prepare
from burnish.data.load import load_images
from burnish.models import default_params, find_family
from burnish.training import FitRequest, TrainingSettings, fit

from .made import Made, write_every_format


def test_losses_of_the_first_epoch_are_equal_whatever_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.environ.get("BURNISH_DATA")
    if folder is None or not (Path(folder) / "mnist").is_dir():
        pytest.skip("BURNISH_DATA names no folder with MNIST in it")
    mnist = load_source("mnist", Path(folder))
    assert mnist.test is not None
    images = np.concatenate([mnist.train.images[:600], mnist.test.images[:100]])[..., 0]
    labels = np.concatenate([mnist.train.labels[:600], mnist.test.labels[:100]])
    made = Made(images, labels, mnist.class_names, ("train",) * 600 + ("test",) * 100)
    settings = TrainingSettings(batch_size=64, max_epochs=1)
    request = FitRequest("fnn", default_params(find_family("fnn")), settings, seed=1)
    losses = {}
    for number, (name, path) in enumerate(write_every_format(tmp_path, made).items()):
        # Every second one read from its file as it is used, as a large data set would be.
        monkeypatch.setattr("burnish.data.split.HELD_BYTES", 2**28 if number % 2 else 0)
        dataset, _ = prepare(load_images(path, cache_folder=tmp_path / "cache"), None, seed=4)
        assert dataset.train.is_held is (number % 2 == 1)
        history = fit(request, dataset).history
        losses[name] = (dataset.fingerprint, history[0].train_loss, history[0].val_loss)
    assert len(losses) == 5
    assert len(set(losses.values())) == 1, losses
