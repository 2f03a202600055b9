"""The `mmalign` command: finds the subcommand, and turns every ending into an exit code."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from mmalign_cli import __version__, runtime
from mmalign_cli.errors import (
    ExitCode,
    InternalError,
    MmalignError,
    UsageError,
    did_you_mean,
    printable,
)

COMMANDS: dict[str, tuple[str, str]] = {
    "apply": ("mmalign_cli.commands.apply:apply", "Carry a file from one clock to another."),
    "batch": ("mmalign_cli.commands.batch:batch", "Many alignments: resumed, parallel, audited."),
    "ctw": ("mmalign_cli.commands.ctw:ctw", "Canonical Time Warping: streams of any dimensions."),
    "dctw": ("mmalign_cli.commands.dctw:dctw", "Deep Canonical Time Warping: learned maps."),
    "dtw": ("mmalign_cli.commands.dtw:dtw", "Dynamic Time Warping of two streams."),
    "evaluate": ("mmalign_cli.commands.evaluate:evaluate", "Errors against a known answer."),
    "features": ("mmalign_cli.commands.features:features", "Write the features of a stream."),
    "gtw": ("mmalign_cli.commands.gtw:gtw", "Generalized Time Warping: any number of streams."),
    "info": ("mmalign_cli.commands.info:info", "What a stream or an alignment holds."),
    "plot": ("mmalign_cli.commands.plot:plot", "A picture of an alignment."),
    "sync": ("mmalign_cli.commands.sync:sync", "Two recordings of one event: what is off, fixed."),
    "synth": ("mmalign_cli.commands.synth:synth", "Sequences with a known alignment."),
    "schema": ("mmalign_cli.commands.schema:schema", "The JSON Schema of the documents."),
}
"""Name of the subcommand to ``module:function`` and the line in ``mmalign --help``."""


_SOON_S = 0.02
_COMPLETE = "_MMALIGN_COMPLETE"  # click's name for it


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; an unknown one gets the nearest as a hint."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], COMMANDS) or f"commands: {', '.join(COMMANDS)}"
            raise UsageError(args[0], "is not a command", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mmalign")
def cli() -> None:
    """Align multimodal time sequences: find how the clock of one maps to the clock of another.

    A stream is PATH[,key=value]..., for example take.csv,rate=100,columns=hand_*.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with one of the codes of `ExitCode`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    runtime.hold_standard_streams()
    runtime.tolerate_any_text()
    _listen()
    try:
        code = _run(arguments)
    except KeyboardInterrupt:  # another one, while the first was being told
        code = ExitCode.INTERRUPTED
    except _Terminated:
        code = ExitCode.TERMINATED
    _be_deaf()
    runtime.discard_unwritable()
    _leave(int(code))


def _leave(code: int) -> NoReturn:
    """End at once: to take apart an interpreter with numba in it takes longer than to align.

    All files are closed by now, both streams flushed; threads of ours have ended.
    """
    try:
        atexit._run_exitfuncs()
    finally:
        os._exit(code)


class _Terminated(BaseException):
    """SIGTERM arrived: unwinds the stack so that temporary files go."""


_ENDINGS: dict[int, type[BaseException]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: _Terminated,
}


_LOST: list[type[BaseException]] = []
"""What signals raised where nothing can be raised, until they are heard."""


def _listen() -> None:
    """Let SIGINT and SIGTERM unwind the stack, but where the parent has them ignored."""
    for number in _ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.unraisablehook = _unraisable


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Send a signal again whose exception came to nothing.

    A callback from C cannot raise one: Ctrl-C would be lost while numba loads or compiles a kernel.
    """
    for number, ending in _ENDINGS.items():
        if lost.exc_type is ending:
            _LOST.append(ending)
            again = threading.Timer(_SOON_S, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
    sys.__unraisablehook__(lost)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise _ENDINGS[number]


def _be_deaf() -> None:
    """Ignore signals from here on: the end is near."""
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def _run(arguments: list[str]) -> ExitCode:
    """Run one command; say what went wrong, if anything did."""
    runtime.WRITTEN.clear()
    _LOST.clear()
    try:
        code = _invoke(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return ExitCode(code) if isinstance(code, int) else ExitCode.OK
    except (Exception, KeyboardInterrupt, _Terminated) as error:  # noqa: BLE001 - the one place
        ending = _ending(error)
        with suppress(OSError):  # where standard error takes nothing, the exit code remains
            if "--debug" in arguments:
                traceback.print_exc()
            if ending.what:
                _complain(ending)
        return ending.code


def _invoke(arguments: list[str]) -> object:
    """Do what `cli.main` does, but leave every exception as it is.

    It would turn a closed pipe into exit code 1, and write an empty line at Ctrl-C.
    """
    instruction = os.environ.get(_COMPLETE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "mmalign", _COMPLETE, instruction)
    with cli.make_context("mmalign", list(arguments)) as context:
        return cli.invoke(context)


@dataclass(frozen=True)
class _Ending:
    """How a command ends: its exit code, and what is said about it."""

    code: ExitCode
    subject: str = ""
    what: str = ""
    hint: str | None = None


def _ending(error: BaseException) -> _Ending:
    """Return the ending that an exception stands for."""
    match error:
        case InternalError():
            return _Ending(error.exit_code, error.subject, error.what, _kept(error))
        case MmalignError():
            return _Ending(error.exit_code, error.subject, error.what, error.hint)
        case click.UsageError():
            return _usage(error)
        case click.exceptions.Exit():
            return _Ending(ExitCode(error.exit_code))
        case KeyboardInterrupt() | click.Abort():
            return _Ending(ExitCode.INTERRUPTED, what=f"interrupted; {_written()}")
        case _Terminated():
            return _Ending(ExitCode.TERMINATED, what=f"terminated; {_written()}")
        case BrokenPipeError():
            return _Ending(ExitCode.PIPE_CLOSED)
        case OSError():
            what = f"cannot be written: {error.strerror or error}"
            return _Ending(ExitCode.OUTPUT, "standard output", what)
        case MemoryError():
            hint = "use --max-memory, a window, or fewer frames"
            return _Ending(ExitCode.NO_ALIGNMENT, "memory", "ran out", hint)
    if _LOST:  # numba fails later for want of what the callback did not do
        return _ending(_LOST[0]())
    what = f"{type(error).__name__}: {error}"
    return _Ending(ExitCode.FAULT, "internal error", what, "run it with --debug, and report it")


def _kept(fault: InternalError) -> str | None:
    """Keep the state of a fault in a file; return the hint that names it."""
    from mmalign_cli.write.fault import keep_state

    path = keep_state(fault)
    return fault.hint if path is None else f"report it, with its state: {path}"


def _written() -> str:
    return f"written: {', '.join(runtime.WRITTEN)}" if runtime.WRITTEN else "nothing written"


def _usage(error: click.UsageError) -> _Ending:
    command = error.ctx.command_path if error.ctx else "mmalign"
    parameter = getattr(error, "param", None)
    of_parameter = "" if parameter is None else parameter.opts[-1]
    option = getattr(error, "option_name", None) or of_parameter
    what = error.format_message().rstrip(".")
    return _Ending(ExitCode.USAGE, option, what[:1].lower() + what[1:], f"see {command} --help")


def _complain(ending: _Ending) -> None:
    """Write the one line, and the hint."""
    about = f"{printable(ending.subject)}: " if ending.subject else ""
    click.echo(f"mmalign: error: {about}{printable(ending.what)}", err=True)
    if ending.hint:
        click.echo(f"hint: {printable(ending.hint)}", err=True)
