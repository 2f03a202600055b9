"""What the local costs of two streams tell at once: DTW of one in many orders, and best fits."""

from __future__ import annotations

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.dtw import distance, local_costs
from mmalign_cli.align.metrics import metric_named
from mmalign_cli.kernels import codes
from mmalign_cli.model import Float64Array, FloatArray, IntArray


def distances_of_orders(
    x: FloatArray, y: FloatArray, orders: IntArray, metric: str
) -> Float64Array:
    """Return the least cost of DTW with one stream in several orders of its frames.

    What `mmalign_cli.align.dtw.distance` says of ``x`` and each ``y[order]``, but all in float64.

    Parameters
    ----------
    x : ndarray, shape (n, d)
    y : ndarray, shape (m, d)
    orders : ndarray, shape (k, m)
        Which frame of `y` stands at each place.
    metric : str
        As of `mmalign_cli.align.dtw.dtw`.

    Returns
    -------
    ndarray, shape (k,)
    """
    if metric_named(metric).table is not None:  # whose costs depend on the order
        return np.array([distance(x, y[order], metric=metric) for order in orders])
    runtime.prepare_kernels()
    from mmalign_cli.kernels import orders as kernel
    from mmalign_cli.kernels.forms import Form

    form = Form(codes.SQEUCLIDEAN, 0, 1, False, kernel.BY_LANES)  # costs are given: any metric
    out = np.empty(len(orders))
    kernel.least_costs(form, local_costs(y, x, metric), orders, out)
    return out


def nearest_costs(x: FloatArray, y: FloatArray, metric: str) -> tuple[Float64Array, Float64Array]:
    """Return what each frame costs with the frame of the other stream that fits it best.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (m, d)
    metric : str

    Returns
    -------
    ndarray, shape (n,), and ndarray, shape (m,)
    """
    runtime.prepare_kernels()
    from mmalign_cli.kernels import orders as kernel

    of_x, of_y = np.empty(len(x)), np.empty(len(y))
    kernel.nearest(local_costs(x, y, metric), of_x, of_y)
    return of_x, of_y
