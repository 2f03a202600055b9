"""What latents of several sets share, in a form that can be climbed from far away.

The total correlation of `mmalign_cli.align.correlation`, with two handles. Every correlation is
damped: with S the joint covariance and D its block diagonal,

    J = 1/2 (log det D - log det S_kappa),    S_kappa = sqrt(kappa) S + (1 - sqrt(kappa)) D

which for two sets is ``-1/2 sum_k log(1 - kappa rho_k^2)``: no direction is worth more than
``-1/2 log(1 - kappa)``, and while kappa is small none is polished at the cost of others. And the
correlations between sets are blurred along time, so that latents correlate that are not yet in
step. A trace norm, ``sum_k rho_k``, is near its maximum as soon as maps are rich enough to follow a
wrong warp; J goes on to tell .99 from .999.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmalign_cli.align.correlation import Samples
from mmalign_cli.model import Float64Array

RIDGE = 1e-3
_WIDTHS = 3.0


@dataclass(frozen=True)
class Damping:
    """How far from the plain total correlation.

    Parameters
    ----------
    kappa : float
        Share that counts of each squared correlation, below 1.
    blur : float
        Standard deviation of a Gaussian along time, as a share of a take.
    ridge : float
        Added to the variances of latents.
    """

    kappa: float
    blur: float = 0.0
    ridge: float = RIDGE


def damped_correlation(
    samples: Samples, n_takes: int, damping: Damping
) -> tuple[float, Float64Array]:
    """Return J in nats and its derivative by the samples, (n, D).

    With B the blur, A the inverse of S_kappa and w the weights,
    ``dJ/dZ_i = w Z_i (S_ii^-1 - A_ii) - sqrt(kappa) w sum_{j != i} B Z_j A_ji``.

    Parameters
    ----------
    samples : Samples
        Of takes end to end, as many of each.
    n_takes : int
    damping : Damping
    """
    centred = samples.centred()
    near = _blurred(centred, n_takes, damping.blur)
    weights, root = samples.weights[:, np.newaxis], np.sqrt(damping.kappa)
    cross = root * (centred.T @ (near * weights))
    joint = (cross + cross.T) / 2.0
    value, own = 0.0, np.zeros_like(joint)
    for block in samples.blocks:
        part = centred[:, block]
        alone = part.T @ (part * weights)
        alone.flat[:: len(alone) + 1] += damping.ridge
        joint[block, block] = alone
        value += float(np.linalg.slogdet(alone)[1])
        own[block, block] = np.linalg.inv(alone)
    value -= float(np.linalg.slogdet(joint)[1])
    inverse = np.linalg.inv(joint)
    others = -root * inverse
    for block in samples.blocks:
        own[block, block] -= inverse[block, block]
        others[block, block] = 0.0
    return value / 2.0, (centred @ own + near @ others) * weights


def _blurred(values: Float64Array, n_takes: int, share: float) -> Float64Array:
    """Return samples (n, D) smoothed along each take; mirrored ends keep the blur symmetric."""
    if share == 0.0:
        return values
    from scipy.ndimage import gaussian_filter1d

    parts = values.reshape(n_takes, -1, values.shape[1])
    sigma = share * parts.shape[1]
    smooth = gaussian_filter1d(parts, sigma, axis=1, mode="reflect", truncate=_WIDTHS)
    return np.asarray(smooth.reshape(values.shape))
