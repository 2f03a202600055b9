"""Sequences with a known alignment.

Three kinds from the literature: the spiral of Zhou and De la Torre (2012), where every sequence
is an affine image of one latent curve beside a column of noise; the nine curve families of Tralie
(2017), under rigid motion, bumps and smooth warps; and takes of two sensors that share their maps,
linear or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from mmalign_cli.model import Float64Array, IntArray

SPIRAL_FRAMES = 300
CURVE_FRAMES = 200
TAKE_FRAMES = 200
_SEGMENTS = 5
_RATES = (0.3, 0.9)
_NOISE_COLUMNS = 2


@dataclass(frozen=True, eq=False)
class Planted:
    """Sequences and the truth about them.

    Parameters
    ----------
    sequences : tuple of ndarray, shape (n_i, d_i)
    truth : ndarray, shape (n_steps, m)
        The true path, in whole frames.
    """

    sequences: tuple[Float64Array, ...]
    truth: IntArray


def kept_frames(n_frames: int, rng: Generator) -> IntArray:
    """Return which latent frames a sequence keeps: five segments, each at a rate of its own.

    Segment s has ``n_s = round(n / 5 * rate)`` frames with rate uniform in [0.3, 0.9]; its frame
    k = 1 ... n_s shows latent frame ``head + round(n / 5 * k / n_s)``, counted from 1: the last
    latent frame is always kept, the first one not.
    """
    length = n_frames // _SEGMENTS
    counts = np.round(length * rng.uniform(*_RATES, _SEGMENTS)).astype(np.int64)
    parts = [
        s * length + np.round(length * np.arange(1, count + 1) / count)
        for s, count in enumerate(counts)
    ]
    return np.concatenate(parts).astype(np.int64) - 1


def truth_of(kept: list[IntArray], n_frames: int) -> IntArray:
    """Return the path (n_frames, m): the frame of each sequence at each latent frame.

    Between latent frames that a sequence keeps, its frame is filled in linearly, and rounded,
    halves down.
    """
    latent = np.arange(n_frames)
    frames = [np.interp(latent, k, np.arange(len(k))) for k in kept]
    return np.ceil(np.stack(frames, axis=1) - 0.5).astype(np.int64)


def spiral(n_sequences: int, rng: Generator) -> Planted:
    """Return sequences of three columns: two of a spiral's affine image, one of noise.

    The latent point k of l = 300 is ``th (cos th, sin th)`` with ``th = 4 pi b / l`` and
    ``b = sqrt(k / (l - 1)) (l - 1) + 1``. Each sequence has its own segments, a rotation below
    180 degrees, scales below 2, a shift below twice the range, and noise of deviation 2.
    """
    grown = np.sqrt(np.linspace(0.0, 1.0, SPIRAL_FRAMES)) * (SPIRAL_FRAMES - 1) + 1
    angle = 4 * np.pi * grown / SPIRAL_FRAMES
    latent = np.column_stack([angle * np.cos(angle), angle * np.sin(angle)])
    kept = [kept_frames(SPIRAL_FRAMES, rng) for _ in range(n_sequences)]
    return Planted(
        tuple(_affine_image(latent[k], rng) for k in kept), truth_of(kept, SPIRAL_FRAMES)
    )


def _affine_image(points: Float64Array, rng: Generator) -> Float64Array:
    """Rotate, scale and shift points (n, 2), and add the column of noise."""
    turn = rng.uniform(0.0, np.pi)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    scaled = points @ rotation * rng.uniform(0.0, 2.0, 2)
    shifted = scaled + rng.uniform(0.0, 2.0, 2) * np.ptp(scaled, axis=0)
    return np.column_stack([shifted, rng.normal(0.0, 2.0, len(points))])


def _torus_knot(p: int, q: int, t: Float64Array) -> Float64Array:
    angle = 2 * np.pi * t
    radius = 2 + np.cos(q * angle)
    return np.column_stack(
        [radius * np.cos(p * angle), radius * np.sin(p * angle), -np.sin(q * angle)]
    )


def _lissajous(a: int, b: int, t: Float64Array) -> Float64Array:
    return np.column_stack([np.sin(2 * np.pi * a * t), np.sin(2 * np.pi * b * t)])


def _viviani(t: Float64Array) -> Float64Array:
    angle = 4 * np.pi * t - np.pi
    return np.column_stack([(1 + np.cos(angle)) / 2, np.sin(angle) / 2, np.sin(angle / 2)])


def _tschirnhausen(t: Float64Array) -> Float64Array:
    s = 5 * (t - 0.5)
    return np.column_stack([1 - 3 * s**2, s * (3 - s**2)]) / 8.875


def _pinched_circle(t: Float64Array) -> Float64Array:
    angle = 2 * np.pi * t
    radius = 1.5 + np.cos(2 * angle)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def _cone_helix(t: Float64Array) -> Float64Array:
    angle, height = 32 * np.pi * t, t - 0.5
    return np.column_stack([height * np.cos(angle), height * np.sin(angle), height])


def _epicycloid(t: Float64Array) -> Float64Array:
    angle = 2 * np.pi * t
    return np.column_stack(
        [
            2 * np.cos(angle) - np.cos(4 * angle) / 2,
            2 * np.sin(angle) - np.sin(4 * angle) / 2,
        ]
    )


CURVES: Mapping[str, Callable[[Float64Array], Float64Array]] = {
    "viviani": _viviani,
    "tschirnhausen": _tschirnhausen,
    "torus-knot-2-3": lambda t: _torus_knot(2, 3, t),
    "torus-knot-3-5": lambda t: _torus_knot(3, 5, t),
    "pinched-circle": _pinched_circle,
    "lissajous-3-2": lambda t: _lissajous(3, 2, t),
    "lissajous-5-4": lambda t: _lissajous(5, 4, t),
    "cone-helix": _cone_helix,
    "epicycloid": _epicycloid,
}
"""Name of a family to its points (n, 2 or 3) at parameters (n,) in [0, 1]."""

_POWERS = (0.25, 1 / 3, 0.5, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0)  # as published: 1 twice, 0 once
_TANH_ENDS = (2.0, 3.0, 4.0)
_MIXED = 3
_BUMPS, _BUMP_SIZE, _BUMP_SHARE = 2, 2.0, 0.1


def smooth_warp(t: Float64Array, rng: Generator) -> Float64Array:
    """Return a random mixture of three smooth warps of [0, 1], at `t`.

    From powers, hyperbolic tangents on [-2, p], and the inverses of these.
    """
    basis = [t**power for power in _POWERS]
    for end in _TANH_ENDS:
        bent = np.tanh(-2 + (2 + end) * t)
        bent = (bent - bent[0]) / (bent[-1] - bent[0])
        basis += [bent, np.interp(t, bent, t)]
    chosen = rng.choice(len(basis), _MIXED, replace=False)
    weights = rng.uniform(0.0, 1.0, _MIXED)
    warped = weights @ np.array([basis[k] for k in chosen]) / weights.sum()
    return np.asarray((warped - warped[0]) / (warped[-1] - warped[0]))


def curve(family: str, rng: Generator) -> Planted:
    """Return a curve at even parameters, and its warped, bumped and rigidly moved image.

    Both have 200 frames. Two bumps pull a stretch of the image to a point twice the mean distance
    of its nearest tenth of frames away.
    """
    t = np.linspace(0.0, 1.0, CURVE_FRAMES)
    warped = smooth_warp(t, rng)
    image = CURVES[family](warped)
    for _ in range(_BUMPS):
        image = _bumped(image, rng)
    return Planted((CURVES[family](t), _moved(image, rng)), _staircase(warped))


def _staircase(warped: Float64Array) -> IntArray:
    """Return the path (n_steps, 2) of a warp at even times: no step moves more than a frame."""
    frames = np.column_stack([warped * (len(warped) - 1), np.arange(len(warped))])
    moved = np.concatenate([[0.0], np.cumsum(np.diff(frames, axis=0).max(axis=1))])
    at = np.linspace(0.0, moved[-1], 2 * int(np.ceil(moved[-1])) + 1)
    path = np.round(np.stack([np.interp(at, moved, column) for column in frames.T], axis=1))
    return np.unique(path.astype(np.int64), axis=0)


def _bumped(points: Float64Array, rng: Generator) -> Float64Array:
    """Pull a stretch of points (n, d) towards a random point near one of them."""
    at = int(rng.integers(len(points)))
    away = np.linalg.norm(points - points[at], axis=1)
    size = np.sort(away)[1 : int(_BUMP_SHARE * len(points)) + 1].mean()
    direction = rng.normal(size=points.shape[1])
    target = points[at] + _BUMP_SIZE * size * direction / np.linalg.norm(direction)
    square = ((target - points) ** 2).sum(axis=1)
    nearest = int(square.argmin())
    in_time = np.exp(-(((nearest - np.arange(len(points))) / (_BUMP_SHARE * len(points))) ** 2))
    in_space = 0.9 ** (square / max(square[nearest], np.finfo(np.float64).tiny))
    return np.asarray(points + (target - points) * (in_time * in_space)[:, np.newaxis])


def _moved(points: Float64Array, rng: Generator) -> Float64Array:
    """Rotate points (n, d), possibly mirrored, and shift them."""
    n_dims = points.shape[1]
    rotation, _, _ = np.linalg.svd(rng.normal(size=(n_dims, n_dims)))
    centred = points - points.mean(axis=0)
    return np.asarray(centred @ rotation + points.std() * rng.normal(size=n_dims))


def takes(n_takes: int, linear: bool, rng: Generator) -> list[Planted]:
    """Return takes of two sensors that see a smooth random point in the plane.

    Sensor 1 is linear with four columns; sensor 2 is linear with six, or with `linear` false the
    cosines of five random linear maps. Each has two columns of noise beside. The maps are the
    same in all takes; the latent curve of 200 frames and both five-segment warps are not.
    """
    first = rng.normal(size=(2, 4))
    second = rng.normal(size=(2, 6)) if linear else rng.normal(0.0, 1.2, size=(2, 5))
    phases = rng.uniform(0.0, 2 * np.pi, second.shape[1])
    made = []
    for _ in range(n_takes):
        latent = _smooth_latent(rng)
        kept = [kept_frames(TAKE_FRAMES, rng) for _ in range(2)]
        seen = [latent[kept[0]] @ first, latent[kept[1]] @ second]
        if not linear:
            seen[1] = np.cos(seen[1] + phases)
        made.append(
            Planted(
                tuple(
                    np.hstack([view, rng.normal(size=(len(view), _NOISE_COLUMNS))]) for view in seen
                ),
                truth_of(kept, TAKE_FRAMES),
            )
        )
    return made


def _smooth_latent(rng: Generator) -> Float64Array:
    """Return two smooth random columns of unit variance, (200, 2)."""
    from scipy.ndimage import gaussian_filter1d

    latent = gaussian_filter1d(rng.normal(size=(TAKE_FRAMES, 2)), 10.0, axis=0)
    return np.asarray((latent - latent.mean(axis=0)) / latent.std(axis=0))
