"""Readers of poses: OpenPose, COCO and MediaPipe JSON, files and folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmalign_cli.errors import InputError, MmalignError
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import parse_spec

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(folder):
    pass


def read(argument):
    return load(parse_spec(argument), "s")


def write(name, document):
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(json.dumps(document), "utf-8")


def refused(argument, pattern):
    with pytest.raises(InputError, match=pattern):
        read(argument)


def body(n=25):
    return RNG.uniform(0.1, 1, (n, 3)).round(4)


def openpose(*people, **more):
    return {
        "version": 1.3,
        "people": [{"pose_keypoints_2d": p.ravel().tolist(), **more} for p in people],
    }


def test_a_folder_of_openpose_frames():
    """Frame 3 is missing, and point 4 of frame 1 was not found."""
    frames = {k: body() for k in (0, 1, 2, 4)}
    frames[1][4] = 0
    for k, points in frames.items():
        write(f"clip/take2_{k:012d}_keypoints.json", openpose(points))
    refused("clip,rate=25", "missing or not finite, first at row 2 column right_wrist_x")
    stream = read("clip,rate=25,nan=interpolate")
    assert stream.n_frames == 5
    assert stream.columns[:3] == ("nose_x", "nose_y", "neck_x")
    assert np.array_equal(stream.values[2], frames[2][:, :2].ravel())
    np.testing.assert_allclose(stream.values[3], (frames[2] + frames[4])[:, :2].ravel() / 2)
    np.testing.assert_allclose(stream.values[1, 8:10], (frames[0][4, :2] + frames[2][4, :2]) / 2)
    assert stream.name == "s"
    assert "1 frames without" in stream.notes[0]
    assert read("clip,rate=25,nan=drop").times.tolist() == [0, 2 / 25, 4 / 25]
    confidence = read("clip,rate=25,columns=*_confidence,nan=interpolate")
    assert np.array_equal(confidence.values[0], frames[0][:, 2])


def test_a_folder_in_any_command(run):
    for k in range(12):
        write(f"a/f{k}.json", openpose(body()))
        write(f"b/f{k}.json", openpose(body()))
    result = run("dtw", "a", "b", "--rate", "10", "--columns", "*_wrist_*", "--json")
    assert result.code == 0, result.stderr
    assert json.loads(result.stdout)["streams"][1]["name"] == "b"
    assert run("info", "a", "--rate", "10").code == 0


def test_folders_that_are_no_frames():
    Path("empty").mkdir()
    refused("empty", "is a directory")
    write("far/f1.json", openpose(body()))
    write("far/f999999.json", openpose(body()))
    refused("far", "too many missing")
    write("cut/f1.json", openpose(body()))
    Path("cut/f2.json").write_text('{"people": [', "utf-8")
    refused("cut,rate=1", "is not JSON")


def test_who_is_followed():
    sure, faint = body(), body()
    faint[:, 2] /= 100
    frames = [openpose(faint, sure), openpose(sure), openpose(faint, sure)]
    write("p.json", frames)
    stream = read("p.json,rate=25")
    assert np.array_equal(stream.values, np.tile(sure[:, :2].ravel(), (3, 1)))
    assert "up to 2 people in a frame" in stream.warnings[0]
    first = read("p.json,rate=25,key=1").values
    assert np.array_equal(first[0], faint[:, :2].ravel())
    second = read("p.json,rate=25,key=2,nan=drop")
    assert second.n_frames == 2
    refused("p.json,rate=25,key=3", "holds no person '3'")
    write("ids.json", [openpose(sure, person_id=[7]), openpose(faint, person_id=[8])])
    assert read("ids.json,rate=25,key=8,nan=drop").values.tolist() == [
        faint[:, :2].ravel().tolist()
    ]
    refused("ids.json,rate=25,key=1", "holds no person '1'")


def test_hands_and_face_only_where_named():
    hand = RNG.random((21, 3)).round(4)
    write("h.json", [openpose(body(), hand_left_keypoints_2d=hand.ravel().tolist())] * 2)
    assert len(read("h.json,rate=1").columns) == 50
    left = read("h.json,rate=1,columns=left_hand_*_x+left_hand_*_y")
    assert left.columns[0] == "left_hand_0_x"
    assert np.array_equal(left.values[0], np.concatenate([hand[:, 0], hand[:, 1]]))


def test_coco_results_in_any_order():
    people = {3: body(17), 1: body(17), 4: body(17)}
    rows = [{"image_id": k, "keypoints": p.ravel().tolist()} for k, p in people.items()]
    write("c.json", rows)
    stream = read("c.json,rate=10,nan=drop")
    assert stream.times.tolist() == [0, 0.2, 0.3]
    assert np.array_equal(stream.values[0], people[1][:, :2].ravel())
    assert stream.columns[-1] == "right_ankle_y"
    named = [{**row, "image_id": f"{row['image_id']:06d}.jpg", "idx": 5} for row in rows]
    write("alpha.json", named)
    assert np.array_equal(read("alpha.json,rate=10,key=5,nan=drop").values, stream.values)


def test_a_coco_dataset():
    points = [body(2), body(2)]
    points[1][1] = 0
    write(
        "d.json",
        {
            "images": [{"id": 90}, {"id": 10}, {"id": 50}],
            "categories": [{"id": 1, "keypoints": ["head", "tail"]}],
            "annotations": [
                {"image_id": 50, "keypoints": points[1].ravel().tolist()},
                {"image_id": 90, "keypoints": points[0].ravel().tolist()},
            ],
        },
    )
    assert read("d.json,rate=1,columns=head*,nan=drop").n_frames == 2
    stream = read("d.json,rate=1,nan=interpolate")
    assert stream.columns == ("head_x", "head_y", "tail_x", "tail_y")
    assert np.array_equal(stream.values[2, :2], points[1][0, :2])
    assert stream.n_frames == 3


def landmarks(n=33):
    axes = ("x", "y", "z", "visibility")
    return [dict(zip(axes, row, strict=True)) for row in RNG.random((n, 4)).round(4).tolist()]


@pytest.mark.parametrize("spelled", ["landmarks", "pose_landmarks", "poseLandmarks", "landmark"])
@pytest.mark.parametrize("lines", [True, False])
def test_mediapipe(spelled, lines):
    """A list of frames or a frame a line, with the times of its own."""
    frames = [landmarks() for _ in range(4)]
    nested = [[f] if spelled == "landmarks" else f for f in frames]
    documents = [{"timestamp_ms": 40 * k, spelled: f} for k, f in enumerate(nested)]
    text = "\n".join(map(json.dumps, documents)) if lines else json.dumps(documents)
    Path("m.json").write_text(text, "utf-8")
    stream = read("m.json")
    assert stream.rate == 25
    assert stream.columns[-3:] == tuple(f"right_foot_index_{axis}" for axis in "xyz")
    expected = [[p[axis] for p in frame for axis in "xyz"] for frame in frames]
    assert stream.values.tolist() == expected
    sure = read("m.json,columns=nose_confidence").values[:, 0]
    assert sure.tolist() == [frame[0]["visibility"] for frame in frames]


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ('{"a": 1}', "JSON of something else than poses"),
        ("[1, 2]", "JSON of something else than poses"),
        ('{"people": []}', "holds nobody"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', "frame 1: its points are not lists"),
        ('{"people": [{"pose_keypoints_2d": [1, "x", 2]}]}', "frame 1: its points are not lists"),
        ('{"people": 3}', "frame 1: its points are not lists"),
        ('{"people": [', "line 1 column 13: is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('[{"image_id": [], "keypoints": [1, 2, 3]}]', "names no image_id with a number"),
        (
            '[{"image_id": 1, "keypoints": [1, 2, 3]},'
            ' {"image_id": 99999, "keypoints": [1, 2, 3]}]',
            "too many are missing",
        ),
        (
            '{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}'
            '{"people": [{"pose_keypoints_2d": [1, 2, 3, 4, 5, 6]}]}',
            "body: 1 points in some frames, 2 in others",
        ),
    ],
)
def test_refusals(text, pattern):
    Path("x.json").write_text(text, "utf-8")
    refused("x.json,rate=1,format=pose", pattern)


def test_a_table_may_begin_with_a_bracket():
    Path("t.csv").write_text("[s],[m]\n1,2\n3,4\n", "utf-8")
    assert read("t.csv,rate=1").columns == ("[s]", "[m]")


@pytest.mark.parametrize("kind", ["openpose", "coco", "mediapipe"])
def test_damaged_files_are_read_or_refused(kind):
    documents = {
        "openpose": [openpose(body(3), body(3))] * 2,
        "coco": [{"image_id": k, "keypoints": body(3).ravel().tolist()} for k in (1, 2)],
        "mediapipe": [{"t": k, "landmarks": landmarks(3)} for k in range(2)],
    }
    data = json.dumps(documents[kind]).encode()
    words = (b"1e999", b"null", b"[]", b"{}", b"-1", b'""', b"99999999")
    rng = np.random.default_rng(2)
    outcomes = set()
    for _ in range(60):
        out = bytearray(data)
        at = int(rng.integers(0, len(out)))
        end = at + 1
        while end < len(out) and chr(out[end]) not in ", ]}":
            end += 1
        out[at:end] = words[rng.integers(len(words))] if rng.random() < 0.8 else b""
        Path("z.json").write_bytes(out if rng.random() < 0.8 else out[: at + 1])
        try:
            outcomes.add(type(read("z.json,rate=5,nan=interpolate")))
        except MmalignError as error:
            outcomes.add(type(error))
    assert InputError in outcomes
