"""From the cells of a manifest to jobs: options are read by the commands that have them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import click

from mmalign_cli.batch.files import stat_of
from mmalign_cli.batch.job import Job
from mmalign_cli.batch.manifest import Fault, Ids, Row, RowError, specs_of
from mmalign_cli.commands.options import RUN_PARAMETERS, TARGET_PARAMETERS, take_defaults
from mmalign_cli.errors import MmalignError, UsageError, did_you_mean
from mmalign_cli.pipeline.methods import METHODS
from mmalign_cli.streams.source import open_source

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RowMethod:
    """How a method's command reads the options of a row.

    Parameters
    ----------
    module : str
        Of the command, which is called as the method. It has ``check_settings(context,
        parameters)``, which refuses or completes parsed options, unless `is_plain`.
    apart : tuple of str
        Options that mean nothing in a row: of outputs, or of many streams at once.
    names_file : str or None
        Function in the module: whether the value of an option is a file to read.
    is_plain : bool
        Whether options need no check of how they fit together.
    """

    module: str
    apart: tuple[str, ...]
    names_file: str | None = None
    is_plain: bool = False


ROW_METHODS: Mapping[str, RowMethod] = {
    "dtw": RowMethod(
        "mmalign_cli.commands.dtw", ("pairwise", "condensed", "nearest"), "names_file"
    ),
    "ctw": RowMethod("mmalign_cli.commands.ctw", ("takes", "save_model", "model", "posterior")),
    "gtw": RowMethod("mmalign_cli.commands.gtw", ("takes", "save_model", "model", "average")),
    "dctw": RowMethod("mmalign_cli.commands.dctw", ("takes", "save_model", "model")),
    "sync": RowMethod(
        "mmalign_cli.commands.sync",
        ("pad", "trim", "check", "tolerance", "alignment", "video"),
        is_plain=True,
    ),
}
"""The methods of `mmalign_cli.pipeline.methods.METHODS`, as their commands know them."""

_YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parsed:
    """Options of a row, read: what the aligner is told, keys of every stream, files to read."""

    settings: Mapping[str, Any]
    keys: Mapping[str, str]
    files: tuple[str, ...]


class OptionReader:
    """Reads the options of one method as its command does; equal options are read once.

    Parameters
    ----------
    method : str
    folder : str
        Where relative paths of files that options name start.
    """

    def __init__(self, method: str, folder: str) -> None:
        self._method = ROW_METHODS[method]
        self._folder = folder
        module = import_module(self._method.module)
        self._command: click.Command = getattr(module, method)
        self._check = None if self._method.is_plain else module.check_settings
        names = self._method.names_file
        self._names_file: Callable[[str, str], bool] | None = None
        if names is not None:
            self._names_file = getattr(module, names)
        self._least = METHODS[method].least
        apart = {*self._method.apart, *RUN_PARAMETERS, *TARGET_PARAMETERS, "dry_run"}
        self._known = {
            flag.removeprefix("--"): (option, flag)
            for option in self._command.params
            if isinstance(option, click.Option) and option.name not in apart
            for flag in (*option.opts, *option.secondary_opts)
        }
        self._apart = apart
        self._parsed: dict[Options, Parsed] = {}

    def knows(self, name: str) -> bool:
        """Tell whether the method has an option of that name."""
        return name in self._known

    def read(self, options: Options) -> Parsed:
        """Return what options ask for.

        Raises
        ------
        UsageError, click.UsageError
            As the command of that method.
        """
        if options not in self._parsed:
            self._parsed[options] = self._read(options)
        return self._parsed[options]

    def _read(self, options: Options) -> Parsed:
        files: list[str] = []
        arguments = ["-"] * self._least
        for name, text in options:
            arguments += self._argument(name, text, files)
        context = self._command.make_context(self._command.name, arguments)
        positional = {p.name for p in self._command.params if isinstance(p, click.Argument)}
        left_out = self._apart | positional
        parameters = {k: v for k, v in context.params.items() if k not in left_out}
        keys = take_defaults(parameters)
        if self._check is not None:
            self._check(context, parameters)
        return Parsed(parameters, keys, tuple(files))

    def _argument(self, name: str, text: str, files: list[str]) -> list[str]:
        """Return an option as it is written on the command line."""
        if name not in self._known:
            hint = did_you_mean(name, self._known) or f"options: {', '.join(sorted(self._known))}"
            raise UsageError(f"--{name}", f"is no option of a row of {self._command.name}", hint)
        option, flag = self._known[name]
        if not option.is_flag:
            if self._names_file is not None and self._names_file(name, text):
                text = os.path.join(self._folder, text)
                files.append(text)
            return [f"{flag}={text}"]
        if text.lower() not in _YES_OR_NO:
            raise UsageError(f"--{name}", f"{text!r} is neither true nor false")
        if _YES_OR_NO[text.lower()]:
            return [flag]
        sides = (option.opts, option.secondary_opts)
        return [side[0] for side in sides if flag not in side and side]


@dataclass
class Checked:
    """A manifest that was read whole.

    Parameters
    ----------
    jobs : list of Job
        That can be run.
    missing : list of tuple
        Jobs of which a file is missing, with what is wrong.
    faults : list of Fault
        Rows that make no sense.
    """

    jobs: list[Job] = field(default_factory=list)
    missing: list[tuple[Job, MmalignError]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


class RowReader:
    """Makes jobs of rows.

    Parameters
    ----------
    manifest : str
        The file: paths in it are relative to its folder.
    method : str
        Of rows that name none.
    defaults : sequence of (str, str)
        Options of all rows whose method has them; a row's own win.
    only : str or None
        The one method that rows may have.
    """

    def __init__(
        self, manifest: str, method: str, defaults: Options, only: str | None = None
    ) -> None:
        self._folder = "" if manifest == "-" else os.path.dirname(manifest)
        self._method = method
        self._defaults = defaults
        self._only = only
        self._readers: dict[str, OptionReader] = {}
        self._ids = Ids()
        self._sizes: dict[str, int | None] = {}

    def check(self, rows: Iterable[Row | Fault]) -> Checked:
        """Read all rows; nothing is aligned."""
        checked = Checked()
        for number, row in enumerate(rows):
            try:
                if isinstance(row, Fault):
                    raise RowError(row)
                job = self._job(number, row)
            except RowError as error:
                checked.faults.append(error.fault)
                continue
            absent = self._absent(job)
            if absent is None:
                checked.jobs.append(job)
            else:
                checked.missing.append((job, absent))
        self._require_used()
        return checked

    def _job(self, number: int, row: Row) -> Job:
        row_id = self._ids.take(row)
        method = self._method_of(row)
        parsed = self._parsed(row, method)
        specs = specs_of(row, self._folder, parsed.keys)
        self._check_number(row, method, len(specs))
        truth = row.cells.get("truth")
        return Job(
            id=row_id,
            number=number,
            method=method,
            specs=specs,
            settings=parsed.settings,
            files=parsed.files,
            truth=None if truth is None else os.path.join(self._folder, truth),
            weight=self._weight(method, [spec.path for spec in specs]),
            cells=row.cells,
        )

    def _method_of(self, row: Row) -> str:
        method = row.cells.get("method", self._method)
        if method not in ROW_METHODS:
            hint = did_you_mean(method, ROW_METHODS) or f"methods: {', '.join(ROW_METHODS)}"
            raise RowError(Fault(row.line, f"method {method!r} is not known", hint))
        if self._only not in (None, method):
            raise RowError(Fault(row.line, f"method {method}: an audit is of {self._only} alone"))
        if method not in self._readers:
            self._readers[method] = OptionReader(method, self._folder)
        return method

    def _parsed(self, row: Row, method: str) -> Parsed:
        reader, own = self._readers[method], row.options()
        names = {name for name, _ in own}
        usual = tuple(o for o in self._defaults if o[0] not in names and reader.knows(o[0]))
        try:
            return reader.read((*usual, *own))
        except click.UsageError as error:
            what = error.format_message().rstrip(".")
            raise RowError(Fault(row.line, what[:1].lower() + what[1:])) from None
        except MmalignError as error:
            raise RowError(Fault(row.line, str(error), error.hint)) from None

    def _check_number(self, row: Row, method: str, found: int) -> None:
        least, most = METHODS[method].least, METHODS[method].most
        if found < least or (most is not None and found > most):
            wanted = f"{least}" if most == least else f"{least} or more"
            what = f"{found} streams, {method} takes {wanted}"
            raise RowError(Fault(row.line, what, "columns reference, query or stream1, stream2"))

    def _weight(self, method: str, paths: Sequence[str]) -> float:
        """Return how long a row may take: as the product of the sizes of its files."""
        weight = METHODS[method].effort
        for path in paths:
            weight *= self._size(path) or 1
        return weight

    def _size(self, path: str) -> int | None:
        if path not in self._sizes:
            stat = stat_of(path)
            self._sizes[path] = None if stat is None else stat[0]
        return self._sizes[path]

    def _absent(self, job: Job) -> MmalignError | None:
        """Return what is wrong with the first file of a job that is not there."""
        for path in job.inputs():
            if self._size(path) is None:
                try:
                    open_source(path, 1 << 60)
                except MmalignError as error:
                    return error
        return None

    def _require_used(self) -> None:
        """Refuse options of all rows that no method of any row has."""
        for name, _ in self._defaults:
            readers = self._readers.values()
            if self._readers and not any(reader.knows(name) for reader in readers):
                what = f"is no option of {', '.join(self._readers)}"
                raise UsageError(f"--option {name}", what)
