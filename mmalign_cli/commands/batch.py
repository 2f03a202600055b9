"""``mmalign batch``."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mmalign_cli import runtime
from mmalign_cli.commands.batch_progress import Tally, progress
from mmalign_cli.commands.options import check_folder, size, stream_options, take_defaults
from mmalign_cli.commands.sync import seconds
from mmalign_cli.errors import ExitCode, InputError, UsageError, printable

if TYPE_CHECKING:
    from mmalign_cli.batch.job import Job, Record
    from mmalign_cli.batch.manifest import Fault
    from mmalign_cli.batch.runner import Engine
    from mmalign_cli.batch.session import Session
    from mmalign_cli.batch.slot import Setup
    from mmalign_cli.commands.rows import Checked

EXAMPLES = """\b
Examples:
  mmalign batch rows.csv -o aligned --jobs 8
  mmalign batch rows.csv -o aligned --retry failed --timeout 10m
  mmalign batch --from-folders cameras recorders --match "*.wav" -o rows.csv
  mmalign batch rows.csv -o report --audit --tolerance 20ms
  mmalign batch rows.csv -o aligned --shard 3/16
  mmalign batch merge aligned
"""
_SHARD = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)")
_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOST_LINES = 20
_MOST_FAULTS = 100
ENGINES = ("local", "dask")


class BatchCommand(click.Command):
    """``batch``, of which ``merge`` as the first word is a command of its own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> click.Context:
        """Hand over to ``merge`` where it is asked for."""
        if args[:1] == ["merge"]:
            from mmalign_cli.commands.batch_merge import merge

            return merge.make_context("batch merge", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _shard(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _SHARD.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise UsageError("--shard", f"{text!r} is no share", "write 3/16: the third of sixteen")
    return int(match[1]), int(match[2])


def _duration(context: click.Context, parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]):
        raise UsageError(parameter.opts[-1], f"{text!r} is not a duration", "write 90s, 10m or 2h")
    return float(match[1]) * _UNITS_S[match[2]]


def _pairs(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError("--option", f"{text!r} is not NAME=VALUE", "for example metric=cosine")
        pairs.append((name.removeprefix("--").replace("_", "-"), value))
    return tuple(pairs)


@click.command(cls=BatchCommand, short_help="Many alignments.", epilog=EXAMPLES)
@click.argument("manifest", required=False)
@click.option("-o", "--output", metavar="FOLDER", help="Documents, results.ndjson, summary.csv.")
@click.option("--method", metavar="NAME", default="dtw", help="Of rows that name none [dtw].")
@click.option(
    "--option",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_pairs,
    help="An option of the method, for all rows that do not set it; may be repeated.",
)
@click.option(
    "--from-folders",
    nargs=2,
    metavar="REF_DIR QUERY_DIR",
    help="Write a manifest (-o FILE, or to standard output) of files with equal names.",
)
@click.option(
    "--match", multiple=True, metavar="GLOB", help="With --from-folders: names to take [*]."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Rows at a time [the processors]."
)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", default=1, help="Threads of a row [1]."
)
@click.option(
    "--max-memory",
    metavar="SIZE",
    callback=size,
    help="Memory of all rows at a time together, e.g. 16G [what is free].",
)
@click.option("--timeout", metavar="T", callback=_duration, help="Of a row: 90s, 10m, 2h [none].")
@click.option(
    "--retry",
    type=click.Choice(["failed"]),
    help="failed: run again what failed, though unchanged.",
)
@click.option("--force", is_flag=True, help="Run all rows, also those that are done.")
@click.option("--strict", is_flag=True, help="Start nothing if a file of any row is missing.")
@click.option("--no-path", is_flag=True, help="Leave the path out of the documents.")
@click.option("--json", "as_json", is_flag=True, help="Results on standard output, a line a row.")
@click.option("--parquet", is_flag=True, help="summary.parquet beside summary.csv.")
@click.option(
    "--audit", is_flag=True, help="Report which pairs are out of sync or not related: by sync."
)
@click.option(
    "--tolerance",
    metavar="T",
    default="40ms",
    callback=seconds,
    help="Of --audit: the largest error in sync [40ms].",
)
@click.option(
    "--engine", type=click.Choice(ENGINES), default="local", help="Where rows are run [local]."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="Of --engine dask: tcp://HOST:PORT [starts a cluster]."
)
@click.option(
    "--shard", metavar="I/N", callback=_shard, help="Run the I-th of N shares of the rows."
)
@click.option("--dry-run", is_flag=True, help="Check the manifest, say what is to do, and stop.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings, no progress.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@stream_options
def batch(manifest: str | None, **parameters: Any) -> int:
    """Run the alignments of MANIFEST, again only those that are missing or have changed.

    A row an alignment: columns id, method, reference, query (or stream1, stream2, ...), truth;
    any other is an option of that method. Comma separated values, or JSON lines. To bring shards
    together: mmalign batch merge FOLDER.
    """
    parameters.pop("debug")
    options = (*parameters.pop("options"), *take_defaults(parameters).items())
    wanted = _Wanted(options=options, **parameters)
    if wanted.from_folders:
        _write_manifest(manifest, wanted)
        return ExitCode.OK
    if manifest is None:
        raise UsageError("MANIFEST", "is missing", "see mmalign batch --help")
    wanted.check()
    return _run(manifest, wanted)


@dataclass(frozen=True)
class _Wanted:
    """What the command line asks for."""

    output: str | None
    method: str
    options: tuple[tuple[str, str], ...]
    from_folders: tuple[str, str] | None
    match: tuple[str, ...]
    jobs: int | None
    threads: int
    max_memory: int | None
    timeout: float | None
    retry: str | None
    force: bool
    strict: bool
    no_path: bool
    as_json: bool
    parquet: bool
    audit: bool
    tolerance: float
    engine: str
    scheduler: str | None
    shard: tuple[int, int] | None
    dry_run: bool
    quiet: bool

    def check(self) -> None:
        """Refuse what does not fit together, before any file is read."""
        if self.output is None:
            for name in ("retry", "parquet", "shard"):
                if getattr(self, name):
                    raise UsageError(f"--{name}", "means nothing without a folder", "-o FOLDER")
        else:
            check_folder(self.output)
        if self.parquet:
            from mmalign_cli.batch.summary import require_parquet

            require_parquet()
        if self.scheduler is not None and self.engine != "dask":
            raise UsageError("--scheduler", "means nothing without --engine dask")

    def setup(self, jobs: int) -> Setup:
        """Return what goes for all rows."""
        from mmalign_cli.batch.slot import Setup

        return Setup(
            folder=None if self.output is None else os.path.abspath(self.output),
            cwd=os.getcwd(),
            jobs=jobs,
            memory=self.max_memory,
            timeout_s=self.timeout,
            threads=self.threads,
            with_path=not self.no_path,
            tolerance_s=self.tolerance if self.audit else None,
        )

    def warn(self, lines: Iterable[str]) -> None:
        """Write warnings on stderr."""
        if not self.quiet:
            for line in lines:
                click.echo(f"mmalign: warning: {printable(line)}", err=True)


def _write_manifest(manifest: str | None, wanted: _Wanted) -> None:
    """Do what ``--from-folders`` asks for."""
    from mmalign_cli.batch.folders import match_folders
    from mmalign_cli.batch.manifest import rows_text
    from mmalign_cli.write.atomic import Outputs, check_outputs

    if manifest is not None or wanted.from_folders is None:
        raise UsageError("--from-folders", "writes a manifest, it reads none", f"-o {manifest}")
    start = "."
    if wanted.output is not None:
        check_outputs([wanted.output], [], wanted.force)
        start = os.path.dirname(wanted.output) or "."
    rows, alone = match_folders(*wanted.from_folders, wanted.match or ("*",), start)
    if alone:
        more = f" and {len(alone) - 1} more have" if len(alone) > 1 else " has"
        wanted.warn([f"{alone[0]}{more} no counterpart: left out"])
    text = rows_text(rows)
    if wanted.output is None:
        click.echo(text, nl=False)
        return
    with Outputs(wanted.force) as outputs, outputs.open(wanted.output) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    click.echo(f"{wanted.output}: {len(rows)} rows")


def _run(manifest: str, wanted: _Wanted) -> int:
    """Run the rows of a manifest."""
    from mmalign_cli.batch.session import Session, locked

    checked = _checked(manifest, wanted)
    if wanted.output is None:
        return _plan(checked.jobs, checked, 0) if wanted.dry_run else _stream(checked, wanted)
    if not wanted.dry_run:
        os.makedirs(wanted.output, exist_ok=True)
    jobs = [*checked.jobs, *(job for job, _ in checked.missing)]
    with nullcontext() if wanted.dry_run else locked(wanted.output, wanted.shard):
        session = Session(wanted.setup(1), manifest, jobs, wanted.shard)
        wanted.warn(session.warnings)
        current = set() if wanted.force else session.current(wanted.retry is not None)
        checked.jobs = [job for job in checked.jobs if job.id not in current]
        checked.missing = [m for m in checked.missing if m[0].id not in current]
        if wanted.dry_run:
            return _plan(checked.jobs, checked, len(current))
        session.check_documents(checked.jobs)
        with session:
            return _keep(session, checked, wanted, len(current))


def _checked(manifest: str, wanted: _Wanted) -> Checked:
    """Read a manifest whole; refuse it if any row of it makes no sense."""
    from mmalign_cli.batch.manifest import read_manifest
    from mmalign_cli.commands.rows import RowReader

    only = "sync" if wanted.audit else None
    reader = RowReader(manifest, only or wanted.method, wanted.options, only)
    checked = reader.check(read_manifest(manifest))
    _refuse(manifest, checked.faults)
    if not checked.jobs and not checked.missing:
        raise InputError(manifest, "holds no row", "a header, then a row an alignment")
    absent = [f"{job.id}: {error}" for job, error in checked.missing]
    if wanted.strict and absent:
        what = f"{len(absent)} rows lack a file, the first is {absent[0]}"
        raise InputError(manifest, what, "leave --strict out to run the others")
    wanted.warn(absent[:_MOST_LINES])
    if wanted.shard is not None:
        i, n = wanted.shard
        checked.jobs = [job for job in checked.jobs if job.number % n == i - 1]
        checked.missing = [m for m in checked.missing if m[0].number % n == i - 1]
    return checked


def _refuse(manifest: str, faults: Sequence[Fault]) -> None:
    """Refuse a manifest that has faults; where there are several, say each on a line before."""
    if not faults:
        return
    if len(faults) == 1:
        raise InputError(manifest, str(faults[0]), faults[0].hint)
    for fault in faults[:_MOST_FAULTS]:
        click.echo(f"mmalign: {printable(manifest)}: {printable(str(fault))}", err=True)
    what = f"{len(faults)} rows make no sense, the first: {faults[0]}"
    raise InputError(manifest, what, faults[0].hint)


def _plan(jobs: Sequence[Job], checked: Checked, n_current: int) -> int:
    click.echo(f"{len(jobs)} rows to run, {n_current} that are done and have not changed")
    if checked.missing:
        click.echo(f"{len(checked.missing)} rows lack a file")
    return ExitCode.OK


def _stream(checked: Checked, wanted: _Wanted) -> int:
    """Run rows of which nothing is kept: their results go to standard output."""
    failed = 0
    for records in _results(checked, wanted):
        failed += sum(record["status"] == "failed" for record in records)
        _print(records)
    return ExitCode.BATCH if failed else ExitCode.OK


def _keep(session: Session, checked: Checked, wanted: _Wanted, n_current: int) -> int:
    """Run rows, keep their results, and say what became of them."""
    n_done = 0
    for records in _results(checked, wanted):
        session.record(records)
        n_done += sum(record["status"] == "done" for record in records)
        if wanted.as_json:
            _print(records)
    session.finish(wanted.parquet)
    failed = 0
    for failed, record in enumerate(session.failures(), 1):
        if failed <= _MOST_LINES and not wanted.as_json:
            error = record["error"]
            about = "" if error["subject"] == record["id"] else f"{error['subject']}: "
            click.echo(printable(f"failed  {record['id']}: {about}{error['what']}"))
    if not wanted.as_json:
        if failed > _MOST_LINES:
            click.echo(f"...     {failed - _MOST_LINES} more: see failed.csv, summary.csv")
        if wanted.audit:
            _say_verdicts(session)
        before = f", {n_current} were before" if n_current else ""
        click.echo(f"{n_done} rows done{before}, {failed} failed: {wanted.output}")
    return ExitCode.BATCH if failed else ExitCode.OK


def _say_verdicts(session: Session) -> None:
    """Say of which pairs the clocks differ, and by how much."""
    from mmalign_cli.batch.audit import IN_SYNC, audit_line

    counts: dict[str, int] = {}
    for record in session.results():
        found = record.get("audit")
        if found is not None:
            counts[found["verdict"]] = counts.get(found["verdict"], 0) + 1
            if found["verdict"] != IN_SYNC:
                click.echo(printable(f"{found['verdict']:<10}{record['id']}: {audit_line(found)}"))
    click.echo(", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))


def _results(checked: Checked, wanted: _Wanted) -> Iterator[list[Record]]:
    """Run rows, and yield what became of them as soon as it is known."""
    from mmalign_cli.batch.job import failure
    from mmalign_cli.batch.runner import run

    tally = Tally(len(checked.jobs) + len(checked.missing))
    with _engine(wanted) as engine, progress(tally, wanted.quiet):
        setup = wanted.setup(engine.workers)
        absent = [
            failure(job, setup.how(), e.exit_code, e.subject, e.what, e.hint)
            for job, e in checked.missing
        ]
        for records in itertools.chain([absent], run(checked.jobs, setup, engine)):
            tally.count(records)
            yield records


@contextmanager
def _engine(wanted: _Wanted) -> Iterator[Engine]:
    from mmalign_cli.batch.runner import ThisMachine, dask_engine

    jobs = wanted.jobs or runtime.threads()
    if wanted.engine == "dask":
        with dask_engine(wanted.scheduler, jobs) as engine:
            yield engine
    else:
        yield ThisMachine(jobs)


def _print(records: Sequence[Record]) -> None:
    for record in records:
        click.echo(json.dumps(record))
