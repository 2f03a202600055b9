"""The aligners of many sequences by name; `mmalign_cli.align.reference` has their twins."""

from __future__ import annotations

from collections.abc import Mapping

from mmalign_cli.align.family import Aligner
from mmalign_cli.align.gtw import gtw
from mmalign_cli.align.imw import pimw
from mmalign_cli.align.pctw import pctw
from mmalign_cli.align.procrustes import pddtw, pdtw

ALGORITHMS: Mapping[str, Aligner] = {
    "gtw": gtw,
    "pdtw": pdtw,
    "pddtw": pddtw,
    "pimw": pimw,
    "pctw": pctw,
}
