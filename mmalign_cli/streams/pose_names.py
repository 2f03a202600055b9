"""What pose estimators call their points, in the order of their files."""

from __future__ import annotations

from collections.abc import Mapping

_COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle"
)
_OPENPOSE_18 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye "
    "right_ear left_ear"
)
_BODY_25 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear "
    "left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel"
)
_BLAZEPOSE = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
    "left_ear right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_pinky right_pinky left_index right_index left_thumb "
    "right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel "
    "right_heel left_foot_index right_foot_index"
)
BODIES: Mapping[int, tuple[str, ...]] = {
    len(names.split()): tuple(names.split())
    for names in (_COCO, _OPENPOSE_18, _BODY_25, _BLAZEPOSE)
}
"""Points of a body by how many there are: COCO, OpenPose's COCO and BODY_25, MediaPipe."""


def names_of(part: str, n_points: int) -> tuple[str, ...]:
    """Return the names of the points of a part: the body's own, numbers from 0 for others.

    Examples
    --------
    >>> names_of("body", 17)[:2], names_of("left_hand", 2)
    (('nose', 'left_eye'), ('left_hand_0', 'left_hand_1'))
    """
    if part == "body" and n_points in BODIES:
        return BODIES[n_points]
    return tuple(f"{part}_{k}" for k in range(n_points))
