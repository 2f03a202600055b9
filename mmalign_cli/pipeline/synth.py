"""Sequences with a known alignment, as files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mmalign_cli.errors import OutputError
from mmalign_cli.evidence import synth
from mmalign_cli.evidence.synth import Planted
from mmalign_cli.model import Stream, frame_times
from mmalign_cli.write.atomic import Outputs, check_outputs
from mmalign_cli.write.features import features_csv
from mmalign_cli.write.path import csv_text

RATE = Fraction(100)
"""Frames per second of everything that is made."""


@dataclass(frozen=True)
class SynthSettings:
    """What to make.

    Parameters
    ----------
    kind : {"spiral", "curves", "takes"}
    sequences : int
        Of a spiral.
    family : str
        Of the curves, one of `mmalign_cli.evidence.synth.CURVES`.
    takes : int
        How many.
    linear : bool
        Whether the second sensor of takes sees linearly.
    seed : int
    """

    kind: str
    sequences: int = 2
    family: str = "viviani"
    takes: int = 4
    linear: bool = True
    seed: int = 0


def write_synth(settings: SynthSettings, folder: str, force: bool) -> list[str]:
    """Make sequences, and write them with their truth into a folder.

    Parameters
    ----------
    settings : SynthSettings
    folder : str
        Is made if it is missing.
    force : bool
        Whether files that exist may be replaced.

    Returns
    -------
    list of str
        The files.

    Raises
    ------
    OutputError
        If a file cannot be written, or exists.
    """
    texts = {os.path.join(folder, name): text for name, text in synth_texts(settings).items()}
    folders = sorted({os.path.dirname(path) for path in texts})
    for made in folders:
        if os.path.lexists(made) and not os.path.isdir(made):
            raise OutputError(made, "is not a folder")
    check_outputs([path for path in texts if os.path.isdir(os.path.dirname(path))], [], force)
    with Outputs(force) as outputs:
        for made in folders:
            outputs.make_folder(made)
        for path, text in texts.items():
            with outputs.open(path) as file:
                file.write(text.encode("utf-8"))
    return list(texts)


def synth_texts(settings: SynthSettings) -> Mapping[str, str]:
    """Return the names and contents of the files to write."""
    rng = np.random.default_rng(settings.seed)
    if settings.kind == "spiral":
        return _texts(synth.spiral(settings.sequences, rng))
    if settings.kind == "curves":
        return _texts(synth.curve(settings.family, rng))
    texts: dict[str, str] = {}
    rows = []
    for k, take in enumerate(synth.takes(settings.takes, settings.linear, rng), 1):
        name = f"take{k:02d}"
        texts |= {f"{name}/{file}": text for file, text in _texts(take).items()}
        rows.append([name, f"{name}/stream1.csv", f"{name}/stream2.csv"])
    return {**texts, "takes.csv": csv_text(["id", "stream1", "stream2"], rows)}


def _texts(planted: Planted) -> dict[str, str]:
    """Return the files of one take: a table a sequence, and the true path in frames."""
    texts = {}
    names = [f"stream{k + 1}" for k in range(len(planted.sequences))]
    for name, values in zip(names, planted.sequences, strict=True):
        texts[f"{name}.csv"] = features_csv(Stream(name, values, frame_times(len(values), RATE)))
    header = [f"{name}_frame" for name in names]
    return {**texts, "truth.csv": csv_text(header, planted.truth.tolist())}
