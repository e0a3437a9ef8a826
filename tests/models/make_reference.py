"""Features of EfficientNet-Lite0 by PyTorch, for test_efficientnet_lite.py to compare with.

    PYTHONPATH=benchmarks python -m tests.models.make_reference

It was run once, with PyTorch 2.13.0 on a processor, and wrote lite0_features.npy beside it. Needs
`pip install torch`. PyTorch itself reads the file of weights, with `weights_only`, and must find in
it what burnish's reader finds; the network is the one that the benchmarks fine-tune
(benchmarks/torch_photos.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from burnish.models.efficientnet_lite import LITES
from burnish.models.pytorch_file import read_weights

from ..support.photographs import pack_features, reference_batches

REFERENCE = Path(__file__).with_name("lite0_features.npy")


def main() -> None:
    """Write the array."""
    from torch_photos import compute_features, load_weights

    lite = LITES["efficientnet-lite0"]
    path = lite.find_weights()
    by_torch, by_burnish = load_weights(path), read_weights(path, lite.sha256)
    assert list(by_torch) == list(by_burnish)
    for name, tensor in by_torch.items():
        np.testing.assert_array_equal(tensor.numpy(), by_burnish[name])
    packed = [pack_features(compute_features(path, batch)) for batch in reference_batches()]
    np.save(REFERENCE, np.concatenate(packed))


if __name__ == "__main__":
    main()
