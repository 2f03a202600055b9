"""Keypoints of people over time: one person of a pose file, or of a folder of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.columns import shortened
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.grid import text_lines
from mmalign_cli.streams.points import unique, with_columns
from mmalign_cli.streams.pose_json import Frame, Person, Poses, read_poses
from mmalign_cli.streams.pose_names import names_of
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

PARTS = ("body", "world", "left_hand", "right_hand", "face")
_AXES = ("x", "y", "z", "confidence")


def read_keypoints(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read the points of one person from OpenPose, COCO or MediaPipe JSON.

    Parameters
    ----------
    source : Source
        The file, or a folder of files, one a frame.
    options : Options
        ``key``: who; the file's own id of a person, or else a number, 1 is the first of each
        frame; without it the person whose body's points are surest in each frame. ``columns``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        ``nose_x``, ``nose_y`` (and ``nose_z``), in the file's unit, (n_frames, n_columns); points
        that were not found, and frames without the person, are NaN. ``nose_confidence``, and
        hands and face beside a body, are there only where ``columns=`` names them.

    Raises
    ------
    InputError
        If it holds no poses, nobody of that name, or frames with different points.
    """
    poses = read_poses("\n".join(text_lines(source, options)), source.path)
    people = [_who(frame, options.key) for frame in poses.frames]
    if not any(people):
        raise _nobody(poses, options, source.path)
    values, columns = _stacked(people, poses.names, source.path)
    most = max(len(frame.people) for frame in poses.frames)
    note = f"up to {most} people in a frame; {sum(p is None for p in people)} frames without"
    warnings: tuple[str, ...] = ()
    if most > 1 and options.key is None:
        what = f"up to {most} people in a frame: the surest of each is taken (key=)"
        warnings = (f"{source.path}: {what}",)
    times = _times(poses.frames)
    content = Content(values, "table", times, None, 0.0, columns, (note,), warnings)
    return with_columns(content, options, source.path, _hidden(columns, people))


def _who(frame: Frame, key: str | None) -> Person | None:
    """Return the person of a frame that the key names."""
    if key is None:
        return max(frame.people, key=_sureness, default=None)
    for person in frame.people:
        if person.id == key:
            return person
    has_ids = any(person.id is not None for person in frame.people)
    number = int(key) if re.fullmatch(r"[0-9]{1,6}", key) and not has_ids else 0
    return frame.people[number - 1] if 1 <= number <= len(frame.people) else None


def _sureness(person: Person) -> float:
    points = person.parts.get("body", next(iter(person.parts.values()), np.zeros((0, 4))))
    with np.errstate(over="ignore", invalid="ignore"):  # who claims 1e308 is as sure as can be
        return float(np.nansum(points[:, 3]))


def _nobody(poses: Poses, options: Options, subject: str) -> InputError:
    ids = sorted({p.id for frame in poses.frames for p in frame.people if p.id is not None})
    most = max(len(frame.people) for frame in poses.frames)
    hint = f"it holds {shortened(ids)}" if ids else f"key=1 ... key={most}"
    return InputError(subject, f"holds no person {options.key!r}", hint)


def _stacked(
    people: Sequence[Person | None], names: tuple[str, ...], subject: str
) -> tuple[Float64Array, tuple[str, ...]]:
    """Return the points of a person over the frames, and their names."""
    blocks, columns = [], []
    for part in PARTS:
        counts = {len(p.parts[part]) for p in people if p and part in p.parts}
        if len(counts) > 1:
            what = f"{part}: {min(counts)} points in some frames, {max(counts)} in others"
            raise InputError(subject, what)
        if not counts or counts == {0}:
            continue
        nothing = np.full((counts.pop(), 4), np.nan)
        block = np.stack([p.parts.get(part, nothing) if p else nothing for p in people])
        axes = [k for k in range(4) if k < 2 or not np.isnan(block[..., k]).all()]
        points = names if len(names) == len(nothing) else names_of(part, len(nothing))
        blocks.append(block[..., axes].reshape(len(people), -1))
        columns += [f"{name}_{_AXES[k]}" for name in unique(points) for k in axes]
    if not blocks:
        raise InputError(subject, "its people have no points")
    return np.hstack(blocks), unique(columns)


def _hidden(columns: Sequence[str], people: Sequence[Person | None]) -> list[str]:
    """Return the columns that are there only where they are named."""
    has_body = any(p is not None and "body" in p.parts for p in people)
    others = re.compile(rf"(?:{'|'.join(PARTS[1:])})_\d+_.")
    return [c for c in columns if c.endswith("_confidence") or (has_body and others.match(c))]


def _times(frames: Sequence[Frame]) -> Float64Array | None:
    """Return the times of the frames, if the file has one for each."""
    times = [frame.time_s for frame in frames if frame.time_s is not None]
    return np.array(times) if len(times) == len(frames) else None
