"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mmalign_cli import runtime
from mmalign_cli.errors import printable
from mmalign_cli.evidence.efforts import DEFAULT_EFFORT, EFFORTS
from mmalign_cli.streams.spec import KEYS, StreamSpec, parse_spec, parse_value

if TYPE_CHECKING:
    from mmalign_cli.model import Stream

F = TypeVar("F", bound=Callable[..., Any])
_KEY_PREFIX = "key_"


FIRST_RUN = "first run: compiling for this machine, some seconds"

_NOT_AN_OPTION = "\0"  # no argument of a process can hold it


class StreamCommand(click.Command):
    """A command whose arguments are streams: ``-,format=csv`` is one of them, not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hide the dash of standard input from click; `parse_streams` takes the mark away."""
        marked = [_NOT_AN_OPTION + arg if arg.startswith("-,") else arg for arg in args]
        return super().parse_args(ctx, marked)


def _key_option(name: str) -> Callable[[F], F]:
    """Return the option that sets key `name` for every stream."""
    key = KEYS[name]
    variable = _KEY_PREFIX + name.replace("-", "_")
    if key.is_flag:
        return click.option(f"--{name}/--no-{name}", variable, default=None, help=key.help)

    def check(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
        if text is not None:
            parse_value(name, text)
        return text

    return click.option(f"--{name}", variable, metavar=key.metavar, help=key.help, callback=check)


def stream_options(command: F) -> F:
    """Add an option for each key of the stream grammar."""
    for name in reversed([n for n, key in KEYS.items() if key.is_default]):
        command = _key_option(name)(command)
    return command


def take_defaults(parameters: dict[str, Any]) -> dict[str, str]:
    """Remove the options of `stream_options` from `parameters`; return them as keys."""
    defaults: dict[str, str] = {}
    for name in KEYS:
        value = parameters.pop(_KEY_PREFIX + name.replace("-", "_"), None)
        if value is not None:
            defaults[name] = str(value).lower() if isinstance(value, bool) else value
    return defaults


def parse_streams(arguments: Iterable[str], parameters: dict[str, Any]) -> list[StreamSpec]:
    """Return the streams that the arguments name, with the command's keys as defaults."""
    defaults = take_defaults(parameters)
    return [parse_spec(argument.removeprefix(_NOT_AN_OPTION), defaults) for argument in arguments]


@dataclass(frozen=True)
class Run:
    """How a command runs: `run_options`."""

    quiet: bool
    verbose: bool
    force: bool
    max_memory: int | None

    def warn(self, warnings: Sequence[str]) -> None:
        """Write warnings on stderr; one that takes nothing must not cost the result."""
        if not self.quiet:
            with suppress(OSError):
                for warning in warnings:
                    click.echo(f"mmalign: warning: {printable(warning)}", err=True)

    def note(self, streams: Iterable[Stream]) -> None:
        """Write, with ``-v``, what was done to the streams."""
        if self.verbose:
            for stream in streams:
                for note in stream.notes:
                    click.echo(f"mmalign: {printable(stream.name)}: {printable(note)}", err=True)

    def note_first_run(self) -> None:
        """Say, unless quiet, that kernels are about to be compiled for this machine."""
        if not self.quiet and runtime.is_first_run():
            with suppress(OSError):
                click.echo(f"mmalign: {FIRST_RUN}", err=True)

    @contextmanager
    def progress(self) -> Iterator[runtime.Progress]:
        """Show progress on stderr, on a terminal only."""
        if self.quiet or sys.stderr is None or not sys.stderr.isatty():
            yield runtime.silent
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bars:
            tasks: dict[str, Any] = {}

            def report(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage)
                bars.update(tasks[stage], completed=done, total=total)

            yield report


def confidence_option(command: F) -> F:
    """Add ``--confidence``."""
    return click.option(
        "--confidence",
        type=click.Choice([*EFFORTS]),
        default=DEFAULT_EFFORT,
        help=f"What is compared to tell the result from chance [{DEFAULT_EFFORT}].",
    )(command)


RUN_PARAMETERS = ("debug", "verbose", "quiet", "force", "threads", "max_memory")
"""What `run_options` adds."""


def run_options(command: F) -> F:
    """Add the options that every command has."""
    options: tuple[Callable[[F], F], ...] = (
        click.option("--debug", is_flag=True, help="Show tracebacks."),
        click.option("-v", "--verbose", is_flag=True, help="Say what was done to the streams."),
        click.option("-q", "--quiet", is_flag=True, help="No warnings, no progress."),
        click.option("--force", is_flag=True, help="Replace outputs that exist."),
        click.option(
            "--threads", type=click.IntRange(min=1), metavar="N", help="Threads to use [all]."
        ),
        click.option(
            "--max-memory",
            metavar="SIZE",
            help="Memory to use at most, e.g. 2G [what is free].",
            callback=size,
        ),
    )
    for option in options:
        command = option(command)
    return command


def size(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Read a size such as ``2G``."""
    return None if text is None else runtime.parse_size(text)


def take_run(parameters: dict[str, Any]) -> Run:
    """Remove the options of `run_options` from `parameters`, apply and return them."""
    parameters.pop("debug")
    runtime.limit_threads(parameters.pop("threads"))
    return Run(
        quiet=parameters.pop("quiet"),
        verbose=parameters.pop("verbose"),
        force=parameters.pop("force"),
        max_memory=parameters.pop("max_memory"),
    )


@dataclass(frozen=True)
class Targets:
    """Where an alignment goes: `output_options`."""

    document: str | None
    as_json: bool
    path: str | None
    cost: str | None
    aligned: str | None
    plot: str | None
    with_path: bool

    def files(self) -> list[str]:
        """Return the files named by the options."""
        named = (self.document, self.path, self.cost, self.plot)
        return [name for name in named if name is not None]

    def check(self, inputs: Iterable[str], force: bool, also: Sequence[str] = ()) -> None:
        """Refuse what cannot be written, these and further files, before any work."""
        from mmalign_cli.write.atomic import check_outputs
        from mmalign_cli.write.path import ending_of, path_ending
        from mmalign_cli.write.plot import plot_ending, require_matplotlib

        if self.path is not None:
            path_ending(self.path)
        if self.cost is not None:
            ending_of(self.cost, (".npz",), "--cost")
        if self.plot is not None:
            plot_ending(self.plot)
            require_matplotlib()
        if self.aligned is not None:
            check_folder(self.aligned)
        check_outputs([*self.files(), *also], inputs, force)

    def check_aligned(self, streams: Sequence[Stream], inputs: Iterable[str], force: bool) -> None:
        """Refuse, once the streams are known, what ``--aligned`` could not write."""
        if self.aligned is not None:
            import os

            from mmalign_cli.write.aligned import aligned_files
            from mmalign_cli.write.atomic import check_outputs

            files = aligned_files(self.aligned, streams)
            if os.path.isdir(self.aligned):
                check_outputs([*files, *self.files()], inputs, force)


def check_folder(folder: str) -> None:
    """Refuse a folder that cannot be made or written to."""
    import os

    from mmalign_cli.errors import OutputError

    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise OutputError(folder, "is not a folder")
    parent = folder if os.path.isdir(folder) else os.path.dirname(os.path.normpath(folder)) or "."
    if not os.path.isdir(parent):
        raise OutputError(folder, f"no such folder: {parent}", "make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(folder, f"the folder {parent} is not writable")


TARGET_PARAMETERS = ("no_path", "plot", "aligned", "cost", "path", "as_json", "output")
"""What `output_options` adds."""


def output_options(command: F) -> F:
    """Add the options that say where an alignment goes."""
    options: tuple[Callable[[F], F], ...] = (
        click.option("--no-path", is_flag=True, help="Leave the path out of the document."),
        click.option("--plot", metavar="FILE", help="A picture: .png, .svg or .pdf."),
        click.option("--aligned", metavar="DIR", help="Every stream on the common time line."),
        click.option("--cost", metavar="FILE", help="Cost matrices: .npz."),
        click.option("--path", metavar="FILE", help="The path: .csv, .npy or .npz."),
        click.option("--json", "as_json", is_flag=True, help="The document on standard output."),
        click.option("-o", "--output", metavar="FILE", help="The alignment document."),
    )
    for option in options:
        command = option(command)
    return command


def take_targets(parameters: dict[str, Any]) -> Targets:
    """Remove the options of `output_options` from `parameters`; return what they say."""
    return Targets(
        document=parameters.pop("output"),
        as_json=parameters.pop("as_json"),
        path=parameters.pop("path"),
        cost=parameters.pop("cost"),
        aligned=parameters.pop("aligned"),
        plot=parameters.pop("plot"),
        with_path=not parameters.pop("no_path"),
    )


def listing(names: Mapping[str, object]) -> str:
    """Return the names of a table for a metavar or help text."""
    return ", ".join(names)
