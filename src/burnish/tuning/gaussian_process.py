"""Which candidate promises most, under a Gaussian process on scikit-learn.

Expected improvement (Jones et al. 1998) under a Matern 5/2 kernel with a length scale
for every column (Snoek et al. 2012), over the logarithm of the losses. Everything here
is rows of numbers; what they mean is the sampler's business.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


def find_most_promising(
    observed: Rows, losses: Rows, running: Rows, candidates: Rows, seed: int
) -> int:
    """Give the index of the candidate with the highest expected improvement.

    Parameters
    ----------
    observed, losses
        What is known: shape (num_observed, num_columns), values from 0 to 1, and shape
        (num_observed,), positive.
    running
        Shape (num_running, num_columns): points without a result yet. The process's own
        prediction stands for it, so that their neighbourhood is not proposed again (the
        "Kriging believer", Ginsbourger et al. 2010).
    candidates
        Shape (num_candidates, num_columns), at least one.
    seed
        Of the restarts by which the kernel's length scales are fitted.
    """
    targets = np.log(np.maximum(losses, 1e-12))
    process = _fit_process(observed, targets, seed)
    if len(running):
        believed = np.concatenate([targets, process.predict(running)])
        process.set_params(kernel=process.kernel_, optimizer=None)
        process.fit(np.concatenate([observed, running]), believed)
    mean, deviation = process.predict(candidates, return_std=True)
    return int(_expected_improvement(mean, deviation, float(targets.min())).argmax())


def _fit_process(x: Rows, y: Rows, seed: int) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    scales = np.full(x.shape[1], 1.0)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(scales, (0.1, 20.0), nu=2.5)
    process = GaussianProcessRegressor(
        kernel + WhiteKernel(1e-2, (1e-4, 1.0)),
        normalize_y=True,
        n_restarts_optimizer=1,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        # A length scale at its bound says that a hyperparameter does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(x, y)


def _expected_improvement(mean: Rows, deviation: Rows, best: float) -> Rows:
    from scipy.stats import norm

    deviation = np.maximum(deviation, 1e-9)
    gain = (best - mean) / deviation
    return np.asarray(deviation * (gain * norm.cdf(gain) + norm.pdf(gain)))
