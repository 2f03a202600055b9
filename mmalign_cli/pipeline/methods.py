"""The aligners by name, as a batch runs them: streams and settings to an alignment.

Imports nothing heavy: the process that only hands rows out needs none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmalign_cli.model import Alignment, Stream
    from mmalign_cli.streams.spec import StreamSpec


@dataclass(frozen=True)
class Task:
    """One alignment to make.

    Parameters
    ----------
    specs : sequence of StreamSpec
        The reference first.
    settings : Mapping
        Fields of the aligner's own settings; others have their defaults.
    max_memory : int
        Bytes.
    force : bool
        Whether to give a result that a single run would refuse to act on, too.
    load : callable
        Reads the streams of `specs` and computes their features.
    """

    specs: Sequence[StreamSpec]
    settings: Mapping[str, Any]
    max_memory: int | None
    force: bool
    load: Callable[[Sequence[StreamSpec]], list[Stream]]


@dataclass(frozen=True)
class Method:
    """An aligner.

    Parameters
    ----------
    align : callable
        Task to Alignment; raises MmalignError as the command of that name does.
    least, most : int or None
        How many streams it takes; None is any number.
    effort : float
        How long it takes beside DTW of the same files, very roughly: what is long goes first.
    """

    align: Callable[[Task], Alignment]
    least: int = 2
    most: int | None = 2
    effort: float = 1.0


def _dtw(task: Task) -> Alignment:
    from mmalign_cli.pipeline.dtw import align_dtw
    from mmalign_cli.pipeline.restrictions import DtwSettings

    settings = DtwSettings(**task.settings)
    return align_dtw(task.load(task.specs), settings, max_memory=task.max_memory)[0]


def _ctw(task: Task) -> Alignment:
    from mmalign_cli.pipeline.ctw import CtwSettings, align_ctw

    settings = CtwSettings(**task.settings)
    return align_ctw(task.load(task.specs), settings, max_memory=task.max_memory).alignment


def _gtw(task: Task) -> Alignment:
    from mmalign_cli.pipeline.gtw import GtwSettings, align_gtw

    settings = GtwSettings(**task.settings)
    return align_gtw(task.load(task.specs), settings, max_memory=task.max_memory).alignment


def _dctw(task: Task) -> Alignment:
    from mmalign_cli.pipeline.dctw import DctwSettings, align_takes
    from mmalign_cli.pipeline.takes import Take

    settings = DctwSettings(**task.settings)
    take = Take("", tuple(task.load(task.specs)))
    return align_takes([take], settings, max_memory=task.max_memory)[0][0]


def _sync(task: Task) -> Alignment:
    from mmalign_cli.pipeline.sync import require_related, sync_streams
    from mmalign_cli.pipeline.sync_other import SyncSettings

    settings = SyncSettings(**task.settings)
    found = sync_streams(task.specs, settings, max_memory=task.max_memory)
    if not task.force:
        require_related(found, ", ".join(spec.path for spec in task.specs))
    return found


METHODS: Mapping[str, Method] = {
    "dtw": Method(_dtw),
    "ctw": Method(_ctw, effort=100.0),
    "gtw": Method(_gtw, most=None, effort=100.0),
    "dctw": Method(_dctw, most=None, effort=1000.0),
    "sync": Method(_sync),
}
"""Names of commands to what they run."""
