"""The verdicts of an audit, in words. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IN_SYNC, UNRELATED = "in sync", "unrelated"


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
