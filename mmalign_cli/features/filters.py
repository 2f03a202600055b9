"""Filter banks of librosa, kept on disk.

Loading librosa takes a second, which is most of what a short alignment takes; the weights that
its filters are made of take a millisecond to read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.model import Float64Array


@functools.lru_cache(maxsize=8)
def mel(rate: float, n_fft: int, n_bands: int, lowest_hz: float) -> Float64Array:
    """Return what `librosa.filters.mel` does, (n_bands, 1 + n_fft // 2), float64.

    Parameters
    ----------
    rate : float
        Samples per second.
    n_fft : int
        Samples of the transform.
    n_bands : int
    lowest_hz : float
        Where the first band begins.
    """

    def make() -> Float64Array:
        from librosa.filters import mel

        return np.asarray(mel(sr=rate, n_fft=n_fft, n_mels=n_bands, fmin=lowest_hz, dtype=float))

    return _kept(f"mel-{rate!r}-{n_fft}-{n_bands}-{lowest_hz!r}", (n_bands, 1 + n_fft // 2), make)


@functools.lru_cache(maxsize=8)
def chroma(rate: float, n_fft: int) -> Float64Array:
    """Return what `librosa.filters.chroma` does in standard tuning, (12, 1 + n_fft // 2), float64.

    Parameters
    ----------
    rate : float
        Samples per second.
    n_fft : int
        Samples of the transform.
    """

    def make() -> Float64Array:
        from librosa.filters import chroma

        return np.asarray(chroma(sr=rate, n_fft=n_fft, tuning=0.0, dtype=float))

    return _kept(f"chroma-{rate!r}-{n_fft}", (12, 1 + n_fft // 2), make)


def _kept(name: str, shape: tuple[int, int], make: Callable[[], Float64Array]) -> Float64Array:
    """Return weights from disk, or make them and keep them there."""
    from importlib.metadata import version

    return runtime.kept(f"{name}-librosa-{version('librosa')}", shape, make)
