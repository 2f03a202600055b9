"""Canonical Time Warping of two streams by the papers' alternation, from many starts.

Minimises ``||U' X W_x - V' Y W_y||_F^2`` over the maps U, V with ``U' S_xx U = V' S_yy V = I`` and
over the warps W: maps by canonical correlation analysis along the path, then the path by DTW of
the projected streams (Zhou and De la Torre, 2009). How many dimensions, and which start: by what
the maps of one part of the path are worth on the other, never by the correlation that was fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.alternate import Descent
from mmalign_cli.align.cca import Canonical, dims_of_energy
from mmalign_cli.align.dtw import Warp
from mmalign_cli.align.first_paths import STARTS, Start, within
from mmalign_cli.align.joint import Joint
from mmalign_cli.align.pair import Pair
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

CANDIDATE_DIMS = (1, 2, 3, 5, 8, 12)
_PATIENCE = 2
_SKIPPED = 0.2


@dataclass(frozen=True, eq=False)
class Found:
    """An alignment with linear maps.

    Parameters
    ----------
    maps : Canonical
        From the frames of each stream to the common space, where they were compared.
    warp : Warp
        The path, and what it costs there.
    evidence : float
        Nats a step that the maps gain on held-out stretches of the path.
    gains : ndarray, shape (k,)
        The same by canonical dimension.
    start : str
        Where it began.
    objective : tuple of float
        Mean squared distance along the path after each round from that start.
    ending : str
        How it stopped: see `mmalign_cli.align.alternate.Descent`.
    starts : int
        How many were compared.
    joint : Joint or None
        What the joint aligner found, where that was asked: continuous warps, and maps of what it
        correlated.
    total_correlation : float or None
        In nats, where that was maximised.
    """

    maps: Canonical
    warp: Warp
    evidence: float
    gains: Float64Array
    start: str
    objective: tuple[float, ...]
    ending: str
    starts: int
    joint: Joint | None = None
    total_correlation: float | None = None


@dataclass(frozen=True, eq=False)
class Candidate:
    """Where one start led in one number of dimensions.

    Parameters
    ----------
    start : str
    descent : Descent
    maps : Canonical
    path : ndarray, shape (n_steps, 2)
        With the maps, those of the round of most evidence that the descent may stand for.
    evidence : float
    """

    start: str
    descent: Descent[Canonical, IntArray]
    maps: Canonical
    path: IntArray
    evidence: float


def candidate(pair: Pair, start: str, descent: Descent[Canonical, IntArray]) -> Candidate:
    """Return the end of a descent with its evidence."""
    evidences = [pair.evidence(r.path) for r in descent.candidates]
    best = int(np.argmax(evidences))
    chosen = descent.candidates[best]
    return Candidate(start, descent, chosen.maps, chosen.path, evidences[best])


def starts_of(pair: Pair) -> list[Start]:
    """Return the starts that the settings ask for; with open ends in parts of the reference too."""
    settings, n = pair.settings, len(pair.x)
    of_takes = [{s.name: s.path for s in STARTS[settings.init](x, y)} for x, y in pair.takes()]
    names = [name for name in of_takes[0] if all(name in found for found in of_takes)]
    starts = [Start(name, pair.joined([found[name] for found in of_takes])) for name in names]
    starts = starts[: settings.starts]
    low = _SKIPPED if settings.ends.open_begin else 0.0
    high = 1.0 - _SKIPPED if settings.ends.open_end else 1.0
    parts = {(low, 1.0), (0.0, high), (low, high)} - {(0.0, 1.0)}
    return starts + [within(s, n, *part) for part in sorted(parts) for s in starts]


def candidates(
    pair: Pair, starts: Sequence[Start], progress: Progress = runtime.silent
) -> list[Candidate]:
    """Descend from every start, in the dimensions that the settings ask for.

    Without a number, more and more dimensions are tried, until twice in a row the best evidence
    has not grown. A dimension of noise is no gain on held-out stretches, and as DTW then follows
    the noise too, it costs what the others gain.
    """
    dims = pair.settings.dims
    if dims is not None and dims < 1:
        return [_by_energy(pair, start, dims, progress) for start in starts]
    if dims is not None:
        return _in_space(pair, int(dims), starts, progress)
    found: list[Candidate] = []
    worse = 0
    for trial in (d for d in CANDIDATE_DIMS if d == 1 or d <= _most_dims(pair)):
        before = max((c.evidence for c in found), default=-np.inf)
        found += _in_space(pair, trial, starts, progress)
        worse = 0 if max(c.evidence for c in found) > before else worse + 1
        if worse == _PATIENCE:
            break
    return found


def _most_dims(pair: Pair) -> int:
    return min(int(pair.x.shape[1]), int(pair.y.shape[1]))


def _in_space(
    pair: Pair, dims: int, starts: Sequence[Start], progress: Progress
) -> list[Candidate]:
    def tell(stage: str, done: int, total: int) -> None:
        progress(f"{dims}-d, {stage}", done, total)

    descents = pair.alternation(dims).descend_all([s.path for s in starts], tell)
    return [candidate(pair, s.name, d) for s, d in zip(starts, descents, strict=True)]


def _by_energy(pair: Pair, start: Start, share: float, progress: Progress) -> Candidate:
    dims = dims_of_energy(pair.project(start.path).correlations, share)
    return _in_space(pair, dims, [start], progress)[0]


def align(pair: Pair, progress: Progress = runtime.silent) -> Found:
    """Find the alignment of most evidence.

    Parameters
    ----------
    pair : Pair
    progress : Progress
        Told the rounds done of each start; may raise to stop.

    Raises
    ------
    InputError
        If nothing in a stream changes.
    AlignmentError
        If there is no path.
    """
    tried = candidates(pair, starts_of(pair), progress)
    best = max(tried, key=_by_evidence)
    return Found(
        maps=best.maps,
        warp=pair.warp(best.maps),
        evidence=best.evidence,
        gains=pair.gains(best.path),
        start=best.start,
        objective=tuple(r.objective for r in best.descent.rounds),
        ending=best.descent.ending,
        starts=len(tried),
    )


def _by_evidence(one: Candidate) -> float:
    return one.evidence
