"""The `mmalign` command: finds the subcommand, and turns every ending into an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from mmalign_cli import __version__
from mmalign_cli.errors import ExitCode, MmalignError, UsageError, did_you_mean, printable

COMMANDS: dict[str, tuple[str, str]] = {
    "dtw": ("mmalign_cli.commands.dtw:dtw", "Dynamic Time Warping of two streams."),
    "evaluate": ("mmalign_cli.commands.evaluate:evaluate", "Errors against a known answer."),
    "features": ("mmalign_cli.commands.features:features", "Write the features of a stream."),
    "info": ("mmalign_cli.commands.info:info", "What a stream or an alignment holds."),
    "plot": ("mmalign_cli.commands.plot:plot", "A picture of an alignment."),
    "schema": ("mmalign_cli.commands.schema:schema", "The JSON Schema of the documents."),
}
"""Name of the subcommand to ``module:function`` and the line in ``mmalign --help``."""


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
    signal.signal(signal.SIGTERM, _terminate)
    code = _run(arguments)
    if code == ExitCode.PIPE_CLOSED:
        # The interpreter's own flush at exit would complain about the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(int(code))


class _Terminated(BaseException):
    """SIGTERM arrived: unwinds the stack so that temporary files go."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def _run(arguments: list[str]) -> ExitCode:
    """Run one command and say what went wrong."""
    debug = "--debug" in arguments
    try:
        code = cli.main(arguments, prog_name="mmalign", standalone_mode=False)
        _flush()
        return ExitCode(code) if isinstance(code, int) else ExitCode.OK
    except MmalignError as error:
        if debug:
            traceback.print_exc()
        _complain(error.subject, error.what, error.hint)
        return error.exit_code
    except click.UsageError as error:
        return _usage(error)
    except click.exceptions.Exit as stop:
        return ExitCode(stop.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _complain("", "interrupted; nothing written", None)
        return ExitCode.INTERRUPTED
    except _Terminated:
        _complain("", "terminated; nothing written", None)
        return ExitCode.TERMINATED
    except BrokenPipeError:
        return ExitCode.PIPE_CLOSED
    except OSError as error:
        _complain("standard output", f"cannot be written: {error.strerror or error}", None)
        return ExitCode.OUTPUT
    except MemoryError:
        _complain("memory", "ran out", "use --max-memory, a window, or fewer frames")
        return ExitCode.NO_ALIGNMENT
    except Exception as error:  # noqa: BLE001 - the last resort: a fault of ours, told in one line
        if debug:
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        _complain("internal error", what, "run it again with --debug, and report it")
        return ExitCode.FAULT


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _usage(error: click.UsageError) -> ExitCode:
    command = error.ctx.command_path if error.ctx else "mmalign"
    option = getattr(error, "option_name", None) or _parameter(error)
    what = error.format_message().rstrip(".")
    _complain(option, what[:1].lower() + what[1:], f"see {command} --help")
    return ExitCode.USAGE


def _parameter(error: click.UsageError) -> str:
    parameter = getattr(error, "param", None)
    return "" if parameter is None else parameter.opts[-1]


def _complain(subject: str, what: str, hint: str | None) -> None:
    """Write the one line, and the hint."""
    about = f"{printable(subject)}: " if subject else ""
    lines = [f"mmalign: error: {about}{printable(what)}"]
    if hint:
        lines.append(f"hint: {printable(hint)}")
    for line in lines:
        click.echo(line, err=True)
