"""The aligners of many sequences by name, as they are and as the papers' programs have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mmalign_cli import runtime
from mmalign_cli.align.family import Found, Settings
from mmalign_cli.align.gtw import gtw
from mmalign_cli.align.imw import pimw
from mmalign_cli.align.pctw import pctw
from mmalign_cli.align.procrustes import pddtw, pdtw
from mmalign_cli.model import Float64Array
from mmalign_cli.runtime import Progress


class Aligner(Protocol):
    """An aligner of m sequences (n_i, d_i)."""

    def __call__(
        self,
        sequences: Sequence[Float64Array],
        settings: Settings,
        progress: Progress = runtime.silent,
    ) -> Found:
        """Align; may raise InputError and AlignmentError."""


ALGORITHMS: Mapping[str, Aligner] = {
    "gtw": gtw,
    "pdtw": pdtw,
    "pddtw": pddtw,
    "pimw": pimw,
    "pctw": pctw,
}
