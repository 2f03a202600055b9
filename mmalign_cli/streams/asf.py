"""Acclaim skeletons: bones, their lengths, axes and degrees of freedom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.grid import text_lines
from mmalign_cli.streams.points import numbers_of
from mmalign_cli.streams.skeleton import Joint, rotation
from mmalign_cli.streams.source import Source
from mmalign_cli.streams.spec import Options

ROOT = "root"
_TURNS, _SHIFTS = ("rx", "ry", "rz"), ("tx", "ty", "tz")


@dataclass
class Bone:
    """A bone.

    Parameters
    ----------
    direction, length : ndarray, shape (3,), and float
        Where its end lies from its start, at rest; of the root, whose length is 1, its place.
    axis : ndarray, shape (3,)
        Degrees about x, y and z: the axes that it turns about.
    order : str
        The order of those turns.
    dof : tuple of str
        What moves, in the order of the motion file: ``rx``, ``ty``, ...
    """

    direction: Float64Array = field(default_factory=lambda: np.zeros(3))
    length: float = 1.0
    axis: Float64Array = field(default_factory=lambda: np.zeros(3))
    order: str = "xyz"
    dof: tuple[str, ...] = ()


@dataclass
class Skeleton:
    """An ASF skeleton.

    Parameters
    ----------
    path : str
        Its file.
    bones : dict
        Each bone by name, every parent before its children, the root first.
    parents : dict
        The parent of each bone but the root.
    in_radians : bool
        True where its angles are radians.
    """

    path: str
    bones: dict[str, Bone] = field(default_factory=lambda: {ROOT: Bone()})
    parents: dict[str, str] = field(default_factory=dict)
    in_radians: bool = False

    def joints(self, columns: Mapping[str, int]) -> list[Joint]:
        """Return the joints, for `skeleton.positions`.

        A bone turns by ``C T C'`` within its parent: C from its axis, T from the motion. Both
        turn about fixed axes in the order named, which is from right to left in the product.

        Parameters
        ----------
        columns : Mapping
            The first motion column of each bone that moves.
        """
        number = {name: index for index, name in enumerate(self.bones)}
        joints = []
        for name, bone in self.bones.items():
            at = columns.get(name)
            moves = [] if at is None else [(d, at + k) for k, d in enumerate(bone.dof)]
            turns = tuple((d[1], c) for d, c in reversed(moves) if d in _TURNS)
            shifts = tuple(("xyz".index(d[1]), c) for d, c in moves if d in _SHIFTS)
            if len(turns) + len(shifts) != len(moves) or (shifts and name != ROOT):
                what = f"bone {name}: only turns are read of a bone, not {' '.join(bone.dof)}"
                raise InputError(self.path, what)
            parent = number[self.parents[name]] if name in self.parents else -1
            offset = bone.direction * bone.length
            joint = Joint(name, parent, offset, turns, shifts, self._frame(bone), name != ROOT)
            joints.append(joint)
        return joints

    def _frame(self, bone: Bone) -> Float64Array:
        degrees = np.rad2deg(bone.axis) if self.in_radians else bone.axis
        frame = np.eye(3)
        for axis, angle in zip(bone.order, degrees, strict=True):
            frame = rotation(axis, np.array([angle]))[0] @ frame
        return frame


def read_asf(source: Source, options: Options) -> Skeleton:
    """Read a skeleton.

    Parameters
    ----------
    source : Source
        The file.
    options : Options
        ``encoding``.

    Raises
    ------
    InputError
        With the line, where it is not an ASF file.
    """
    reading = _Reading(Skeleton(source.path))
    for number, line in enumerate(text_lines(source, options), 1):
        words = line.partition("#")[0].split()
        if words:
            reading.line(words, number)
    return reading.done()


@dataclass
class _Reading:
    """A skeleton as far as it has been read."""

    skeleton: Skeleton
    _section: str = ""
    _bone: Bone | None = None
    _children: dict[str, list[str]] = field(default_factory=dict)

    def line(self, words: list[str], number: int) -> None:
        """Take the words of a line."""
        word = words[0].lower()
        if word.startswith(":"):
            self._section, self._bone = word, None
            if word == ":root":
                self._bone = self.skeleton.bones[ROOT]
        elif self._section == ":units" and word == "angle":
            self.skeleton.in_radians = words[1:2] != ["deg"]
        elif self._section == ":hierarchy" and word not in ("begin", "end"):
            self._children.setdefault(words[0], []).extend(words[1:])
        elif self._section == ":bonedata" and word == "begin":
            self._bone = Bone()
        elif self._section in (":bonedata", ":root") and self._bone is not None:
            self._property(self._bone, word, words[1:], number)

    def _property(self, bone: Bone, word: str, rest: list[str], number: int) -> None:
        place, path = f"line {number}", self.skeleton.path
        if word == "name" and rest:
            if rest[0] in self.skeleton.bones:
                raise InputError(path, f"{place}: a second bone is called {rest[0]!r}")
            self.skeleton.bones[rest[0]] = bone
        elif word in ("direction", "position") and len(rest) == 3:
            bone.direction = numbers_of(rest, place, path)
        elif word in ("axis", "orientation") and len(rest) >= 3:
            bone.axis = numbers_of(rest[:3], place, path)
            self._order(bone, rest[3:4], number)
        elif word == "axis":
            self._order(bone, rest, number)
        elif word == "length" and len(rest) == 1:
            bone.length = float(numbers_of(rest, place, path)[0])
        elif word in ("dof", "order"):
            bone.dof = tuple(r.lower() for r in rest)

    def _order(self, bone: Bone, words: list[str], number: int) -> None:
        if words:
            bone.order = words[0].lower()
        if sorted(bone.order) != ["x", "y", "z"]:
            what = f"line {number}: the order of an axis is XYZ or the like, not {words[0][:40]!r}"
            raise InputError(self.skeleton.path, what)

    def done(self) -> Skeleton:
        """Return the skeleton, its bones in the order of the hierarchy."""
        skeleton, ordered, waiting = self.skeleton, {}, [ROOT]
        while waiting:
            name = waiting.pop()
            if name not in skeleton.bones:
                raise InputError(skeleton.path, f"the hierarchy names no bone: {name[:40]!r}")
            if name in ordered:
                raise InputError(skeleton.path, f"bone {name!r} is in the hierarchy twice")
            ordered[name] = skeleton.bones[name]
            children = self._children.get(name, [])
            skeleton.parents.update(dict.fromkeys(children, name))
            waiting.extend(reversed(children))
        if len(ordered) < 2:
            raise InputError(skeleton.path, "holds no bones: is it an ASF skeleton?")
        skeleton.bones = ordered
        return skeleton
