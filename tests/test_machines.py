"""The same answers whatever vectors the machine has: each width is compiled for and run here."""

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from mmalign_cli.align.dtw import distance, dtw
from mmalign_cli.align.reordered import distances_of_orders
from mmalign_cli.align.windows import sakoe_chiba

# One form in registers, one whose costs are computed ahead, with a penalty and a window, and one
# in a band that is swept along its diagonal.
CASES = [
    {"d": 1, "step": "symmetric1", "penalty": 0.0, "metric": "sqeuclidean", "radius": None},
    {"d": 13, "step": "symmetric2", "penalty": 1.0, "metric": "cityblock", "radius": 150},
    {"d": 2, "step": "symmetric2", "penalty": 1.0, "metric": "chebyshev", "radius": 150},
]
N, M = 1300, 1250  # several strips and tiles at every width
ORDERS = np.random.default_rng(9).integers(0, 50, (11, 50))
MACHINES = {
    "any": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "AVX2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+popcnt",
    },
}
LANES = {"any": 4, "AVX2": 8}


def answers():
    """Paths and costs of integers with many ties, and costs of random walks."""
    found = []
    for k, case in enumerate(CASES):
        rng = np.random.default_rng(k)
        options = {name: case[name] for name in ("step", "penalty", "metric")}
        if case["radius"] is not None:
            options["window"] = sakoe_chiba(N, M, case["radius"])
        x, y = (rng.integers(-2, 3, (n, case["d"])).astype(float) for n in (N, M))
        whole = dtw(x, y, threads=2, **options)
        walks = [rng.standard_normal((n, case["d"])).cumsum(0) for n in (N, M)]
        found.append(
            {
                "frames": whole.frames.tolist(),
                "cost": whole.cost.total + whole.cost.penalty,
                "distance": distance(x, y, **options),
                "walk": dtw(*walks, **options).cost.total,
                "orders": distances_of_orders(x, y[:50], ORDERS, "sqeuclidean").tolist(),
            }
        )
    return found


def lanes_here():
    from mmalign_cli.kernels import vectors

    return vectors.LANES


@pytest.fixture(scope="module")
def here():
    return answers()


def test_distance_is_the_cost_of_the_path(here):
    for answer in here:
        assert answer["distance"] == answer["cost"]


@pytest.mark.parametrize("machine", MACHINES)
def test_same_answers_for_every_width(machine, here):
    if machine == "AVX2" and (platform.machine() not in ("x86_64", "AMD64") or lanes_here() == 0):
        pytest.skip("this machine cannot run AVX2 code")
    code = "import json, test_machines as t; print(json.dumps([t.lanes_here(), t.answers()]))"
    env = os.environ | MACHINES[machine] | {"PYTHONPATH": os.pathsep.join(["tests", *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lanes, there = json.loads(done.stdout)
    assert lanes == LANES[machine]
    for mine, other in zip(here, there, strict=True):
        assert other["frames"] == mine["frames"]
        assert other["cost"] == mine["cost"] == other["distance"]
        assert other["orders"] == mine["orders"]
        assert other["walk"] == pytest.approx(mine["walk"], rel=1e-6)
