"""One row in a worker: from its JSON to a document and a record."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from mmalign_cli.batch.files import Digests, Stat, stat_of
from mmalign_cli.batch.job import DONE, FAILED, Record, key_of
from mmalign_cli.batch.meter import Meter
from mmalign_cli.errors import ExitCode, MmalignError
from mmalign_cli.model import Alignment, EvenTimes, Stream
from mmalign_cli.pipeline.evaluate import evaluate_alignment
from mmalign_cli.pipeline.methods import METHODS, Task
from mmalign_cli.pipeline.streams import load_stream
from mmalign_cli.streams.spec import Options, StreamSpec, unique_names
from mmalign_cli.write.document import text_pieces, to_document

_LARGEST_STORE = 512 * 1024**2


class StreamStore:
    """Streams with their features, the last used ones: a stream of many rows is read once.

    Parameters
    ----------
    most : int
        Bytes to keep.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._kept: OrderedDict[tuple[object, ...], Stream] = OrderedDict()

    def load(self, specs: Sequence[StreamSpec]) -> list[Stream]:
        """Return the streams of one alignment, under their names in it."""
        named = zip(specs, unique_names(specs), strict=True)
        return [self._stream(spec, name) for spec, name in named]

    def _stream(self, spec: StreamSpec, name: str) -> Stream:
        stat = stat_of(spec.path)
        key = (spec.path, name, *spec.given.items(), stat)
        if key not in self._kept:
            stream = self._kept[key] = load_stream(spec, name).stream
            self._taken += stream.values.nbytes
            while self._taken > self._most:
                self._taken -= self._kept.popitem(last=False)[1].values.nbytes
            return stream
        self._kept.move_to_end(key)
        return self._kept[key]


class Aligner:
    """Aligns rows, one after the other.

    Parameters
    ----------
    setup : Mapping
        ``share`` and ``memory`` in bytes, ``with_path``, ``tolerance`` (of an audit, or None),
        ``with_sounds``.
    """

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._setup = setup
        self._digests = Digests()
        self._store = StreamStore(min(setup["share"] // 4, _LARGEST_STORE))
        self.meter = Meter()

    def warm_up(self) -> None:
        """Load what nearly every row needs, on a clock that is nobody's."""
        import numpy as np

        from mmalign_cli.features.compute import compute, decode_rate
        from mmalign_cli.pipeline.dtw import align_dtw
        from mmalign_cli.pipeline.restrictions import DtwSettings

        few = np.random.default_rng(0).normal(size=(24, 2))
        both = [Stream(name, few, np.arange(24.0)) for name in ("warming", "up")]
        align_dtw(both, DtwSettings(), max_memory=self._setup["share"])
        if self._setup["with_sounds"]:
            noise, rate = np.random.default_rng(0).normal(size=(8000, 1)), decode_rate(Options())
            assert rate is not None
            compute(Stream("noise", noise, EvenTimes(8000, rate), rate, "audio"), Options())

    def align(self, row: Mapping[str, Any]) -> tuple[Record, bytes | None]:
        """Align one row; return its record, and what its document is to hold, if it has one."""
        stats = [stat_of(path) for path in row["inputs"]]
        record: Record = {"id": row["id"], "status": DONE, "method": row["method"]}
        digests: list[str | None] = [None] * len(stats)
        self.meter.reset()
        start = time.perf_counter()
        document = None
        try:
            alignment = self._alignment(row)
            text = "".join(text_pieces(to_document(alignment, self._setup["with_path"])))
            record |= self._findings(alignment, row["truth"])
            digests = self._digests_of(row["inputs"], stats, alignment)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is of this row alone
            record |= {"status": FAILED, "error": _reason(error)}
            record["streams"] = [path for path, _ in row["streams"]]
        else:
            if row["document"] is not None:
                document = text.encode("ascii")
                record["bytes"] = len(document)
        record["memory"] = self.meter.peak()
        record["seconds"] = round(time.perf_counter() - start, 6)
        record["finished"] = round(time.time(), 3)
        inputs = [{"stat": s, "sha256": d} for s, d in zip(stats, digests, strict=True)]
        record |= {"key": key_of(row["task"], digests), "task": row["task"], "inputs": inputs}
        return record, document

    def _alignment(self, row: Mapping[str, Any]) -> Alignment:
        specs = [StreamSpec(path, given) for path, given in row["streams"]]
        is_audit = self._setup["tolerance"] is not None
        task = Task(specs, row["settings"], self._setup["memory"], is_audit, self._store.load)
        return METHODS[row["method"]].align(task)

    def _findings(self, alignment: Alignment, truth: str | None) -> Record:
        """Return what the summary says of an alignment."""
        found = alignment.confidence or {}
        tolerance = self._setup["tolerance"]
        return {
            "streams": [s.source for s in alignment.streams],
            "frames": [s.frames for s in alignment.streams],
            "cost": vars(alignment.cost),
            "confidence": {k: found.get(k) for k in ("evidence", "p_value", "supported")},
            "errors": None if truth is None else vars(evaluate_alignment(alignment, truth)),
            "audit": None if tolerance is None else _audit(alignment, tolerance),
            "warnings": list(alignment.warnings),
        }

    def _digests_of(
        self, paths: Sequence[str], stats: Sequence[Stat | None], alignment: Alignment
    ) -> list[str | None]:
        """Return the digests of the inputs: of streams as they were read."""
        for path, stat, info in zip(paths, stats, alignment.streams, strict=False):
            self._digests.learn(path, stat, info.sha256)
        return [self._digests.of(p, s) for p, s in zip(paths, stats, strict=True)]


def _audit(alignment: Alignment, tolerance_s: float) -> dict[str, Any]:
    from mmalign_cli.batch.audit import audit  # what it imports takes as long as all the rest

    return audit(alignment, tolerance_s)


def _reason(error: BaseException) -> dict[str, Any]:
    """Return why a row failed, as the command of one row would say it."""
    if isinstance(error, MmalignError):
        parts = (error.exit_code, error.subject, error.what, error.hint)
    elif isinstance(error, MemoryError):
        parts = (ExitCode.NO_ALIGNMENT, "memory", "ran out", "use --max-memory, or fewer frames")
    else:
        what = f"{type(error).__name__}: {error}"
        parts = (ExitCode.FAULT, "internal error", what, "run the row by itself with --debug")
    code, subject, what, hint = parts
    return {"code": int(code), "subject": subject, "what": what, "hint": hint}
