"""What is measured side by side: our engine and the libraries that people use, as plain functions.

A peer that is not installed is left out, and named. All compute the same: squared Euclidean costs,
the steps (1, 1), (1, 0) and (0, 1), all of weight 1 unless a case says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mmalign_cli import runtime

runtime.prepare_kernels()  # before a peer imports numba

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Run: TypeAlias = Callable[[Array, Array], object]


@dataclass(frozen=True)
class Program:
    """One way to compute DTW.

    Parameters
    ----------
    distance, path : callable or None
        Take two arrays (n, d) and (m, d); None where the library has no such function.
    bytes_a_cell : float
        Of the table that it keeps, so that none is asked for more than the machine has.
    """

    distance: Run | None
    path: Run | None
    bytes_a_cell: float


def ours(threads: int = 1, **options: Any) -> Program:
    """Return mmalign's own engine."""
    from mmalign_cli.align.dtw import distance, dtw

    return Program(
        lambda x, y: distance(x, y, threads=threads, **options),
        lambda x, y: dtw(x, y, threads=threads, **options),
        0.0,
    )


def _dtaidistance() -> Program:
    from dtaidistance import dtw, dtw_ndim

    def distance(x: Array, y: Array) -> object:
        if x.shape[1] == 1:
            return dtw.distance_fast(x[:, 0].copy(), y[:, 0].copy())
        return dtw_ndim.distance_fast(x, y)

    def path(x: Array, y: Array) -> object:
        if x.shape[1] == 1:
            return dtw.warping_path_fast(x[:, 0].copy(), y[:, 0].copy())
        return dtw_ndim.warping_path(x, y, use_c=True)

    return Program(distance, path, 8.0)


def _aeon() -> Program:
    from aeon.distances import dtw_alignment_path, dtw_distance

    return Program(
        lambda x, y: dtw_distance(np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)),
        lambda x, y: dtw_alignment_path(np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)),
        16.0,
    )


def _tslearn() -> Program:
    from tslearn.metrics import dtw, dtw_path

    return Program(dtw, dtw_path, 16.0)


def _librosa() -> Program:
    from librosa.sequence import dtw

    return Program(None, lambda x, y: dtw(x.T, y.T, metric="sqeuclidean", backtrack=True), 40.0)


def _dtw_python() -> Program:
    from dtw import dtw

    def run(x: Array, y: Array, distance_only: bool) -> object:
        return dtw(
            x, y, dist_method="sqeuclidean", step_pattern="symmetric1", distance_only=distance_only
        )

    return Program(lambda x, y: run(x, y, True), lambda x, y: run(x, y, False), 30.0)


_PEERS: Mapping[str, Callable[[], Program]] = {
    "dtaidistance": _dtaidistance,
    "aeon": _aeon,
    "tslearn": _tslearn,
    "librosa": _librosa,
    "dtw-python": _dtw_python,
}


def installed() -> tuple[dict[str, Program], list[str]]:
    """Return the peers that are installed, and the names of those that are not."""
    found, missing = {}, []
    for name, load in _PEERS.items():
        try:
            found[name] = load()
        except ImportError:
            missing.append(name)
    return found, missing
