"""``mmalign batch merge``: the shards of a batch, in one folder or several, made one."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Sequence

from mmalign_cli.batch.job import DONE
from mmalign_cli.batch.ledger import RESULTS, Index
from mmalign_cli.batch.session import result_files, rewrite, write_tables
from mmalign_cli.errors import InputError
from mmalign_cli.write.atomic import Outputs

_SHARD = re.compile(r"results-(\d+)-of-(\d+)\.ndjson")
_TOGETHER = 256


def merge(folders: Sequence[str], target: str, parquet: bool) -> tuple[int, int]:
    """Bring the results of shards together.

    Parameters
    ----------
    folders : sequence of str
        In which shards were run.
    target : str
        The folder of the whole: one of them, or another, to which documents are copied.
    parquet : bool
        Whether to write the summary as parquet too.

    Returns
    -------
    rows, failed : int

    Raises
    ------
    InputError
        If there is no result, a shard is missing, or folders disagree about a row.
    OutputError
        If something cannot be written.
    """
    files = [path for folder in folders for path in result_files(folder) if os.path.exists(path)]
    if not files:
        raise InputError(folders[0], "holds no results of a batch", "name the folder of its -o")
    if not any(os.path.basename(path) == RESULTS for path in files):
        _require_all(files)
    index = Index([*files, *result_files(target)])
    _require_agreement(index)
    _copy_documents(index, target)
    with Outputs(force=True) as outputs:
        rewrite(outputs, os.path.join(target, RESULTS), index)
    for path in result_files(target)[:-1]:
        os.unlink(path)
    with Outputs(force=True) as outputs:
        failed = write_tables(outputs, target, (), parquet)
    return len(index), failed


def _require_all(files: Sequence[str]) -> None:
    """Refuse to merge before all shards have results."""
    names = (_SHARD.fullmatch(os.path.basename(path)) for path in files)
    found = {(int(name[1]), int(name[2])) for name in names if name}
    for n in {n for _, n in found}:
        missing = [str(i) for i in range(1, n + 1) if (i, n) not in found]
        if missing:
            what = f"shard {', '.join(missing)} of {n} has no results"
            raise InputError(os.path.dirname(files[0]), what, "run it, or name its folder too")


def _require_agreement(index: Index) -> None:
    """Refuse folders that hold different results for one row."""
    if index.clashes:
        what = f"{index.clashes[0]!r} has other results in another folder"
        raise InputError(index.files[0], what, "merge the shards of one manifest")


def _copy_documents(index: Index, target: str) -> None:
    """Copy the documents that are in other folders."""
    there = os.path.realpath(target)
    elsewhere = (
        (os.path.join(folder, f"{record['id']}.json"), f"{record['id']}.json")
        for record in index.records(index.ids())
        if record["status"] == DONE
        and os.path.realpath(folder := os.path.dirname(index.file_of(record["id"]))) != there
    )
    while some := list(itertools.islice(elsewhere, _TOGETHER)):
        with Outputs(force=True, together=True) as outputs:
            for source, name in some:
                with open(source, "rb") as old, outputs.open(os.path.join(target, name)) as new:
                    shutil.copyfileobj(old, new)
