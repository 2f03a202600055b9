"""Generalized Time Warping: continuous warps of many sequences, from few bases to many.

Warps are combinations of monotone bases (`mmalign_cli.align.bases`), moved by Gauss-Newton steps
of an objective that never rises (`mmalign_cli.align.gtw_objective`). The time of a round is in
proportion to the frames of the sequences and to their number (Zhou and De la Torre, 2012, 2016).

Every start is followed with the coarsest of the bases, the best few go on with finer ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align import bases
from mmalign_cli.align.alternate import Round
from mmalign_cli.align.cca import Canonical
from mmalign_cli.align.family import Found, Settings, at_even_steps, length_of
from mmalign_cli.align.gtw_objective import Pose, Problem
from mmalign_cli.align.sets import Sets, over_dims, prepare, steps_of
from mmalign_cli.align.warps import CLOSED_ENDS
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import Progress

LEAST_STEPS = 300
_BENDS = (0.4, -0.4, 0.8, -0.8)
_MOST_BENT = 6
_SKIPPED = 0.1
_COARSE_ROUNDS, _MOST_ROUNDS = 15, 100
_KEPT = 3


@dataclass(frozen=True, eq=False)
class Lead:
    """Warps on the way to an alignment.

    Parameters
    ----------
    name : str
        Of the start.
    shares : ndarray, shape (l, m)
        The warps, in shares of the sequences.
    rounds : tuple of Round
        That led there in the last bases.
    ending : str
        How they ended.
    """

    name: str
    shares: Float64Array
    rounds: tuple[Round[Pose, Float64Array], ...] = ()
    ending: str = ""

    @property
    def weights(self) -> Float64Array:
        """The weights (m, k) of the warps, once there are rounds."""
        return self.rounds[-1].path


def bends_of(m: int) -> Float64Array:
    """Return exponents of power-law warps to start from, (n_starts, m), the straight one first.

    Each sequence bent by itself; none where there are more than six, as one of many cannot lead
    the others astray.
    """
    straight = np.zeros((1, m))
    bent = [b * np.eye(m) for b in _BENDS] if m <= _MOST_BENT else []
    return np.exp(np.vstack([straight, *bent]))


def starts_of(sequences: Sequence[Float64Array], settings: Settings) -> list[Lead]:
    """Return the starts: power laws, and those that the settings bring.

    Where ends are open, each also with a tenth of the sequences skipped there.
    """
    n_steps = length_of(sequences, settings, LEAST_STEPS)
    u = np.linspace(0.0, 1.0, n_steps)[:, np.newaxis]
    rows = bends_of(len(sequences))[: settings.own_starts]
    own = [Lead(_name_of(row), u**row) for row in rows]
    last = np.array([len(x) - 1.0 for x in sequences])
    given = [Lead(s.name, at_even_steps(s.path / last, n_steps)) for s in settings.starts]
    ends, starts = settings.ends, [*given, *own]
    if ends == CLOSED_ENDS:
        return starts
    low, high = _SKIPPED * ends.begin, 1.0 - _SKIPPED * ends.end
    return starts + [Lead(f"{s.name}, cut", low + (high - low) * s.shares) for s in starts]


def _name_of(exponents: Float64Array) -> str:
    bent = np.flatnonzero(exponents != 1.0)
    return f"power {exponents[bent[0]]:.3g} of {bent[0] + 1}" if len(bent) else "uniform"


def gtw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align sequences of any numbers of columns by Generalized Time Warping.

    Where the dimensions of the common space are not given, those of most evidence on held-out
    stretches of the best coarse warps are taken: coarse ones of a few dimensions tell how many
    more there are.

    Parameters
    ----------
    sequences : sequence of m ndarray, shape (n_i, d_i)
    settings : Settings
    progress : Progress
        Told the rounds done; may raise to stop.

    Raises
    ------
    InputError
        If a sequence is too short or constant.
    UsageError
        If the basis is none.
    """
    sets = prepare(sequences, settings, "gtw")
    starts = starts_of(sets.values, settings)
    columns = [
        level.columns(len(starts[0].shares), settings.ends)
        for level in bases.parse(settings.basis).levels()
    ]
    ridges = np.array([sets.ridge * float(x.var(axis=0).mean()) for x in sets.values])

    def problem(level: int, dims: int) -> Problem:
        return Problem(sets.values, columns[level], dims, ridges, settings.smoothness)

    def attempt(dims: int) -> tuple[float, tuple[int, list[Lead]]]:
        first = problem(0, dims)
        leads = _followed(first, starts, settings, _COARSE_ROUNDS, progress)
        samples = first.samples(leads[0].weights)
        evidence, worthwhile = sets.evidence(samples, steps_of(samples))
        return evidence, (worthwhile if settings.dims is None else dims, leads)

    def straight() -> Canonical:
        first = problem(0, sets.most_dims)
        return first.pose(first.nearest(starts[0].shares)).found

    dims, leads = over_dims(settings, sets.most_dims, straight, attempt)
    for level in range(1, len(columns) - 1):
        leads = _followed(problem(level, dims), leads, settings, _COARSE_ROUNDS, progress)
    last = problem(len(columns) - 1, dims)
    leads = _followed(last, leads, settings, settings.rounds or _MOST_ROUNDS, progress)
    return _found(sets, last, leads[0], len(starts))


def _followed(
    problem: Problem, leads: Sequence[Lead], settings: Settings, rounds: int, progress: Progress
) -> list[Lead]:
    """Go on from each lead; return the best three."""
    rounds = min(rounds, settings.rounds or rounds)
    loop = problem.alternation(rounds, settings.tolerance_frames)
    descents = loop.descend_all([problem.nearest(lead.shares) for lead in leads], progress)
    new = [
        Lead(lead.name, problem.shares(d.rounds[-1].path), d.rounds, d.ending)
        for lead, d in zip(leads, descents, strict=True)
    ]
    return sorted(new, key=lambda lead: lead.rounds[-1].objective)[:_KEPT]


def _found(sets: Sets, problem: Problem, lead: Lead, starts: int) -> Found:
    pose = problem.pose(lead.weights)
    return Found(
        path=problem.path(lead.weights),
        projections=pose.found.after(sets.bases).maps,
        correlations=pose.found.correlations,
        objective=tuple(r.objective for r in lead.rounds),
        ending=lead.ending,
        start=lead.name,
        starts=starts,
        weights=lead.weights,
        basis=problem.basis,
    )
