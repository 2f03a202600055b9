"""Features of points that move together, a body or its markers: free of place, size and heading."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.features.computed import Computed, same_times
from mmalign_cli.features.motion import points_of
from mmalign_cli.model import Float64Array, Stream

_ROOT = re.compile(r"(?i)(?:.*:)?(?:root|hips?|pelvis|mid_?hip|hip_?cent(?:er|re))")
_LIMBS = (
    ("hip", "shoulder", "elbow"),
    ("shoulder", "elbow", "wrist"),
    ("shoulder", "hip", "knee"),
    ("hip", "knee", "ankle"),
)
_SIDES = ("left", "right")
_NUMBERED = re.compile(r"(?:column_?)?\d+")
_AXES = "xyz"


def root_centred(stream: Stream, hop: Fraction) -> Computed:
    """Return each point's position less that of the root, (n_frames, n_columns).

    The root is the point called root, hips, pelvis or mid hip, and is left out; where no point is,
    it is the mean of all of them. Where the body stands no longer matters, how it turns does.
    """
    names, places = _points(stream)
    names, places = _centred(names, places)
    return _columns(stream, names, places)


def scale_free(stream: Stream, hop: Fraction) -> Computed:
    """Return `root_centred` divided by the size of the body, (n_frames, n_columns).

    The size is one number a recording: the median over its frames of the root mean square distance
    of the points from their mean.
    """
    names, places = _points(stream)
    spread = places - places.mean(axis=1, keepdims=True)
    size = float(np.median(np.sqrt((spread**2).sum(axis=2).mean(axis=1))))
    if size == 0:
        raise InputError(stream.source, "all points lie at one place: they have no size")
    names, places = _centred(names, places)
    return _columns(stream, names, places / size)


def joint_angles(stream: Stream, hop: Fraction) -> Computed:
    """Return the angle at each joint between its two neighbours in radians, (n_frames, n_angles).

    Where points have the names of a pose's joints: at shoulders, elbows, hips and knees. Else at
    every point but the first and the last between the one before it and the one after it, as files
    of skeletons list limbs from the trunk outwards. Free of place, heading and size.
    """
    names, places = _points(stream)
    joints = _limbs(names) or [(k, k + 1, k + 2) for k in range(len(names) - 2)]
    if not joints:
        raise InputError(stream.source, f"{len(names)} points have no joint: it takes 3")
    before, at, after = (places[:, list(one)] for one in zip(*joints, strict=True))
    angles = _angles(before - at, after - at)
    return same_times(stream, angles, tuple(f"{names[k]}_angle" for _, k, _ in joints))


def _angles(a: Float64Array, b: Float64Array) -> Float64Array:
    """Return the angles between vectors along the last axis, 0 where one has no length.

    Of unit vectors u and v it is ``2 atan2(|u - v|, |u + v|)`` (Kahan), exact near 0 and pi, where
    an arc cosine loses half the digits.
    """
    lengths = [np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b)]
    u, v = (w / np.where(n == 0, 1.0, n) for w, n in zip((a, b), lengths, strict=True))
    angle = 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))
    known = (lengths[0] > 0) & (lengths[1] > 0)
    return np.asarray(np.where(known[..., 0], angle, 0.0))


def _limbs(names: list[str]) -> list[tuple[int, int, int]]:
    """Return the joints of a pose by the names of its points; none where a name is missing."""
    index = {name.lower(): k for k, name in enumerate(names)}
    wanted = [tuple(f"{side}_{part}" for part in limb) for limb in _LIMBS for side in _SIDES]
    found = [limb for limb in wanted if all(name in index for name in limb)]
    return [(index[a], index[b], index[c]) for a, b, c in found]


def _centred(names: list[str], places: Float64Array) -> tuple[list[str], Float64Array]:
    root = next((k for k, name in enumerate(names) if _ROOT.fullmatch(name)), None)
    if root is None:
        return names, places - places.mean(axis=1, keepdims=True)
    others = [k for k in range(len(names)) if k != root]
    return [names[k] for k in others], places[:, others] - places[:, [root]]


def _points(stream: Stream) -> tuple[list[str], Float64Array]:
    """Return the names of the points of a stream, and where they are, (n_frames, n_points, 2 or 3).

    Columns are grouped by the axis that ends their names; those without names are x, y, z of one
    point after the other.
    """
    named = stream.columns if not all(map(_NUMBERED.fullmatch, stream.columns)) else ()
    points = points_of(named, stream.n_dims)
    if not named and stream.n_dims % len(_AXES) == 0:
        points = {f"point{k // 3 + 1}": [k, k + 1, k + 2] for k in range(0, stream.n_dims, 3)}
    sizes = {len(columns) for columns in points.values()}
    if "" in points or len(points) < 2 or sizes not in ({2}, {3}):
        what = f"its {stream.n_dims} columns are not points of x, y and z"
        hint = "choose them: columns=*_x+*_y+*_z; of BVH and AMC also key=positions"
        raise InputError(stream.source, what, hint)
    order = [column for columns in points.values() for column in columns]
    places = np.asarray(stream.values, dtype=np.float64)[:, order]
    return list(points), places.reshape(stream.n_frames, len(points), -1)


def _columns(stream: Stream, names: list[str], places: Float64Array) -> Computed:
    axes = _AXES[: places.shape[2]]
    columns = tuple(f"{name}_{axis}" for name in names for axis in axes)
    return same_times(stream, places.reshape(len(places), -1), columns)
