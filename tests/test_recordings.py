"""Accuracy on real recordings with known truths, where they are at hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mmalign_cli.align import multiscale
from mmalign_cli.align.dtw import dtw
from mmalign_cli.align.multiscale import Question, approximate
from mmalign_cli.pipeline.streams import load_streams
from mmalign_cli.streams.spec import parse_spec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import accuracy  # noqa: E402 - it lies in benchmarks/, which is no package

pytestmark = pytest.mark.skipif(
    not accuracy.DATA.is_dir(), reason=f"the recordings are not at {accuracy.DATA}"
)


def figures(errors):
    return np.median(errors), np.quantile(errors, 0.9), (errors <= 0.05).mean()


def test_words_across_speakers():
    *_, (_, errors) = accuracy.speech(accuracy.DATA)
    median, _, within = figures(errors)
    assert median <= 0.014
    assert within >= 0.83


def test_recording_against_the_roll_of_its_score():
    [(_, errors)] = accuracy.score(accuracy.DATA)
    median, p90, _ = figures(errors)
    assert median <= 0.018
    assert p90 <= 0.045


def test_mp3_is_as_long_as_what_it_was_decoded_to(run):
    """Its header counts a frame of padding more than there is: no reason to refuse it."""
    folder = accuracy.DATA / "music_audio_score_mozart"
    lengths = []
    for name in ("mozart_k265_var1.mp3", "mozart_k265_var1_22k_mono.wav"):
        done = run("info", folder / name, "--json")
        assert done.code == 0, done.stderr
        lengths.append(json.loads(done.stdout)["end"])
    assert abs(lengths[0] - lengths[1]) < 0.06


def test_the_approximate_search_finds_the_exact_path_of_speech(monkeypatch):
    files = [accuracy.DATA / f"speech_mfa_slow_fast/english_{k}.wav" for k in ("slow", "fast")]
    specs = [parse_spec(str(path), {}) for path in files]
    x, y = (item.stream.values for item in load_streams(specs))
    monkeypatch.setattr(multiscale, "_COARSEST_CELLS", len(x) * len(y) // 50)
    question = Question("euclidean")
    warp, _, search = approximate(x, y, question, radius=len(x) // 20)
    exact = dtw(x, y, metric="euclidean").cost.total
    assert search.levels == (8, 2, 1)
    assert search.cell_share < 0.5
    assert exact * (1 - 1e-6) <= warp.cost.total <= exact * 1.001
