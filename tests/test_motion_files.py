"""Readers of motion capture: BVH, AMC, TRC, MOT, OptiTrack, Vicon and C3D."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmalign_cli.errors import GapsError, InputError, MmalignError
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import parse_spec
from mmalign_cli.streams.times import rate_of_period

CMU = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "mocap_cmu"
RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(folder):
    pass


def read(argument):
    return load(parse_spec(argument), "s")


def write(name, text):
    Path(name).write_text(text, "utf-8")


def refused(argument, pattern):
    with pytest.raises(InputError, match=pattern) as caught:
        read(argument)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- BVH

ARM = """HIERARCHY
ROOT Shoulder
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Elbow
  {
    OFFSET 1 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 1 0 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.0333667
1 2 3 90 0 0 90 0 0
0 0 0 0 0 90 0 0 0
0 0 0 0 90 0 90 0 0
"""


def test_bvh_channels_are_the_files_own():
    write("arm.bvh", ARM)
    stream = read("arm.bvh")
    assert stream.columns[:4] == (
        "Shoulder_Xposition",
        "Shoulder_Yposition",
        "Shoulder_Zposition",
        "Shoulder_Zrotation",
    )
    assert stream.values[0].tolist() == [1, 2, 3, 90, 0, 0, 90, 0, 0]
    assert stream.rate == rate_of_period("0.0333667")
    assert float(stream.rate) == pytest.approx(30000 / 1001, abs=1e-12)


def test_bvh_positions_of_an_arm_worked_out_by_hand():
    """A quarter turn about z takes x to y; about y, x to -z; about x, y to z."""
    write("arm.bvh", ARM)
    stream = read("arm.bvh,key=positions")
    assert stream.columns[::3] == ("Shoulder_x", "Elbow_x", "Elbow_end_x")
    by_hand = [
        [1, 2, 3, 1, 3, 3, 0, 3, 3],
        [0, 0, 0, 0, 0, -1, 0, 0, -2],
        [0, 0, 0, 1, 0, 0, 1, 0, 1],
    ]
    np.testing.assert_allclose(stream.values, by_hand, atol=1e-12)


def random_tree(n):
    """A skeleton of n joints with random parents, offsets and orders of rotation."""
    orders = ["".join(RNG.permutation(list("XYZ"))) for _ in range(n)]
    parents = [-1, *(int(RNG.integers(0, k)) for k in range(1, n))]
    return parents, orders, RNG.normal(size=(n, 3)).round(6)


def bvh_of(parents, orders, offsets, motion):
    def joint(k, word):
        channels = [f"{axis}rotation" for axis in orders[k]]
        if k == 0:
            channels = ["Xposition", "Yposition", "Zposition", *channels]
        lines = [f"{word} j{k}", "{", "OFFSET " + " ".join(map(str, offsets[k]))]
        lines.append(f"CHANNELS {len(channels)} {' '.join(channels)}")
        for child in range(len(parents)):
            if parents[child] == k:
                lines += joint(child, "JOINT")
        return [*lines, "}"]

    rows = [" ".join(map(str, row)) for row in motion]
    head = ["HIERARCHY", *joint(0, "ROOT"), "MOTION", f"Frames: {len(motion)}", "Frame Time: .01"]
    return "\n".join([*head, *rows, ""])


def test_bvh_positions_equal_those_of_homogeneous_matrices():
    """The slow twin: a 4 x 4 matrix for each joint and frame, rotations by SciPy."""
    parents, orders, offsets = random_tree(9)
    motion = RNG.uniform(-180, 180, (6, 3 + 3 * 9)).round(5)
    write("t.bvh", bvh_of(parents, orders, offsets, motion))
    angles = read("t.bvh")
    places = read("t.bvh,key=positions")
    for row, frame in enumerate(angles.values):
        cell = dict(zip(angles.columns, frame, strict=True))
        matrices = {}
        for k, parent in enumerate(parents):
            turns = [cell[f"j{k}_{axis}rotation"] for axis in orders[k]]
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_euler(orders[k], turns, degrees=True).as_matrix()
            matrix[:3, 3] = offsets[k] if k else frame[:3]
            matrices[k] = matrix if parent < 0 else matrices[parent] @ matrix
            got = [places.values[row, places.columns.index(f"j{k}_{axis}")] for axis in "xyz"]
            np.testing.assert_allclose(got, matrices[k][:3, 3], atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ("Frames: 3", "Frames: 4", "truncated: header promises 4 frames, file holds 3"),
        ("Frames: 3", "Frames: x", "promises 'x' frames"),
        ("0.0333667", "0", "the frame time is '0'"),
        ("90 0 0 90", "90 0 x 90", "line 19: 'x' is not a number"),
        ("1 2 3 90 0", "1 2 3 90", "line 19: 8 values, the hierarchy has 9"),
        ("CHANNELS 3", "CHANNELS 4", "line 9: CHANNELS takes a count"),
        ("JOINT Elbow", "ROOT Elbow", "line 6: ROOT is out of place"),
        (ARM[ARM.index("MOTION") :], "", "the file ends before MOTION"),
    ],
)
def test_bvh_refusals_name_the_line(old, new, pattern):
    write("arm.bvh", ARM.replace(old, new))
    refused("arm.bvh", pattern)


def test_bvh_cut_short_is_read_where_allowed():
    write("arm.bvh", ARM.rstrip()[:-4])
    refused("arm.bvh", "line 21: 7 values")
    stream = read("arm.bvh,allow-truncated=true")
    assert stream.n_frames == 2
    assert "header promises 3 frames, file holds 2" in stream.warnings[0]


def test_periods_as_written():
    rates = {"0.0083333": 120, ".008333": 120, "0.04": 25, "0.0416667": 24, "0.0333333": 30}
    assert {text: rate_of_period(text) for text in rates} == rates
    assert float(rate_of_period("0.0333667")) == pytest.approx(29.97003, abs=1e-5)
    assert rate_of_period("0.007") == pytest.approx(143, abs=1)
    none = ("0", "-1", "x", "nan", "1/0", "1e999999999", ".", "")
    assert [rate_of_period(text) for text in none] == [None] * len(none)
    assert rate_of_period("1e-2") == 100


# ---------------------------------------------------------------- AMC and ASF

ASF = """# a skeleton
:version 1.10
:units
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name upper
    direction 1 0 0
    length 2
    axis 0 0 90 XYZ
    dof rx
  end
  begin
    id 2
    name lower
    direction 1 0 0
    length 3
    axis 0 0 0 XYZ
    dof rx ry rz
  end
:hierarchy
  begin
    root upper
    upper lower
  end
"""
AMC = """#!OML:ASF
:FULLY-SPECIFIED
:DEGREES
1
root 1 2 3 0 0 0
upper 0
lower 0 0 90
2
root 0 0 0 0 0 0
upper 90
lower 0 0 0
"""


def test_amc_angles_take_their_names_from_the_skeleton():
    write("walk.amc", AMC)
    assert read("walk.amc,rate=120").columns[6:] == ("upper_1", "lower_1", "lower_2", "lower_3")
    write("walk.asf", ASF)
    stream = read("walk.amc,rate=120")
    assert stream.columns[3:] == ("root_rx", "root_ry", "root_rz", "upper_rx", *LOWER)
    assert stream.values[0].tolist() == [1, 2, 3, 0, 0, 0, 0, 0, 0, 90]


LOWER = ("lower_rx", "lower_ry", "lower_rz")


def test_amc_positions_of_two_bones_worked_out_by_hand():
    """The upper bone turns about its own x axis, which stands along the skeleton's y."""
    write("walk.asf", ASF)
    write("walk.amc", AMC)
    stream = read("walk.amc,rate=120,key=positions")
    assert stream.columns[::3] == ("root_x", "upper_x", "lower_x")
    by_hand = [[1, 2, 3, 3, 2, 3, 3, 5, 3], [0, 0, 0, 0, 0, -2, 0, 0, -5]]
    np.testing.assert_allclose(stream.values, by_hand, atol=1e-12)
    write("walk.amc", AMC.replace("DEGREES", "RADIANS").replace("90", str(np.pi / 2)))
    np.testing.assert_allclose(read("walk.amc,rate=1,key=positions").values, by_hand, atol=1e-12)


def test_amc_positions_need_the_skeleton():
    write("walk.amc", AMC)
    refused("walk.amc,rate=1,key=positions", "positions need the ASF skeleton")
    write("walk.asf", ASF)
    refused("walk.asf", "is a skeleton, and holds no motion")
    write("walk.asf", ASF.replace("dof rx ry rz", "dof rx"))
    refused("walk.amc,rate=1", "bone 'lower' has 3 values, not so in walk.asf")
    write("walk.asf", ASF.replace("upper lower", "upper upper"))
    refused("walk.amc,rate=1", "twice")


@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ("upper 90\n", "", "line 10: frame 2 ends, its bones are not those of the first"),
        ("\n2\n", "\n4\n", "line 8: frame 4 follows frame 1"),
        ("upper 90", "upper x", "line 10: 'x' is not a number"),
        ("\n1\n", "\n", "line 4: 'root' before any frame"),
    ],
)
def test_amc_refusals_name_the_line(old, new, pattern):
    write("walk.amc", AMC.replace(old, new))
    refused("walk.amc,rate=1", pattern)


def cmu_amc(name):
    """The motion of a CMU take as its AMC file, from the numbers beside the skeleton."""
    with np.load(CMU / name) as archive:
        data, columns = archive["data"].astype(float), [str(c) for c in archive["columns"]]
    bones = {}
    for index, column in enumerate(columns):
        bones.setdefault(column.rpartition("_")[0], []).append(index)
    lines = ["#!OML:ASF", ":FULLY-SPECIFIED", ":DEGREES"]
    for number, row in enumerate(data, 1):
        lines.append(str(number))
        lines += [f"{b} {' '.join(map(repr, row[i].tolist()))}" for b, i in bones.items()]
    return "\n".join(lines) + "\n", data


@pytest.mark.skipif(not CMU.exists(), reason="needs ../shared/data/mocap_cmu")
def test_a_walk_of_cmu():
    """Angles arrive as they are, positions equal a slow twin's, and the walker is on a floor."""
    text, data = cmu_amc("02_01_walk_120hz.npz")
    write("02_01.amc", text)
    skeleton = (CMU / "02.asf").read_text("ascii")
    write("02.asf", skeleton)
    angles = read("02_01.amc,rate=120")
    assert np.array_equal(angles.values, data)
    assert angles.columns[6] == "lowerback_rx"
    places = read("02_01.amc,rate=120,key=positions")
    twin = slow_asf(skeleton, dict(zip(angles.columns, data[200], strict=True)))
    for bone, place in twin.items():
        got = [places.values[200, places.columns.index(f"{bone}_{axis}")] for axis in "xyz"]
        np.testing.assert_allclose(got, place, atol=1e-9)
    height = {name: places.values[:, places.columns.index(f"{name}_y")] for name in twin}
    assert min(height["ltoes"].min(), height["rtoes"].min()) == pytest.approx(0, abs=1)
    assert 25 < height["head"].mean() < 30


def slow_asf(text, motion):
    """Where bones end in one frame: 4 x 4 matrices, bone by bone, rotations by SciPy."""
    bones, tree, name = {"root": {"axis": np.zeros(3), "offset": np.zeros(3)}}, [], None
    for line in text.splitlines():
        words = line.split() or [""]
        if words[0] == "name":
            name = words[1]
            bones[name] = {}
        elif words[0] == "direction":
            bones[name]["offset"] = np.array(words[1:4], float)
        elif words[0] == "length" and name:
            bones[name]["offset"] = bones[name]["offset"] * float(words[1])
        elif words[0] == "axis" and name:
            bones[name]["axis"] = np.array(words[1:4], float)
        elif len(words) > 1 and words[0] in bones and all(w in bones for w in words):
            tree.append(words)
    matrices = {}

    def place(bone, parent):
        around = np.eye(4)
        around[:3, :3] = Rotation.from_euler("xyz", bones[bone]["axis"], degrees=True).as_matrix()
        turns = [motion.get(f"{bone}_r{axis}", 0.0) for axis in "xyz"]
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("xyz", turns, degrees=True).as_matrix()
        shift, start = np.eye(4), np.eye(4)
        shift[:3, 3] = bones[bone]["offset"]
        if bone == "root":
            start[:3, 3] = [motion[f"root_t{axis}"] for axis in "xyz"]
        matrices[bone] = parent @ start @ around @ turn @ np.linalg.inv(around) @ shift
        for words in tree:
            if words[0] == bone:
                for child in words[1:]:
                    place(child, matrices[bone])

    place("root", np.eye(4))
    return {bone: matrix[:3, 3] for bone, matrix in matrices.items()}


# ---------------------------------------------------------------- tables below headers

TRC = (
    "PathFileType\t4\t(X/Y/Z)\tx.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\n"
    "100.00\t100.00\t3\t2\tmm\n"
    "Frame#\tTime\tL.ASIS\t\t\tR.ASIS\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    "\n"
    "1\t0.00\t1\t2\t3\t4\t5\t6\n"
    "2\t0.01\t1.5\t2\t3\t\t\t\n"
    "3\t0.02\t1\t2\t3\t4\t5\t7\n"
)


@pytest.mark.parametrize("ending", ["", "\t", "\t\t"])
def test_trc(ending):
    head, rows = TRC[: TRC.index("1\t0.00")], TRC[TRC.index("1\t0.00") :]
    write("m.trc", head + rows.replace("\n", f"{ending}\n"))
    refused("m.trc", "3 values are missing or not finite, first at row 2 column R.ASIS_x")
    stream = read("m.trc,nan=interpolate")
    assert stream.columns == tuple(f"{s}.ASIS_{axis}" for s in "LR" for axis in "xyz")
    np.testing.assert_allclose(stream.values[1], [1.5, 2, 3, 4, 5, 6.5])
    assert stream.rate == 100
    assert stream.notes[0] == "2 markers in mm, 100.00 Hz"
    assert "R.ASIS_x 1" in stream.notes[1]
    assert read("m.trc,columns=Frame+L*_x").values[:, 0].tolist() == [1, 2, 3]


def test_trc_refusals():
    write("m.trc", TRC[: TRC.index("3\t0.02")])
    refused("m.trc", "truncated: header promises 3 frames, file holds 2")
    assert read("m.trc,allow-truncated=true,nan=drop").n_frames == 1
    write("m.trc", TRC.replace("1.5", "1.5\t9"))
    refused("m.trc", "line 8: 9 fields, header has 8")
    write("m.trc", TRC.replace("1.5", "1.5z"))
    refused("m.trc", "line 8 column L.ASIS_x: '1.5z' is not a number")


@pytest.mark.parametrize("sep", ["\t", "   "])
def test_mot(sep):
    rows = ["time", "pelvis_tilt", "hip_r"], ["0.0", "1", "2"], ["0.01", "3", "4"]
    head = "Coordinates\nversion=1\nnRows=2\nnColumns=3\ninDegrees=yes\n\nendheader\n"
    text = head + "".join(sep.join(row) + "\n" for row in rows)
    write("c.mot", text)
    stream = read("c.mot")
    assert stream.columns == ("pelvis_tilt", "hip_r")
    assert stream.values.tolist() == [[1, 2], [3, 4]]
    assert stream.rate == 100
    assert stream.notes == ("3 columns, angles in degrees",)
    write("c.sto", text.replace("nRows=2", "nRows=3"))
    refused("c.sto", "truncated: header promises 3 frames, file holds 2")


OPTITRACK = """Format Version,1.23,Take Name,T,Export Frame Rate,120.000000,Length Units,Meters

,Type,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Rigid Body,Marker
,Name,RB,RB,RB,RB,RB,RB,RB,RB,RB:M1
,ID,1,1,1,1,1,1,1,1,2
,,Rotation,Rotation,Rotation,Rotation,Position,Position,Position,Mean Marker Error,Position
Frame,Time (Seconds),X,Y,Z,W,X,Y,Z,,X
0,0.000000,0,0,0,1,1,2,3,0.001,1
1,0.008333,0,0,0,1,1,2,4,0.002,
2,0.016667,0,0,0,1,1,2,3,0.003,3
"""


def test_optitrack_export():
    write("take.csv", OPTITRACK)
    stream = read("take.csv,nan=interpolate")
    turns = tuple(f"RB_rotation_{axis}" for axis in "xyzw")
    assert stream.columns == (*turns, "RB_x", "RB_y", "RB_z", "RB:M1_x")
    assert stream.values[1].tolist() == [0, 0, 0, 1, 1, 2, 4, pytest.approx(2, abs=1e-3)]
    assert stream.times.tolist() == pytest.approx([0, 0.008333, 0.016667], abs=1e-6)
    assert "2 bodies and markers in Meters, 120.000000 Hz" in stream.notes
    assert read("take.csv,columns=*_error").values[:, 0].tolist() == [0.001, 0.002, 0.003]
    write("take.csv", OPTITRACK[: OPTITRACK.index("Frame,")])
    refused("take.csv", "has no header row Frame, Time")


VICON = """Devices
1000
,,Plate 1 - Force,,
Frame,Sub Frame,Fx,Fy,Fz
,,N,N,N
11,0,1,2,3
11,1,1,2,4
12,0,1,2,3
12,1,1,2,5

Trajectories
500
,,Anna:LASI,,,Anna:RASI,,
Frame,Sub Frame,X,Y,Z,X,Y,Z
,,mm,mm,mm,mm,mm,mm
11,0,1,2,3,4,5,6
12,0,1,2,3,,,
13,0,1,2,4,4,5,6
"""


def test_vicon_export():
    write("v.csv", VICON)
    refused("v.csv", "holds 2 streams: say which with key=")
    force = read("v.csv,key=Devices")
    assert force.columns == tuple(f"Plate 1 - Force_F{axis}" for axis in "xyz")
    assert force.rate == 1000
    assert force.times[0] == pytest.approx(0.02)
    markers = read("v.csv,key=Trajectories,nan=interpolate")
    assert markers.columns == tuple(f"{m}_{axis}" for m in ("LASI", "RASI") for axis in "xyz")
    assert markers.times[0] == force.times[0]
    assert markers.rate == 500
    assert markers.notes[0] == "Trajectories: units mm, 500 Hz"
    write("v.csv", VICON.replace("12,0,1,2,3,,,", "12,0,1,2,3,,,,"))
    refused("v.csv,key=Trajectories", "line 17: 9 fields, header has 8")
    write("v.csv", VICON.replace("12,0,1,2,3,,,", "12,0,1,2,3"))
    refused("v.csv,key=Trajectories", "line 17: 5 fields, header has 8")


# ---------------------------------------------------------------- C3D


def c3d_by_ezc3d(name, n=12, per_frame=5):
    """Write markers with a gap, and analog channels, by ezc3d; return what it reads back."""
    import ezc3d

    file = ezc3d.c3d()
    points = np.ones((4, 2, n))
    points[:3] = RNG.normal(size=(3, 2, n)) * 100
    points[:3, 1, 5:8] = np.nan
    file["parameters"]["POINT"]["RATE"]["value"] = [100.0]
    file["parameters"]["POINT"]["LABELS"]["value"] = ("LASI", "RASI")
    file["parameters"]["POINT"]["UNITS"]["value"] = ("mm",)
    file["parameters"]["ANALOG"]["RATE"]["value"] = [100.0 * per_frame]
    file["parameters"]["ANALOG"]["LABELS"]["value"] = ("Fx", "Fy")
    file["data"]["points"] = points
    file["data"]["analogs"] = RNG.normal(size=(1, 2, n * per_frame))
    file.write(name)
    data = ezc3d.c3d(name)["data"]
    return data["points"][:3].transpose(2, 1, 0).reshape(n, 6), data["analogs"][0].T


def test_c3d_equals_what_ezc3d_reads():
    points, analog = c3d_by_ezc3d("t.c3d")
    refused("t.c3d", "9 values are missing or not finite, first at row 6 column RASI_x")
    stream = read("t.c3d,nan=drop")
    assert np.array_equal(stream.values, points[~np.isnan(points).any(axis=1)])
    assert stream.columns == tuple(f"{m}_{axis}" for m in ("LASI", "RASI") for axis in "xyz")
    assert stream.notes[0] == "2 points, 2 analog channels; markers in mm"
    assert stream.times[1] == pytest.approx(0.01)
    forces = read("t.c3d,key=analog")
    assert np.array_equal(forces.values, analog)
    assert forces.columns == ("Fx", "Fy")
    assert forces.rate == 500


@pytest.mark.parametrize("order", ["<", ">"])
def test_c3d_of_whole_numbers_in_both_byte_orders(order):
    """As the format's manual lays it out, by hand: scale 0.5, one marker, offset and unsigned."""
    import struct

    def record(group, name, kind, dims, raw):
        body = struct.pack("bb", kind, len(dims)) + bytes(dims) + raw + b"\0"
        step = struct.pack(f"{order}H", 2 + len(body))
        return struct.pack("bb", len(name), group) + name.encode() + step + body

    def group(number, name):
        head = struct.pack("bb", len(name), -number) + name.encode()
        return head + struct.pack(f"{order}H", 3) + b"\0"

    parameters = bytes([1, 80, 1, 84 if order == "<" else 86])
    parameters += group(1, "POINT") + group(2, "ANALOG")
    parameters += record(1, "LABELS", -1, [4, 1], b"HEAD")
    parameters += record(2, "OFFSET", 2, [1], struct.pack(f"{order}h", 100))
    parameters += record(2, "SCALE", 4, [1], struct.pack(f"{order}f", 0.25))
    parameters += record(2, "FORMAT", -1, [8, 1], b"UNSIGNED")
    head = struct.pack(f"{order}HHHHHfHHf", 1, 1, 3, 4, 0, 0.5, 3, 1, 50.0)
    frames = [(2, 4, 6, 0, 100), (0, 0, 0, -1, -1)]
    data = b"".join(struct.pack(f"{order}5h", *frame) for frame in frames)
    file = (b"\x02\x50" + head).ljust(512, b"\0") + parameters.ljust(512, b"\0") + data
    Path("w.c3d").write_bytes(file)
    markers = read("w.c3d,nan=drop")
    assert markers.columns == ("HEAD_x", "HEAD_y", "HEAD_z")
    assert markers.values.tolist() == [[1, 2, 3]]
    assert markers.times[0] == pytest.approx(2 / 50)
    assert read("w.c3d,key=analog").values.ravel().tolist() == [0, (65535 - 100) * 0.25]


def test_c3d_cut_short():
    c3d_by_ezc3d("t.c3d")
    data = Path("t.c3d").read_bytes()
    begin = int.from_bytes(data[16:18], "little") * 512 - 512
    frame = (2 * 4 + 2 * 5) * 4
    Path("t.c3d").write_bytes(data[: begin + 3 * frame + 7])
    refused("t.c3d", "truncated: header promises 12 frames, file holds 3")
    assert read("t.c3d,allow-truncated=true").n_frames == 3
    Path("t.c3d").write_bytes(data[:300])
    refused("t.c3d", "cut short in its header")


# ---------------------------------------------------------------- damaged files


def damaged(data, rng):
    """A file with some bytes changed, taken out, doubled or cut off."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at, how = int(rng.integers(0, len(out) + 1)), rng.integers(0, 5)
        if how == 0:
            out[at : at + 1] = bytes([rng.integers(0, 256)])
        elif how == 1:
            out[at : at + 1] = [b"1e999", b"-1", b"nan", b"99999999999", b""][rng.integers(0, 5)]
        elif how == 2:
            del out[at : at + int(rng.integers(1, 30))]
        elif how == 3:
            out[at:at] = out[at // 2 : at // 2 + 20]
        else:
            del out[max(at, 1) :]
    return bytes(out)


@pytest.mark.parametrize("name", ["arm.bvh", "walk.amc", "m.trc", "c.mot", "take.csv", "v.csv"])
def test_damaged_files_are_read_or_refused(name):
    texts = {"arm.bvh": ARM, "walk.amc": AMC, "m.trc": TRC, "take.csv": OPTITRACK, "v.csv": VICON}
    texts["c.mot"] = "c\nnRows=2\nendheader\ntime\ta\n0\t1\n1\t2\n"
    write("walk.asf", ASF)
    read_damaged(name, texts[name].encode(), ",rate=10,nan=interpolate")


def test_damaged_c3d_is_read_or_refused():
    c3d_by_ezc3d("t.c3d")
    read_damaged("t.c3d", Path("t.c3d").read_bytes(), ",nan=interpolate,max-bytes=64M")


def read_damaged(name, data, keys):
    rng = np.random.default_rng(5)
    outcomes = set()
    for _ in range(50):
        Path(name).write_bytes(damaged(data, rng))
        try:
            outcomes.add(type(read(name + keys)))
        except MmalignError as error:
            outcomes.add(type(error))
    assert InputError in outcomes


@pytest.mark.parametrize("name", ["x.bvh", "x.amc", "x.trc", "x.sto", "x.c3d", "x.mid", "x.json"])
def test_empty_files_and_lying_names(name, run):
    Path(name).write_bytes(b"")
    refused(name, "file is empty")
    write(name, "a,b\n1,2\n")
    refused(name, "content is text, name says")
    assert run("info", name).code == 3


def test_info_says_what_is_inside(run):
    write("m.trc", TRC)
    result = run("info", "m.trc", "--nan", "drop")
    assert result.code == 0
    assert "2 markers in mm, 100.00 Hz" in result.stdout
    assert "missing values: R.ASIS_x 1" in result.stdout


def test_info_says_what_is_missing_and_when(run):
    write("m.trc", TRC)
    result = run("info", "m.trc")
    assert result.code == 0
    assert "gaps         R.ASIS_x, R.ASIS_y, R.ASIS_z: 1 frames missing, 0.01 s" in result.stdout
    assert "rate         100" in result.stdout
    assert "3 missing values interpolated" in result.stderr
    write("n.csv", "time,a,b\n0,1,\n1,,2\n2,,3\n3,4,\n4,5,\n")
    gaps = json.loads(run("info", "n.csv", "--json").stdout)["gaps"]
    assert gaps[0] == {"columns": ["a"], "missing": 2, "spans": [[1.0, 2.0]]}
    assert gaps[1] == {"columns": ["b"], "missing": 3, "spans": [[0.0, 0.0], [3.0, 4.0]]}
    write("empty.csv", "time,a,b\n0,1,\n1,2,\n")
    result = run("info", "empty.csv")
    assert result.code == 0
    assert "b: 2 frames missing, 0 to 1 s" in result.stdout
    assert "column b has no value" in result.stderr


def test_a_refusal_with_gaps_travels_between_processes():
    with pytest.raises(GapsError) as caught:
        write("n.csv", "time,a\n0,1\n1,\n")
        read("n.csv")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.gaps) == (str(caught.value), caught.value.gaps)
