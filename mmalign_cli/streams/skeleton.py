"""Skeletons: joints that turn about each other, and where they are (forward kinematics)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli.model import Float64Array

_BLOCK_FRAMES = 4096
_AXIS = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint, or the bone that begins at it.

    Parameters
    ----------
    name : str
        Its name.
    parent : int
        Index of the joint that carries it, before it in the list; -1 for a root.
    offset : ndarray, shape (3,)
        From the parent, at rest.
    turns : tuple of (str, int)
        Axis (x, y, z) and motion column of each rotation, the outermost first.
    shifts : tuple of (int, int)
        Axis number and motion column of each translation: it stands for the offset's own.
    frame : ndarray, shape (3, 3)
        Turns the joint's own axes, about which it rotates, to those of the skeleton at rest.
    is_bone : bool
        True where the offset turns with the joint itself (ASF: the joint is the bone's far end),
        False where it turns with the parent (BVH).
    """

    name: str
    parent: int
    offset: Float64Array
    turns: tuple[tuple[str, int], ...] = ()
    shifts: tuple[tuple[int, int], ...] = ()
    frame: Float64Array | None = None
    is_bone: bool = False


def rotation(axis: str, degrees: Float64Array) -> Float64Array:
    """Return the matrices that turn about an axis, right-handed.

    Parameters
    ----------
    axis : {"x", "y", "z"}
        The axis.
    degrees : ndarray, shape (n,)
        Angles.

    Returns
    -------
    ndarray, shape (n, 3, 3)
        They multiply column vectors from the left.
    """
    k = _AXIS[axis]
    i, j = (k + 1) % 3, (k + 2) % 3
    angles = np.deg2rad(degrees)
    matrices = np.zeros((len(angles), 3, 3))
    matrices[:, k, k] = 1.0
    matrices[:, i, i] = matrices[:, j, j] = np.cos(angles)
    matrices[:, j, i] = np.sin(angles)
    matrices[:, i, j] = -matrices[:, j, i]
    return matrices


def positions(joints: Sequence[Joint], motion: Float64Array) -> Float64Array:
    """Return where every joint is: forward kinematics.

    Joint j turns by ``R_j = R_parent F_j T_j F_j'``, T_j the product of its turns and F_j its
    frame, and stands at ``p_j = p_parent + R o_j``, R that of the parent, or for a bone its own.

    Parameters
    ----------
    joints : sequence of Joint
        Parents before children.
    motion : ndarray, shape (n_frames, n_columns)
        Degrees and lengths.

    Returns
    -------
    ndarray, shape (n_frames, 3 * n_joints)
        x, y, z of each joint, in the unit of the skeleton; not finite where the motion is not.
    """
    places = np.empty((len(motion), 3 * len(joints)))
    with np.errstate(all="ignore"):
        for start in range(0, len(motion), _BLOCK_FRAMES):
            block = slice(start, start + _BLOCK_FRAMES)
            places[block] = _block(joints, motion[block])
    return places


def _block(joints: Sequence[Joint], motion: Float64Array) -> Float64Array:
    n_frames = len(motion)
    world = np.broadcast_to(np.eye(3), (n_frames, 3, 3))
    turned: list[Float64Array] = []
    places = np.empty((n_frames, len(joints), 3))
    for index, joint in enumerate(joints):
        carrier = world if joint.parent < 0 else turned[joint.parent]
        turned.append(_turned(joint, carrier, motion))
        offset = np.tile(joint.offset, (n_frames, 1))
        for axis, column in joint.shifts:
            offset[:, axis] = motion[:, column]
        mover = turned[index] if joint.is_bone else carrier
        places[:, index] = np.einsum("nij,nj->ni", mover, offset)
        if joint.parent >= 0:
            places[:, index] += places[:, joint.parent]
    return places.reshape(n_frames, -1)


def _turned(joint: Joint, carrier: Float64Array, motion: Float64Array) -> Float64Array:
    if not joint.turns:
        return carrier
    matrices = carrier if joint.frame is None else carrier @ joint.frame
    for axis, column in joint.turns:
        matrices = matrices @ rotation(axis, motion[:, column])
    return matrices if joint.frame is None else np.asarray(matrices @ joint.frame.T)
