"""Open ends, matches, anchors, step files, and what no path can do, as a user types them."""

from __future__ import annotations

import json
import re
import tracemalloc

import numpy as np
import pytest
from test_commands import document
from test_faults import refused

from mmalign_cli.align.dtw import bytes_needed, dtw
from mmalign_cli.align.steps import STEP_PATTERNS
from mmalign_cli.align.subsequence import bytes_of_matches, find_matches
from mmalign_cli.align.windows import everything, slanted
from mmalign_cli.write.document import read_document

SYMMETRIC2 = {"steps": [[[1, 1, 2]], [[1, 0, 1]], [[0, 1, 1]]], "normalization": "N+M"}


@pytest.fixture
def planted(folder):
    """``song.csv``, 300 frames at 10 Hz, in which ``phrase.csv`` occurs at 5, 15 and 22 s."""
    rng = np.random.default_rng(5)
    phrase = rng.normal(size=(20, 2)).cumsum(0)
    song = rng.normal(size=(300, 2)).cumsum(0) + 30
    for first, noise in ((50, 0.1), (150, 0.02), (220, 0.05)):
        song[first : first + 20] = phrase + rng.normal(size=phrase.shape) * noise
    for name, values in (("song", song), ("phrase", phrase)):
        table = np.column_stack([np.arange(len(values)) / 10, values])
        np.savetxt(f"{name}.csv", table, delimiter=",", header="time,x,y", comments="")
    return folder


PAIR = ("dtw", "song.csv", "phrase.csv")


@pytest.mark.parametrize("step", ["symmetric1", "asymmetric", "symmetricP1"])
def test_matches_are_in_the_document_and_in_the_summary(run, planted, schema, step):
    options = (*PAIR, "--subsequence", "--top", "3", "--step", step)
    found = document(run, *options)
    schema.validate(found)
    ranges = [(m["start_frame"], m["end_frame"]) for m in found["matches"]]
    assert ranges == [(150, 169), (220, 239), (50, 69)]
    assert [(m["start"], m["end"]) for m in found["matches"]] == [(15, 16.9), (22, 23.9), (5, 6.9)]
    totals = [m["cost"]["total"] for m in found["matches"]]
    assert totals == sorted(totals)
    assert found["matches"][0]["cost"] == found["cost"]
    assert found["path"]["frames"][0] == [150, 0]
    assert found["path"]["frames"][-1] == [169, 19]
    assert found["parameters"]["top"] == 3
    text = run(*options).stdout
    assert re.findall(r"^match  (\d): (\S+) to (\S+) s", text, re.MULTILINE) == [
        ("1", "15.000", "16.900"),
        ("2", "22.000", "23.900"),
        ("3", "5.000", "6.900"),
    ]


def test_the_best_match_is_that_of_open_ends_and_survives_a_reading(run, planted):
    run(*PAIR, "--subsequence", "-o", "one.json")
    both = document(run, *PAIR, "--open-begin", "--open-end")
    one = read_document("one.json")
    assert both["matches"] is None
    assert one.matches is not None
    assert [(m.start_frame, m.end_frame) for m in one.matches] == [(150, 169)]
    assert one.path.frames.tolist() == both["path"]["frames"]
    assert one.matches[0].cost == one.cost


def test_fewer_matches_than_asked_for_are_told(run, planted):
    mask = np.zeros((300, 20), dtype=bool)
    mask[50:70] = mask[220:240] = True
    np.save("mask.npy", mask)
    options = ("--subsequence", "--top", "9", "--step", "symmetricP1", "--window", "mask.npy")
    found = document(run, *PAIR, *options)
    assert [m["start_frame"] for m in found["matches"]] == [220, 50]
    assert found["warnings"] == ["2 of 9 matches: no more fit between them"]


def test_the_cost_table_with_matches_is_that_of_open_ends(run, planted):
    run(*PAIR, "--subsequence", "--top", "2", "--cost", "top.npz")
    run(*PAIR, "--open-begin", "--open-end", "--cost", "ends.npz")
    top, ends = np.load("top.npz"), np.load("ends.npz")
    for name in ("local", "accumulated", "aligned"):
        np.testing.assert_array_equal(top[name], ends[name])


def test_one_frame_of_either_stream(run, planted):
    np.save("one.npy", np.zeros((1, 2)))
    (planted / "marks.csv").write_text("song,one\n5,0\n")
    three = document(run, "dtw", "song.csv", "one.npy,rate=1", "--subsequence", "--top", "3")
    assert len({m["start_frame"] for m in three["matches"]}) == 3
    assert all(m["start_frame"] == m["end_frame"] for m in three["matches"])
    held = document(run, "dtw", "song.csv", "one.npy,rate=1", "--anchors", "marks.csv")
    assert [50, 0] in held["path"]["frames"]
    only = document(run, "dtw", "one.npy,rate=1", "phrase.csv", "--subsequence", "--top", "3")
    assert [m["start_frame"] for m in only["matches"]] == [0]


def test_a_picture_shows_the_matches_now_and_later(run, planted):
    """Other matches than the first are all that tells it from that of the same path."""
    one = (*PAIR, "--subsequence", "--plot", "one.png")
    three = (*PAIR, "--subsequence", "--top", "3", "--plot", "three.png", "-o", "three.json")
    later = ("plot", "three.json", "-o", "later.png")
    assert [run(*arguments).code for arguments in (one, three, later)] == [0, 0, 0]
    pictures = [(planted / f"{name}.png").read_bytes() for name in ("one", "three", "later")]
    assert pictures[0] != pictures[1] == pictures[2]


def test_anchors_by_name_by_order_and_to_the_nearest_frame(run, planted, schema):
    given = {
        "names.csv": "phrase,song\n0.52,16\n1.5,25.04\n",
        "times.csv": "song_time,phrase_time\n16,0.52\n25.04,1.5\n",
        "order.csv": "16,0.52\n25.04,1.5\n",
    }
    documents = []
    for name, text in given.items():
        (planted / name).write_text(text)
        documents.append(document(run, *PAIR, "--anchors", name))
        schema.validate(documents[-1])
        assert documents[-1]["parameters"]["anchor_frames"] == [[160, 5], [250, 15]]
    paths = [found["path"]["frames"] for found in documents]
    assert paths[0] == paths[1] == paths[2]
    assert [160, 5] in paths[0]
    assert [250, 15] in paths[0]


def test_a_pattern_from_a_file_is_the_same_as_the_one_of_the_registry(run, planted, schema):
    (planted / "mine.json").write_text(json.dumps(SYMMETRIC2))
    mine = document(run, *PAIR, "--step", "mine.json")
    known = document(run, *PAIR, "--step", "symmetric2")
    schema.validate(mine)
    assert mine["path"] == known["path"]
    assert mine["cost"] == known["cost"]
    assert mine["parameters"]["step_definition"] == SYMMETRIC2


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([], "is not an object with the key steps"),
        ({}, "the key steps is missing"),
        ({"steps": []}, "steps: is empty"),
        ({"steps": {}}, "steps: is not a list"),
        ({"steps": [[]]}, r"steps\[0\]: is empty"),
        ({"steps": [[[1, 1, 1]], 3]}, r"steps\[1\]: is not a list"),
        ({"steps": [[1, 1, 1]]}, r"steps\[0\]\[0\]: is not a list"),
        ({"steps": [[[1, 1]]]}, r"steps\[0\]\[0\]: 2 items, a move has 3"),
        ({"steps": [[[1, 1, 1], [1, -1, 1]]]}, r"steps\[0\]\[1\]: query -1 is not a whole .*"),
        ({"steps": [[[1.5, 1, 1]]]}, r"steps\[0\]\[0\]: reference 1.5 is not a whole .*"),
        ({"steps": [[[True, 1, 1]]]}, r"steps\[0\]\[0\]: reference True is not a whole .*"),
        ({"steps": [[[0, 0, 1]]]}, r"steps\[0\]\[0\]: moves neither stream"),
        ({"steps": [[[1, 1, -1]]]}, r"steps\[0\]\[0\]: weight -1 is not a number from .*"),
        ({"steps": [[[1, 1, "2"]]]}, r"steps\[0\]\[0\]: weight '2' is not a number from .*"),
        ({"steps": [[[1, 1, 0]]]}, "steps: all weights are 0"),
        ({"steps": [[[1, 1, 1]], [[0, 2, 1]]]}, r"steps\[1\]: leaves the reference where .*"),
        ({"steps": [[[1, 1, 1]], [[1, 1, 2]]]}, r"steps\[1\]: has the moves of steps\[0\]"),
        ({"steps": [[[1, 1, 1]]], "normalization": "K"}, "normalization: 'K' is not N.M, .*"),
        ({"steps": [[[1, 1, 1]]], "normalisation": "N"}, "'normalisation' is not a key .*"),
        ({"steps": [[[1, 1, 1]]] * 300}, "steps: 300, at most 200"),
    ],
)
def test_patterns_that_are_none(run, planted, value, what):
    (planted / "bad.json").write_text(json.dumps(value))
    refused(run, planted, [*PAIR, "--step", "bad.json"], 3, f"bad.json: {what}", "a move is")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"steps":\n [[1, }', "line 2 column 7: not JSON: .*"),
        ('{"steps": [[[1, 1, NaN]]]}', "not JSON: NaN is not a number"),
        ("[" * 100_000, "not JSON: .*"),
        ("", "file is empty"),
    ],
)
def test_step_files_that_are_no_json(run, planted, text, what):
    (planted / "bad.json").write_text(text)
    refused(run, planted, [*PAIR, "--step", "bad.json"], 3, f"bad.json: {what}")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("song,phrase\n16,0.5\n15,1.0\n", "anchor 2 does not come after anchor 1 in every stream"),
        ("song,phrase\n16,0.5\n17,0.5\n", "anchor 2 does not come after anchor 1 in every stream"),
        ("song,phrase\n1,0.5\n30.5,1\n", "anchor 2: 30.5 s is outside song"),
        ("song,phrase\n1,-1\n", "anchor 1: -1 s is outside phrase"),
        ("song,phrase\n1,nan\n", ".*"),
        ("song,other\n1,1\n", "has no column 'phrase'"),
        ("1\n2\n", "1 column of numbers for 2 streams"),
        ("1,2,3\n2,3,4\n", "3 columns of numbers for 2 streams"),
        ("song,phrase\n", ".*"),
        ("", "file is empty"),
    ],
)
def test_anchors_that_cannot_be(run, planted, text, what):
    (planted / "marks.csv").write_text(text)
    refused(run, planted, [*PAIR, "--anchors", "marks.csv"], 3, f"marks.csv: {what}")


def test_anchors_of_the_wrong_kind(run, planted):
    np.save("marks.npy", np.ones((2, 2)))
    what = "marks.npy: anchors are a csv of times, not npy"
    refused(run, planted, [*PAIR, "--anchors", "marks.npy"], 3, what)
    refused(run, planted, [*PAIR, "--anchors", "no.csv"], 3, "no.csv: .*no such file.*")


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (["--top", "2"], 2, "--top: means nothing without --subsequence"),
        (["--subsequence", "--top", "0"], 2, "--top: .*"),
        (
            ["--subsequence", "--window", "slanted", "--radius", "9"],
            2,
            "--subsequence: window slanted joins the corners of both",
        ),
        (
            ["--subsequence", "--top", "2", "--anchors", "marks.csv"],
            2,
            "--top: 2 matches cannot all meet the times of --anchors",
        ),
        (["--step", "symetric2"], 2, "--step: 'symetric2' is not a step pattern"),
        (["--step", "no.json"], 3, "no.json: .*no such file.*"),
        (["--anchors", "-"], 2, "--anchors: names a file, standard input can be a stream only"),
        (["--anchors", "song.csv", "--path", "song.csv", "--force"], 5, "song.csv: is an input"),
        (["--step", "mine.json", "-o", "mine.json", "--force"], 5, "mine.json: is an input"),
    ],
)
def test_options_that_do_not_fit(run, planted, options, code, what):
    (planted / "mine.json").write_text(json.dumps(SYMMETRIC2))
    refused(run, planted, [*PAIR, *options], code, what)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            ["--step", "symmetricP2"],
            "song, phrase: no path of symmetricP2 from 20 query frames to 300 reference frames",
        ),
        (
            ["--window", "sakoe-chiba", "--radius", "5"],
            "song, phrase: no path inside sakoe-chiba radius 5; "
            "the smallest that holds one is 280 frames",
        ),
        (
            ["--window", "slanted", "--radius", "20", "--anchors", "marks.csv"],
            r"song, phrase: no path inside slanted radius 20 through anchor 2 \(25 s, 0.5 s\); "
            "the smallest that holds one is 172 frames",
        ),
        (
            ["--step", "typeIVc", "--subsequence", "--anchors", "marks.csv"],
            "song, phrase: no path of typeIVc from 20 query frames to 300 reference frames "
            r"through anchor 2 \(25 s, 0.5 s\)",
        ),
    ],
)
def test_what_no_path_can_do_is_said_before_any_cost(run, planted, monkeypatch, options, what, dry):
    (planted / "marks.csv").write_text("song,phrase\n2,0.2\n25,0.5\n26,0.8\n")

    def computed(*_):
        raise AssertionError("a cost was computed")

    for place in ("align.dtw", "align.subsequence"):
        monkeypatch.setattr(f"mmalign_cli.{place}.comparable", computed)
    refused(run, planted, [*PAIR, *options, *dry], 4, what)


def peak_bytes(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.compiled
@pytest.mark.parametrize("step", ["symmetric1", "symmetric2", "asymmetric", "symmetricP05"])
def test_a_band_costs_its_cells_in_memory(step):
    """Of a table of 4e8 cells a band of 1 %: some bytes a cell of the band, as was foretold."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(20_000, 2)).cumsum(0)
    dtw(x[:9900], x[:9900], step=step, window=slanted(9900, 9900, 100))  # compiles
    peaks = {}
    for n in (10_000, 20_000):
        window = slanted(n, n, 100)
        peaks[n] = peak_bytes(lambda n=n, w=window: dtw(x[:n], x[:n], step=step, window=w))
        assert peaks[n] <= bytes_needed(n, n, 2, step=step, window=window, n_cells=window.n_cells)
        assert peaks[n] < 4 * window.n_cells
    assert peaks[20_000] < 2.2 * peaks[10_000]


@pytest.mark.compiled
@pytest.mark.parametrize("step", ["symmetric2", "symmetricP1"])
def test_matches_take_memory_for_one_of_them_only(step):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(20_000, 2)).cumsum(0), rng.normal(size=(300, 2)).cumsum(0)
    given = {"step": STEP_PATTERNS[step], "window": everything(20_000, 300)}

    def search():
        assert len(find_matches(x, y, 3, metric="sqeuclidean", **given)) == 3

    search()
    foretold = bytes_of_matches(20_000, 300, 2, **given, penalty=0.0)
    assert peak_bytes(search) <= foretold
    if step == "symmetricP1":  # no match is longer than twice the query
        assert foretold < 20_000 * 300 / 2
