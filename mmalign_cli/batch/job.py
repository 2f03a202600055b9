"""One row, ready to run, and what identifies it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mmalign_cli import __version__
from mmalign_cli.batch.files import stat_of
from mmalign_cli.streams.spec import StreamSpec, unique_names

Record: TypeAlias = dict[str, Any]
"""A line of ``results.ndjson``."""

DONE, FAILED = "done", "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """One alignment of a manifest.

    Parameters
    ----------
    id : str
        Names its document.
    number : int
        Of the row, from 0 on.
    method : str
        One of `mmalign_cli.pipeline.methods.METHODS`.
    specs : tuple of StreamSpec
        The reference first.
    settings : Mapping
        What the method is told; may be shared by many jobs.
    files : tuple of str
        Further inputs, which settings name.
    truth : str or None
        A file with the known answer.
    weight : float
        How long it may take, compared with others.
    cells : Mapping of str to str
        The row as it was written.
    """

    id: str
    number: int
    method: str
    specs: tuple[StreamSpec, ...]
    settings: Mapping[str, Any]
    files: tuple[str, ...]
    truth: str | None
    weight: float
    cells: Mapping[str, str]

    def inputs(self) -> list[str]:
        """Return every file that the result depends on."""
        truth = () if self.truth is None else (self.truth,)
        return [*(spec.path for spec in self.specs), *self.files, *truth]

    def task(self, how: Mapping[str, Any]) -> str:
        """Return a digest of all that the result depends on but the content of files.

        Parameters
        ----------
        how : Mapping
            What goes for all rows, such as whether documents hold the path.
        """
        streams = [[n, s.given] for n, s in zip(unique_names(self.specs), self.specs, strict=True)]
        whole = [__version__, self.method, self.settings, streams, len(self.files), how]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def key_of(task: str, digests: Sequence[str | None]) -> str:
    """Return the digest of a task and the content of its inputs: equal keys, equal documents."""
    return hashlib.sha256("\0".join([task, *map(str, digests)]).encode()).hexdigest()


def failure(
    job: Job, how: Mapping[str, Any], code: int, subject: str, what: str, hint: str | None = None
) -> Record:
    """Return the record of a row that failed outside the aligner."""
    return {
        "id": job.id,
        "status": FAILED,
        "method": job.method,
        "streams": [spec.path for spec in job.specs],
        "error": {"code": code, "subject": subject, "what": what, "hint": hint},
        "task": job.task(how),
        "inputs": [{"stat": stat_of(path), "sha256": None} for path in job.inputs()],
        "finished": round(time.time(), 3),
    }
