"""Everything that mmalign can say went wrong, and the exit code that goes with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAULT = 1
    USAGE = 2
    INPUT = 3
    NO_ALIGNMENT = 4
    OUTPUT = 5
    BATCH = 6
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


class MmalignError(Exception):
    """A failure that the user is told in one line.

    Parameters
    ----------
    subject : str
        What it is about: a file, a stream or an option. May hold any character;
        it is escaped when shown.
    what : str
        What is wrong with it.
    hint : str, optional
        What to do about it.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAULT

    def __init__(self, subject: str, what: str, hint: str | None = None) -> None:
        super().__init__(subject, what, hint)
        self.subject = subject
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{printable(self.subject)}: {printable(self.what)}"


class InternalError(MmalignError):
    """A result that cannot be right: a fault of mmalign itself, found before anything is written.

    Parameters
    ----------
    what : str
        What cannot be.
    state : Mapping of str
        Arrays, numbers and text that tell how it came about: kept in a file by the command.
    """

    def __init__(self, what: str, state: Mapping[str, object]) -> None:
        super().__init__("internal check", what, "align these streams by themselves, and report it")
        self.state = state


class UsageError(MmalignError):
    """An option or an argument that cannot mean anything."""

    exit_code = ExitCode.USAGE


class InputError(MmalignError):
    """An input that was rejected."""

    exit_code = ExitCode.INPUT


class ChoiceError(InputError):
    """An input that holds several things, of which the user has to choose one."""


class GapsError(InputError):
    """An input with missing values, of which nothing says how to treat them.

    Parameters
    ----------
    subject, what, hint
        As of every error.
    gaps : sequence of dict
        ``columns``, ``missing`` (how many frames) and ``spans`` (first and last second of each run
        of them), for each set of columns that lack the same frames.
    """

    def __init__(
        self,
        subject: str,
        what: str,
        hint: str | None = None,
        gaps: Sequence[Mapping[str, Any]] = (),  # which a copy from another process brings itself
    ) -> None:
        super().__init__(subject, what, hint)
        self.gaps = list(gaps)


class AlignmentError(MmalignError):
    """No valid alignment exists under the given limits."""

    exit_code = ExitCode.NO_ALIGNMENT


class LimitError(AlignmentError):
    """The work would go over a limit (memory, size): refused before it starts."""


class OutputError(MmalignError):
    """An output that cannot be written."""

    exit_code = ExitCode.OUTPUT


def printable(text: str) -> str:
    r"""Return `text` with every control or undecodable character escaped.

    File names and labels come from strangers: an escape sequence in one must
    not reach the terminal, and a line break must not split the error line.

    Examples
    --------
    >>> print(printable("a\x1b[31m\n.wav"))
    a\x1b[31m\n.wav
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the hint `did you mean X?` for the nearest of `known`, or None."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None
