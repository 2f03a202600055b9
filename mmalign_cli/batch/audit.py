"""What is off between two recordings, in a word and some numbers."""

from __future__ import annotations

from typing import Any

from mmalign_cli.batch.verdicts import IN_SYNC, UNRELATED
from mmalign_cli.evidence.relation import is_refused
from mmalign_cli.model import Alignment
from mmalign_cli.pipeline.sync import greatest_error


def audit(alignment: Alignment, tolerance_s: float) -> dict[str, Any]:
    """Return the verdict on what ``sync`` found.

    Parameters
    ----------
    alignment : Alignment
        Of `mmalign_cli.pipeline.sync.sync_streams`.
    tolerance_s : float
        The largest error that is still in sync.

    Returns
    -------
    dict
        ``verdict``: ``unrelated``, ``in sync``, or what kind of map it takes (``offset``,
        ``drift``, ``piecewise``, ``warp``); ``greatest_error``, ``offset``, ``offset_error`` in
        seconds; ``drift_ppm``; ``breaks``, how many.
    """
    found, error = alignment.parameters, greatest_error(alignment)
    verdict = str(found["found"])
    if is_refused(alignment.confidence or {}):
        verdict = UNRELATED
    elif error <= tolerance_s:
        verdict = IN_SYNC
    kept = {name: found[name] for name in ("offset", "offset_error", "drift_ppm")}
    return {"verdict": verdict, "greatest_error": error, **kept, "breaks": len(found["breaks"])}
