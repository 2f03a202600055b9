"""What positions free of place and size, and joint angles, bring over raw positions.

Two measures on recordings in ``../shared/data``: the action of a subject told by the nearest take
of another subject (1-NN by DTW, 27 actions of UTD-MHAD), and the error of the path from a walk of
CMU to the same walk at a changing speed, by a body that is smaller, stands elsewhere and, in the
last column, has turned by 40 degrees::

    python benchmarks/skeletons.py
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from accuracy import DATA
from sensors import Floats, imposed, sampled

from mmalign_cli.align.dtw import dtw
from mmalign_cli.features.compute import compute
from mmalign_cli.model import Stream, frame_times
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import Options, StreamSpec

FEATURES = ("raw", "root-centred", "scale-free", "joint-angles")
PAIRS = ((1, 2), (2, 3), (3, 4), (4, 5))
WALKS = ("02_01_walk_120hz", "02_02_walk_120hz", "02_03_run_120hz")
SEEDS, STRENGTH, EVERY = range(5), 0.6, 4


def featured(stream: Stream, features: str) -> Floats:
    """Return the frames of a feature as float64."""
    return np.asarray(compute(stream, Options(features=features)).values, dtype=np.float64)


def takes(data: Path, subject: int, features: str) -> list[Floats]:
    """Return the first take of each action by a subject."""
    stems = [f"a{action:02d}_s{subject}_t1_skeleton" for action in range(1, 28)]
    paths = [data / "action_utd_mhad" / f"{stem}.npy" for stem in stems]
    return [featured(load(StreamSpec(str(p), {"rate": "30"}), "x"), features) for p in paths]


def told(data: Path, features: str) -> float:
    """Return the share of takes whose nearest take by another subject is of the same action."""
    right = []
    for subject, other in PAIRS:
        known = takes(data, subject, features)
        for action, take in enumerate(takes(data, other, features)):
            costs = [dtw(one, take, metric="euclidean").cost.mean for one in known]
            right.append(int(np.argmin(costs)) == action)
    return float(np.mean(right))


def walk(data: Path, name: str, folder: Path) -> Stream:
    """Return where the joints of a walker are, by the skeleton that is beside the motion."""
    with np.load(data / "mocap_cmu" / f"{name}.npz") as archive:
        motion, columns = archive["data"].astype(float), [str(c) for c in archive["columns"]]
    bones: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        bones.setdefault(column.rpartition("_")[0], []).append(index)
    lines = [":FULLY-SPECIFIED", ":DEGREES"]
    for number, row in enumerate(motion, 1):
        lines.append(str(number))
        lines += [f"{bone} {' '.join(map(repr, row[i].tolist()))}" for bone, i in bones.items()]
    path = folder / "02.amc"
    path.write_text("\n".join(lines))
    (folder / "02.asf").write_bytes((data / "mocap_cmu" / "02.asf").read_bytes())
    return load(StreamSpec(str(path), {"key": "positions", "rate": "120"}), "walk")


def other_body(stream: Stream, warp: Floats, degrees: float) -> Stream:
    """Return a walk at the times of a warp, in another place, smaller, turned about y."""
    places = sampled(np.asarray(stream.values, dtype=np.float64), warp)
    angle = np.deg2rad(degrees)
    about_y = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    moved = 0.85 * places.reshape(len(places), -1, 3) @ about_y.T + [8, 0, -5]
    times = frame_times(len(moved), stream.rate or Fraction(1))
    return Stream(
        "other", moved.reshape(len(moved), -1), times, stream.rate, columns=stream.columns
    )


def error_ms(stream: Stream, features: str, degrees: float) -> float:
    """Return the mean error of the path to the warped walk, in ms of the walk."""
    mine, errors = featured(stream, features)[::EVERY], []
    duration_s = stream.end_s - stream.start_s
    for seed in SEEDS:
        warp = imposed(np.random.default_rng(seed), stream.n_frames, STRENGTH)
        theirs = featured(other_body(stream, warp, degrees), features)[::EVERY]
        path = dtw(mine, theirs, metric="euclidean").frames
        found = path[:, 0] / (len(mine) - 1)
        errors.append(np.abs(found - warp[::EVERY][path[:, 1]]).mean() * duration_s * 1e3)
    return float(np.mean(errors))


def main() -> None:
    """Print a row a feature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    data = parser.parse_args().data
    with TemporaryDirectory() as folder:
        walks = [walk(data, name, Path(folder)) for name in WALKS]
    print("features        1-NN of 27 actions    walks: path error, same heading / turned by 40")
    for features in FEATURES:
        same, turned = (np.mean([error_ms(w, features, a) for w in walks]) for a in (0, 40))
        share = told(data, features)
        print(f"{features:14} {share:8.1%} {same:29.1f} ms {turned:12.1f} ms", flush=True)


if __name__ == "__main__":
    main()
