"""What `mmalign sync` found, in one sentence for people, and what is uncertain about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmalign_cli.errors import printable
from mmalign_cli.model import Alignment


def sync_text(alignment: Alignment) -> str:
    """Return the lines that `mmalign sync` prints: what was found, then why to believe it."""
    said = alignment.parameters
    reference, recording = (printable(s.name) for s in alignment.streams)
    if said["found"] == "warp":
        knots = len(alignment.time_maps[0].knots)
        text = f"{recording} follows {reference} freely: a warp of {knots} knots"
    else:
        text = f"{recording} {_start(said)} {reference}{_speed(said)}"
    return "\n".join([text, *(_break(b, recording) for b in said["breaks"]), _trust(alignment)])


def _start(said: Mapping[str, Any]) -> str:
    """Say when it starts: ``starts 12.254 s +- 0.4 ms after``."""
    error = said["offset_error"]
    digits = 4 if error < 1e-4 else 3 if error < 0.02 else 2
    margin = f"{1000 * error:.2g} ms" if error < 0.1 else f"{error:.2g} s"
    start = f"{abs(said['offset']):.{digits}f}"
    if float(start) == 0:
        return f"starts (+- {margin}) with"
    return f"starts {start} s +- {margin} {'after' if said['offset'] > 0 else 'before'}"


def _speed(said: Mapping[str, Any]) -> str:
    """Say how its clock runs: ``, and runs 38 ppm fast``."""
    if said["drift_ppm"] == 0:
        return ""
    error, ppm = said["drift_error_ppm"], abs(said["drift_ppm"])
    digits = 2 if error < 0.1 else 1 if error < 1 else 0
    side = "fast" if said["drift_ppm"] > 0 else "slow"
    return f", and runs {ppm:.{digits}f} ppm {side} (+- {error:.2g} ppm)"


def _break(found: Mapping[str, Any], recording: str) -> str:
    """Say where its clock jumps, and by how much."""
    length, at = abs(found["jump"]), found["at"]
    what = "are missing" if found["jump"] > 0 else "are in it alone"
    return f"at {at:.2f} s of {recording}, {length:.3f} s {what}"


def _trust(alignment: Alignment) -> str:
    """Say what the verdict rests on."""
    found = alignment.confidence or {}
    if "windows" in found:
        why = f"{found['evidence']:.0%} of {found['windows']} windows agree to 2 ms"
        why += f", by chance {found['nulls']['reversed']:.0%}"
    elif "correlation" in found:
        why = f"activities correlate by {found['correlation']:.2f}, p = {found['p_value']:.1g}"
    else:
        why = f"a step costs {found['evidence']:.2f} of what any match does"
    if found["supported"]:
        return why
    doubt = "chance may do as well" if found.get("distinct") else "not to be believed"
    return f"{doubt}: {why}"
