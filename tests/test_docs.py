"""Every command in README and docs runs as it stands, and what they list is what there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmalign_cli.align.metrics import METRICS
from mmalign_cli.align.steps import STEP_PATTERNS
from mmalign_cli.features.registry import FEATURES
from mmalign_cli.streams.spec import KEYS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_of_a_page(page, tmp_path):
    """Its shell blocks, in order, in a folder that holds nothing but the sample data."""
    if not blocks(page):
        pytest.skip("no commands on this page")
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    script = "set -euo pipefail\n" + "\n".join(blocks(page))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "names"),
    [("streams.md", [*KEYS, *FEATURES]), ("dtw.md", [*METRICS, *STEP_PATTERNS])],
)
def test_pages_name_everything_there_is(page, names):
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), target


def test_sample_data_is_what_its_script_makes(tmp_path):
    """The script writes beside itself: a copy of it must make what is here, to the last digit."""
    shutil.copy(ROOT / "sample_data" / "make.py", tmp_path)
    subprocess.run([sys.executable, "make.py"], cwd=tmp_path, check=True, capture_output=True)
    for name in ("arm_mocap", "arm_truth", "piece_truth"):
        here, made = (np.genfromtxt(p / f"{name}.csv", delimiter=",") for p in folders(tmp_path))
        np.testing.assert_allclose(made, here, atol=1.1e-5)
    for name in ("piece_take2.srt", "arm_video.TextGrid"):
        here, made = ((p / name).read_text("ascii") for p in folders(tmp_path))
        assert made == here
    for name in ("piece_take1", "piece_take2"):
        here, made = (
            soundfile.read(p / f"{name}.wav", dtype="int16")[0] for p in folders(tmp_path)
        )
        np.testing.assert_allclose(made, here, atol=1)
    here, made = (np.load(p / "arm_video.npz") for p in folders(tmp_path))
    for key in ("values", "times"):
        np.testing.assert_allclose(made[key], here[key], rtol=1e-4, atol=1e-4)


def test_sample_data_is_small():
    files = [p for p in (ROOT / "sample_data").iterdir() if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 3e6


def folders(made):
    return ROOT / "sample_data", made
