"""``mmalign batch``: what it does, and what it says of it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from mmalign_cli import runtime
from mmalign_cli.commands.batch_progress import Tally, progress
from mmalign_cli.commands.options import FIRST_RUN, check_folder
from mmalign_cli.errors import ExitCode, InputError, UsageError, printable

if TYPE_CHECKING:
    from mmalign_cli.batch.job import Job, Record
    from mmalign_cli.batch.manifest import Fault
    from mmalign_cli.batch.runner import Engine
    from mmalign_cli.batch.session import Session
    from mmalign_cli.batch.slot import Setup
    from mmalign_cli.commands.rows import Checked

_MOST_LINES = 20
_MOST_FAULTS = 100


@dataclass(frozen=True)
class Wanted:
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

    def setup(self, jobs: int, rows: Iterable[Job] = ()) -> Setup:
        """Return what goes for all rows."""
        from mmalign_cli.batch.slot import Setup
        from mmalign_cli.streams.registry import is_named_as_sound

        return Setup(
            folder=None if self.output is None else os.path.abspath(self.output),
            cwd=os.getcwd(),
            jobs=jobs,
            memory=self.max_memory,
            timeout_s=self.timeout,
            threads=self.threads,
            with_path=not self.no_path,
            tolerance_s=self.tolerance if self.audit else None,
            with_sounds=any(is_named_as_sound(spec.path) for row in rows for spec in row.specs),
        )

    def warn(self, lines: Iterable[str]) -> None:
        """Write warnings on stderr."""
        if not self.quiet:
            for line in lines:
                click.echo(f"mmalign: warning: {printable(line)}", err=True)


def write_manifest(manifest: str | None, wanted: Wanted) -> None:
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


def run(manifest: str, wanted: Wanted) -> int:
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


def _checked(manifest: str, wanted: Wanted) -> Checked:
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


def _stream(checked: Checked, wanted: Wanted) -> int:
    """Run rows of which nothing is kept: their results go to standard output."""
    failed = 0
    for records in _results(checked, wanted):
        failed += sum(record["status"] == "failed" for record in records)
        _print(records)
    return ExitCode.BATCH if failed else ExitCode.OK


def _keep(session: Session, checked: Checked, wanted: Wanted, n_current: int) -> int:
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
    from mmalign_cli.batch.verdicts import IN_SYNC, audit_line

    counts: dict[str, int] = {}
    for record in session.results():
        found = record.get("audit")
        if found is not None:
            counts[found["verdict"]] = counts.get(found["verdict"], 0) + 1
            if found["verdict"] != IN_SYNC:
                click.echo(printable(f"{found['verdict']:<10}{record['id']}: {audit_line(found)}"))
    click.echo(", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))


def _results(checked: Checked, wanted: Wanted) -> Iterator[list[Record]]:
    """Run rows, and yield what became of them as soon as it is known."""
    from mmalign_cli.batch.job import failure
    from mmalign_cli.batch.runner import run

    if checked.jobs and not wanted.quiet and runtime.is_first_run():
        click.echo(f"mmalign: {FIRST_RUN}", err=True)
    tally = Tally(len(checked.jobs) + len(checked.missing))
    with _engine(wanted) as engine, progress(tally, wanted.quiet):
        setup = wanted.setup(engine.workers, checked.jobs)
        absent = [
            failure(job, setup.how(), e.exit_code, e.subject, e.what, e.hint)
            for job, e in checked.missing
        ]
        for records in itertools.chain([absent], run(checked.jobs, setup, engine)):
            tally.count(records)
            yield records


@contextmanager
def _engine(wanted: Wanted) -> Iterator[Engine]:
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
