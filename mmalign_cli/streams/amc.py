"""Acclaim motion: the joint angles of an AMC file, or by its ASF skeleton where the bones end."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import InputError
from mmalign_cli.model import Float64Array
from mmalign_cli.streams.asf import Skeleton, read_asf
from mmalign_cli.streams.content import Content
from mmalign_cli.streams.grid import text_lines
from mmalign_cli.streams.points import axes_of, numbers_of, part_of, with_columns
from mmalign_cli.streams.skeleton import positions
from mmalign_cli.streams.source import Source, open_source
from mmalign_cli.streams.spec import Options

PARTS = ("angles", "positions")


def read_amc(source: Source, options: Options, decode_rate: Fraction | None) -> Content:
    """Read an AMC file.

    Parameters
    ----------
    source : Source
        The file. Its skeleton is looked for beside it: ``02_01.asf``, ``02.asf``, or the only
        ASF file there; it gives the columns their names, and positions need it.
    options : Options
        ``key``: ``angles`` (as they are, the default) or ``positions`` (x, y, z of the root and
        of the far end of each bone, by forward kinematics); ``columns`` and ``encoding``.
    decode_rate : Fraction or None
        Of no meaning here.

    Returns
    -------
    Content
        Angles and lengths as the file has them, (n_frames, n_columns), without a rate.

    Raises
    ------
    InputError
        With the line, where it is not an AMC file, or does not fit its skeleton.
    """
    part = part_of(PARTS, options, source.path, "angles")
    motion = _Motion(source.path)
    for number, line in enumerate(text_lines(source, options), 1):
        motion.line(line.partition("#")[0].split(), number)
    values = motion.values()
    skeleton = _skeleton(source, options)
    if part == "positions" and skeleton is None:
        stem = os.path.splitext(os.path.basename(source.path))[0]
        hint = f"lay {stem}.asf beside it; key=angles needs none"
        raise InputError(source.path, "positions need the ASF skeleton of the recording", hint)
    columns = motion.names(skeleton)
    if part == "positions" and skeleton is not None:
        joints = skeleton.joints(motion.columns)
        values = positions(joints, _degrees(values, columns, motion.in_radians))
        columns = axes_of(joint.name for joint in joints)
    named = f", skeleton {os.path.basename(skeleton.path)}" if skeleton else ""
    note = f"{len(motion.sizes)} moving bones{named}; {part}"
    content = Content(values, "table", None, None, 0.0, columns, (note,))
    return with_columns(content, options, source.path)


@dataclass
class _Motion:
    """The frames as far as they have been read."""

    subject: str
    in_radians: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)
    _rows: list[Float64Array] = field(default_factory=list)
    _cells: list[Float64Array] = field(default_factory=list)
    _bones: list[str] = field(default_factory=list)
    _number: int | None = None
    _last_line: int = 0

    def line(self, words: list[str], number: int) -> None:
        """Take the words of a line: a setting, the number of a frame, or a bone of it."""
        if not words:
            return
        self._last_line = number
        if words[0].startswith(":"):
            self.in_radians |= words[0].upper() == ":RADIANS"
        elif len(words) == 1 and re.fullmatch(r"[0-9]{1,12}", words[0]):
            self._close(number)
            if self._number is not None and int(words[0]) != self._number + 1:
                what = f"line {number}: frame {words[0]} follows frame {self._number}"
                raise InputError(self.subject, what)
            self._number = int(words[0])
        elif self._number is None:
            raise InputError(self.subject, f"line {number}: {words[0][:40]!r} before any frame")
        else:
            self._bones.append(words[0])
            self._cells.append(numbers_of(words[1:], f"line {number}", self.subject))

    def _close(self, number: int) -> None:
        """End a frame: its bones must be those of the first."""
        if self._number is None:
            return
        sizes = dict(zip(self._bones, map(len, self._cells), strict=True))
        if not self._rows:
            self._first(sizes, number)
        if sizes != self.sizes or len(self._bones) != len(self.sizes):
            what = f"line {number}: frame {self._number} ends, its bones are not those of the first"
            raise InputError(self.subject, what)
        cells = dict(zip(self._bones, self._cells, strict=True))
        self._rows.append(np.concatenate([cells[name] for name in self.sizes]))
        self._bones, self._cells = [], []

    def _first(self, sizes: dict[str, int], number: int) -> None:
        if not sizes or not all(sizes.values()):
            raise InputError(self.subject, f"line {number}: frame {self._number} lacks values")
        starts = np.cumsum([0, *sizes.values()]).tolist()
        self.sizes, self.columns = sizes, dict(zip(sizes, starts, strict=False))

    def values(self) -> Float64Array:
        """Return the motion, (n_frames, n_columns)."""
        if self._number is None:
            raise InputError(self.subject, "holds no frames: is it an AMC file?")
        self._close(self._last_line)
        return np.stack(self._rows)

    def names(self, skeleton: Skeleton | None) -> tuple[str, ...]:
        """Return the columns' names, by the skeleton's degrees of freedom or else by number."""
        names: list[str] = []
        for bone, size in self.sizes.items():
            dof = tuple(str(k + 1) for k in range(size))
            if skeleton is not None:
                if bone not in skeleton.bones or len(skeleton.bones[bone].dof) != size:
                    what = f"bone {bone[:40]!r} has {size} values, not so in {skeleton.path}"
                    raise InputError(self.subject, what, "is it the skeleton of this recording?")
                dof = skeleton.bones[bone].dof
            names += [f"{bone}_{name}" for name in dof]
        return tuple(names)


def _degrees(values: Float64Array, columns: tuple[str, ...], in_radians: bool) -> Float64Array:
    if not in_radians:
        return values
    turns = np.array([name.rpartition("_")[2].startswith("r") for name in columns])
    return np.where(turns, np.rad2deg(values), values)


def _skeleton(source: Source, options: Options) -> Skeleton | None:
    """Read the skeleton that lies beside a motion file, if one does."""
    folder, name = os.path.split(source.path)
    stem = os.path.splitext(name)[0]
    beside = glob.glob(os.path.join(glob.escape(folder), "*.[aA][sS][fF]"))
    by_stem = {os.path.splitext(os.path.basename(path))[0]: path for path in beside}
    path = by_stem.get(stem) or by_stem.get(stem.partition("_")[0])
    if path is None and len(beside) == 1:
        path = beside[0]
    return None if path is None else read_asf(open_source(path, options.max_bytes), options)
