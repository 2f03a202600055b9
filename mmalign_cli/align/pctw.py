"""Canonical time warping of many sequences to the mean of their canonical variates.

A round finds the maps that correlate the sequences most along the last path, by canonical
correlation analysis of all sets, takes the mean of the mapped sequences there for a template, and
warps each to it (Zhou and De la Torre, 2012).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmalign_cli import runtime
from mmalign_cli.align.cca import along, dims_of_energy
from mmalign_cli.align.family import Found, Settings
from mmalign_cli.align.procrustes import Project, Template, first_paths, loop, mean_along, result
from mmalign_cli.align.sets import Fit, Sets, prepare
from mmalign_cli.model import Float64Array, IntArray
from mmalign_cli.runtime import Progress

_SHARE = 0.95


def variates(sets: Sets, fit: Fit, dims: int) -> Project:
    """Return the comparison of canonical variates of some dimensions."""

    def project(path: IntArray) -> Template:
        found = fit(along(sets.values, path)).leading(dims)
        mapped = [f(x) for f, x in zip(found.maps, sets.values, strict=True)]
        projections = found.after(sets.bases).maps
        return Template(mean_along(mapped, path), mapped, projections, found.correlations)

    return project


def pctw(
    sequences: Sequence[Float64Array], settings: Settings, progress: Progress = runtime.silent
) -> Found:
    """Align sequences of any numbers of columns by canonical time warping to their mean.

    Of several starts that of most evidence on held-out stretches of its path is taken. That is no
    guide to the number of dimensions here, where even the best path is far from the truth: in too
    few of them the mean of all fits any.

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
    AlignmentError
        If the common time line is too short.
    """
    sets = prepare(sequences, settings, "pctw")
    starts = first_paths(sets.values, settings, "pctw")
    names, paths = [name for name, _ in starts], [path for _, path in starts]

    share = _SHARE if settings.dims is None else settings.dims
    dims = int(share)
    if share < 1:
        dims = dims_of_energy(sets.fit(along(sets.values, paths[0])).correlations, share)
    descents = loop(variates(sets, sets.fit, dims), settings).descend_all(paths, progress)
    evidences = [sets.evidence(sets.values, d.settled.path)[0] for d in descents]
    return result(descents, names, int(np.argmax(evidences)))
