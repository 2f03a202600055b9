"""``mmalign sync``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mmalign_cli.align.choices import SYNC_MODELS
from mmalign_cli.commands.options import (
    Run,
    StreamCommand,
    parse_streams,
    run_options,
    stream_options,
    take_run,
)
from mmalign_cli.errors import AlignmentError, ExitCode, UsageError

if TYPE_CHECKING:
    from mmalign_cli.model import Alignment
    from mmalign_cli.streams.spec import StreamSpec

EXAMPLES = """\b
Examples:
  mmalign sync camera.wav recorder.wav -o recorder_fixed.wav
  mmalign sync camera.wav recorder.wav --check --tolerance 20ms
  mmalign sync recorder.wav camera.mp4 -o camera_fixed.mp4
  mmalign sync camera.wav clip.wav -o clip_fixed.wav --video clip.mp4
  mmalign sync talk.wav frames.npz,rate=25 --alignment sync.json
"""
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(s|ms|)")


def seconds(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    """Return a duration: ``40ms``, ``0.04s``, ``0.04``."""
    if text is None:
        return None
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise UsageError(parameter.opts[-1], f"{text!r} is not a duration", "write 40ms or 0.04")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


@dataclass(frozen=True)
class _Wanted:
    """What is to come out of it."""

    fixed: str | None
    document: str | None
    video: str | None
    as_json: bool
    pad: bool
    trim: bool

    def check(self, specs: list[StreamSpec], force: bool) -> None:
        """Refuse what cannot be written, before any work."""
        from mmalign_cli.write.atomic import check_outputs

        if self.fixed is not None:
            self._check_fixed(self.fixed, specs[1].path)
        outputs = [name for name in (self.fixed, self.document) if name is not None]
        check_outputs(outputs, [spec.path for spec in specs], force)

    def _check_fixed(self, fixed: str, recording: str) -> None:
        from mmalign_cli.streams.registry import is_container
        from mmalign_cli.write.media import require_container
        from mmalign_cli.write.sound import is_sound_ending, sound_ending

        if recording == "-":
            raise UsageError("-o", "the recording is read twice: write it to a file first")
        if not is_container(recording) or is_sound_ending(fixed):
            sound_ending(fixed)
            return
        require_container(fixed)
        for option, is_given in (("--pad", self.pad), ("--trim", self.trim)):
            if is_given:
                raise UsageError(option, f"is for sound files, not for {fixed}")


@click.command(
    cls=StreamCommand,
    short_help="Offset, drift or breaks between two recordings; the fixed file.",
    epilog=EXAMPLES,
)
@click.argument("reference")
@click.argument("recording")
@click.option(
    "-o",
    "--output",
    metavar="FIXED",
    help="RECORDING on REFERENCE's clock: a sound; a video of one.",
)
@click.option("--pad", is_flag=True, help="FIXED: silence up to REFERENCE's end, nothing cut off.")
@click.option("--trim", is_flag=True, help="FIXED: cut at REFERENCE's end, no silence after it.")
@click.option(
    "--model",
    type=click.Choice(SYNC_MODELS),
    help="What kind of map to fit [the one with the best criterion].",
)
@click.option(
    "--max-offset",
    metavar="SECONDS",
    callback=seconds,
    help="The largest offset to look at [any].",
)
@click.option("--check", is_flag=True, help="Write nothing: exit 0 in sync, 1 if not, 4 unknown.")
@click.option(
    "--tolerance",
    metavar="T",
    default="40ms",
    callback=seconds,
    help="Of --check: the largest error in sync [40ms].",
)
@click.option("--alignment", metavar="FILE", help="The alignment document.")
@click.option("--json", "as_json", is_flag=True, help="The document on standard output.")
@click.option("--video", metavar="FILE", help="Print the ffmpeg command for RECORDING's video.")
@click.option("--dry-run", is_flag=True, help="Find and say it all, write nothing.")
@run_options
@stream_options
def sync(reference: str, recording: str, **parameters: Any) -> int:
    """Find how RECORDING's clock maps to REFERENCE's, and write RECORDING on it.

    Both are recordings of one event: sounds, or one of them pictures, a table or an array. The
    answer is an offset, a drift, breaks (chunks dropped, pauses) or, of two performances, a warp.
    Recordings without evidence of one event are refused with exit code 4, unless --force.
    """
    run = take_run(parameters)
    specs = parse_streams([reference, recording], parameters)
    wanted = _Wanted(
        *(parameters.pop(k) for k in ("output", "alignment", "video", "as_json", "pad", "trim"))
    )
    check, dry_run = parameters.pop("check"), parameters.pop("dry_run")
    if check and (wanted.fixed or wanted.document):
        raise UsageError("--check", "writes nothing", "leave out -o and --alignment")
    wanted.check(specs, run.force)

    from mmalign_cli.evidence.relation import doubt_of_sync
    from mmalign_cli.pipeline.sync import greatest_error, require_related, sync_streams
    from mmalign_cli.pipeline.sync_other import SyncSettings

    tolerance = parameters.pop("tolerance")
    settings = SyncSettings(**parameters)
    with run.progress() as progress:
        run.note_first_run()
        found = sync_streams(specs, settings, max_memory=run.max_memory, progress=progress)
    run.warn(found.warnings)
    why, subject = doubt_of_sync(found.confidence or {}), f"{reference}, {recording}"
    if why is not None and check:
        raise AlignmentError(subject, why)
    if not run.force:
        require_related(found, subject, "--force writes all the same")
    if why is not None and why not in found.warnings:
        run.warn([why])
    if not (check or dry_run):
        _write(found, specs, wanted, run)
    _say(found, specs, wanted)
    in_sync = not check or greatest_error(found) <= tolerance
    return ExitCode.OK if in_sync else ExitCode.FAULT


def _write(found: Alignment, specs: list[StreamSpec], wanted: _Wanted, run: Run) -> None:
    """Write the fixed file and the document."""
    from mmalign_cli.pipeline.sync import write_fixed
    from mmalign_cli.write import document
    from mmalign_cli.write.atomic import Outputs

    warnings: tuple[str, ...] = ()
    with Outputs(run.force) as outputs:
        if wanted.document is not None:
            document.write_document(outputs, wanted.document, document.to_document(found))
        if wanted.fixed is not None:
            with run.progress() as progress:
                warnings = write_fixed(
                    outputs, found, specs, wanted.fixed, pad=wanted.pad, trim=wanted.trim,
                    progress=progress,
                )  # fmt: skip
    run.warn(warnings)


def _say(found: Alignment, specs: list[StreamSpec], wanted: _Wanted) -> None:
    """Print the document or the sentence, and the command for the video."""
    from mmalign_cli.pipeline.sync import reference_length_s
    from mmalign_cli.write import document
    from mmalign_cli.write.ffmpeg import ffmpeg_command
    from mmalign_cli.write.sentence import sync_text

    if wanted.as_json:
        click.echo(document.to_line(document.to_document(found)))
        return
    click.echo(sync_text(found))
    if wanted.video is not None:
        length = reference_length_s(found, specs[0])
        click.echo(ffmpeg_command(wanted.video, wanted.fixed, found.time_maps[0], length))
