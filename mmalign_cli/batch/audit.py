"""What is off between two recordings, in a word and some numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmalign_cli.evidence.relation import is_refused
from mmalign_cli.model import Alignment
from mmalign_cli.pipeline.sync import greatest_error

IN_SYNC, UNRELATED = "in sync", "unrelated"


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


def audit_line(found: Mapping[str, Any]) -> str:
    """Return a verdict's numbers for people."""
    parts = []
    if found["verdict"] != UNRELATED:
        error = found["offset_error"]
        about = "" if error is None else f" +- {1000 * error:.3g} ms"
        parts.append(f"offset {found['offset']:+.4f} s{about}")
        if found["drift_ppm"]:
            parts.append(f"drift {found['drift_ppm']:+.1f} ppm")
        if found["breaks"]:
            parts.append(f"{found['breaks']} breaks")
        parts.append(f"up to {found['greatest_error']:.3f} s off")
    return ", ".join(parts) or "no evidence of one event"
