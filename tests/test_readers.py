"""Every reader, on files that other programs wrote: what they wrote is what arrives."""

from __future__ import annotations

import contextlib
import io
import json
from fractions import Fraction
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scipy.io
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings

from mmalign_cli.errors import InputError, LimitError
from mmalign_cli.features.compute import compute, decode_rate
from mmalign_cli.model import frame_times
from mmalign_cli.streams import audio
from mmalign_cli.streams.load import load
from mmalign_cli.streams.spec import Options, parse_spec
from mmalign_cli.streams.times import even_rate, units_per_second

RNG = np.random.default_rng(7)
TABLE = RNG.standard_normal((7, 3)) * 10.0 ** RNG.integers(-12, 12, (7, 3))
TIMES = np.arange(7) / 25
NAMES = ("x", "y", "z")


def read(argument, rate=None):
    return load(parse_spec(argument), "s", rate)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(folder):
    pass


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("header", [True, False])
def test_pandas_tables(sep, end, decimal, header):
    if sep == decimal:
        pytest.skip("pandas itself could not read that back")
    frame = pd.DataFrame(TABLE, columns=NAMES)
    frame.to_csv("t.csv", sep=sep, lineterminator=end, decimal=decimal, header=header, index=False)
    stream = read(f"t.csv,rate=25,decimal={decimal}")
    assert np.array_equal(stream.values, TABLE)
    assert stream.columns == (NAMES if header else ())
    assert np.array_equal(stream.times, TIMES)
    assert stream.rate == 25


@pytest.mark.parametrize("quoting", range(4))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_quotes_and_encodings(quoting, encoding):
    frame = pd.DataFrame({"t": TIMES, "größe, in m": TABLE[:, 0], 'a "b" c': TABLE[:, 1]})
    if quoting == 3:
        frame.columns = ["t", "größe", "b"]
    frame.to_csv("t.csv", index=False, quoting=quoting, encoding=encoding)
    stream = read("t.csv" if encoding.startswith("utf-8") else f"t.csv,encoding={encoding}")
    assert np.array_equal(stream.values, TABLE[:, :2])
    assert stream.columns == tuple(frame.columns[1:])


def test_the_index_of_pandas_is_no_data():
    for columns in (NAMES, range(3)):
        pd.DataFrame(TABLE, columns=list(columns)).to_csv("t.csv")
        stream = read("t.csv,rate=1")
        assert np.array_equal(stream.values, TABLE)
        assert stream.columns == tuple(map(str, columns))
    pd.DataFrame(TABLE).to_csv("t.csv", index=False)
    assert np.array_equal(read("t.csv,rate=1").values, TABLE)
    assert read("t.csv,columns=0+2").columns == ("0", "2")


def test_an_index_that_counts_nothing_is_data():
    pd.DataFrame(TABLE[:, :1], index=[3, 1, 4, 1, 5, 9, 2]).to_csv("t.csv", header=["x"])
    assert read("t.csv").values[:, 0].tolist() == [3, 1, 4, 1, 5, 9, 2]


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ";"])
@pytest.mark.parametrize("fmt", ["%.18e", "%12.4f", "%d"])
@pytest.mark.parametrize("header", ["", "time x y", "recorded on monday\nby nobody in particular"])
def test_savetxt(delimiter, fmt, header):
    rows = np.column_stack([TIMES * 25, RNG.integers(-99, 99, (7, 2))])
    has_names = header.startswith("time")
    np.savetxt(
        "t.txt",
        rows,
        fmt,
        delimiter,
        header=header.replace(" ", delimiter) if has_names else header,
    )
    stream = read("t.txt")
    assert np.array_equal(stream.values, rows[:, 1:] if has_names else rows)
    assert stream.columns == (("x", "y") if has_names else ())
    assert stream.rate == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.sampled_from([",", ";", "\t", "|", " "]),
    st.booleans(),
)
def test_every_double_arrives_to_the_bit(values, sep, header):
    names = sep.join(f"c{k}" for k in range(values.shape[1]))
    lines = [names] * header + [sep.join(map(repr, row)) for row in values.tolist()]
    with open("t.txt", "w") as file:
        file.write("\n".join(lines))
    arrived = read("t.txt,header=" + str(header).lower()).values
    assert np.array_equal(arrived, values)
    assert np.array_equal(np.signbit(arrived), np.signbit(values))


@pytest.mark.parametrize(
    "name", ["time", "t", "timestamp", "time_s", "seconds", "Time", "T", "TIMESTAMP"]
)
def test_time_columns(name):
    pd.DataFrame({"x": TABLE[:, 0], name: TIMES, "y": TABLE[:, 1]}).to_csv("t.csv", index=False)
    stream = read("t.csv")
    assert np.array_equal(stream.times, TIMES)
    assert stream.columns == ("x", "y")
    assert stream.rate == 25
    assert stream.warnings == ()


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("time_ms", 1000),
        ("Time (ms)", 1000),
        ("t[us]", 10**6),
        ("timestamp_ns", 10**9),
        ("time (s)", 1),
    ],
)
def test_units_of_time_columns(name, unit):
    ticks = (
        np.array([0, 40, 80, 121]) * unit // 1000 if unit > 1 else np.array([0, 0.04, 0.08, 0.121])
    )
    pd.DataFrame({name: ticks, "x": [1, 2, 3, 4]}).to_csv("t.csv", index=False)
    assert read("t.csv").times.tolist() == [0, 0.04, 0.08, 0.121]
    assert read(f"t.csv,time={name}").times.tolist() == [0, 0.04, 0.08, 0.121]


@pytest.mark.parametrize(
    "name", ["tension", "timer", "x", "ms", "torque_s", "timeout", "times_table", ""]
)
def test_names_that_are_no_times(name):
    assert units_per_second(name) is None


def test_dates_and_clock_times():
    stamps = pd.date_range("2024-05-06T07:08:09.5", periods=4, freq="40ms")
    since_1970 = [t.value / 1e9 for t in stamps]
    for text in (
        stamps.astype(str),
        [t.isoformat() + "Z" for t in stamps],
        [f"{t}+00:00" for t in stamps],
    ):
        pd.DataFrame({"timestamp": list(text), "x": range(4)}).to_csv("t.csv", index=False)
        assert read("t.csv").times.tolist() == since_1970
        assert read("t.csv").rate == 25
    pd.DataFrame({"when": ["0:59:59.5", "1:00:00", "10:00:00.25"], "x": [5, 7, 6]}).to_csv(
        "t.csv", index=False
    )
    assert read("t.csv,time=when").times.tolist() == [3599.5, 3600, 36000.25]


def test_choosing_columns():
    frame = pd.DataFrame(TABLE, columns=["hand_x", "hand_y", "foot_x"])
    frame.insert(0, "clock", TIMES)
    frame["label"] = "walk"
    frame.to_csv("t.csv", index=False)
    assert read("t.csv").columns == ("clock", "hand_x", "hand_y", "foot_x")
    assert "columns left out: label" in read("t.csv").notes
    stream = read("t.csv,time=clock,columns=foot_x+hand_*")
    assert stream.columns == ("foot_x", "hand_x", "hand_y")
    assert np.array_equal(stream.values, TABLE[:, [2, 0, 1]])
    assert np.array_equal(read("t.csv,time=1,columns=hand_x").times, TIMES)
    for argument, what in (
        ("columns=hnad_x", "no column 'hnad_x'"),
        ("time=clok", "no column 'clok'"),
    ):
        with pytest.raises(InputError, match=what) as caught:
            read(f"t.csv,{argument}")
        assert caught.value.hint in ("did you mean hand_x?", "did you mean clock?")
    with pytest.raises(InputError, match="line 2 column label: 'walk' is not a number"):
        read("t.csv,columns=label")


def test_columns_without_names_have_numbers():
    np.savetxt("t.csv", TABLE, "%.17g", ",")
    assert np.array_equal(read("t.csv,columns=3+1").values, TABLE[:, [2, 0]])
    with pytest.raises(InputError, match="no column '4'") as caught:
        read("t.csv,columns=4")
    assert caught.value.hint == "columns: 1, 2, 3"


@pytest.mark.parametrize(
    "missing", ["", "NA", "nan", "NaN", "NAN", "-nan", "N/A", "null", "None", "#N/A"]
)
def test_missing_cells(missing):
    with open("t.csv", "w") as file:
        file.write(f"2,1\n{missing},2\n5,{missing}\n6,3\n")
    with pytest.raises(
        InputError, match="2 values are missing or not finite, first at row 2 column 1"
    ):
        read("t.csv")
    assert read("t.csv,nan=drop").values.tolist() == [[2, 1], [6, 3]]
    assert read("t.csv,nan=interpolate").values.tolist() == [[2, 1], [3.5, 2], [5, 2.5], [6, 3]]


def test_interpolation_follows_the_times():
    t = np.array([0, 1, 4, 5, 9, 10.0])
    x = 3 - 2 * t
    holes = np.where([0, 1, 0, 1, 1, 0], np.nan, x)
    pd.DataFrame({"t": t, "x": holes, "y": t}).to_csv("t.csv", index=False)
    stream = read("t.csv,nan=interpolate")
    assert np.allclose(stream.values[:, 0], x, rtol=0, atol=1e-12)
    dropped = read("t.csv,nan=drop")
    assert dropped.times.tolist() == [0, 4, 10]
    assert dropped.rate is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b\nTrue,2\nFalse,3\n", [[1, 2], [0, 3]]),
        ("a,b\ntrue,2\nfalse,3\n", [[1, 2], [0, 3]]),
        ("a\n1180591620717411303424\n-1\n", [[2.0**70], [-1]]),
        ("a\n18446744073709551615\n9007199254740993\n", [[2.0**64], [2.0**53]]),
        ("1;2;\n3;4;\n", [[1, 2], [3, 4]]),
        (" 1  2\n\t3\t4  \n", [[1, 2], [3, 4]]),
        ("1, 2\n3 , 4\n", [[1, 2], [3, 4]]),
        ('"1","2"\n"3","4"\n', [[1, 2], [3, 4]]),
        ("x\n1\n2\n\n\n", [[1], [2]]),
        ("+1,-2\n1e3,.5\n", [[1, -2], [1000, 0.5]]),
        ("walk,1,2\nrun,3,4\n", [[1, 2], [3, 4]]),
        ("label,x,y\nwalk,1,2\nrun,3,4\n", [[1, 2], [3, 4]]),
        ("0,1\n0.5,2.5\n", [[0, 1], [0.5, 2.5]]),
        ("0,1,2\n1,2,3\n", [[0, 1, 2], [1, 2, 3]]),
        ("1\n2\n", [[1], [2]]),
    ],
)
def test_spellings(text, values):
    with open("t.csv", "w") as file:
        file.write(text)
    assert read("t.csv,rate=1").values.tolist() == values


def test_a_blank_line_in_a_single_column_is_a_missing_value():
    for text in ("x\n1\n\n3\n", '"x"\n"1"\n\n"3"\n'):
        with open("t.csv", "w") as file:
            file.write(text)
        assert read("t.csv,nan=interpolate").values.tolist() == [[1], [2], [3]]


def test_transposed_table():
    np.savetxt("t.csv", TABLE.T, "%.17g", ",")
    assert np.array_equal(read("t.csv,transpose=true,rate=25").values, TABLE)
    pd.DataFrame({"time": TIMES, "x": TIMES}).to_csv("t.csv", index=False)
    with pytest.raises(InputError, match="has a time column: it cannot be transposed"):
        read("t.csv,transpose=true")


# ---------------------------------------------------------------- times


def test_the_default_rate_is_one_with_a_warning():
    np.save("x.npy", TABLE)
    stream = read("x.npy")
    assert stream.rate == 1
    assert stream.warnings == ("x.npy: no times in the file, taken as 1 frame a second (rate=)",)
    assert read("x.npy,rate=2").warnings == ()


@pytest.mark.parametrize("rate", ["30000/1001", "29.97", "44100", "1/3", "0.1", "120"])
def test_rational_rates_never_drift(rate):
    n = 100_000
    np.save("x.npy", np.zeros(n, np.float32))
    stream = read(f"x.npy,rate={rate}")
    exact = Fraction(rate)
    assert stream.rate == exact
    for k in (1, 17, 30_000, n - 1):
        assert abs(stream.times[k] - float(k / exact)) <= np.spacing(stream.times[k])


@pytest.mark.parametrize(
    "rate", [Fraction(25), Fraction(30000, 1001), Fraction(1, 3), Fraction(48000)]
)
@pytest.mark.parametrize("decimals", [6, 9, 17])
def test_the_rate_is_recognised_in_written_times(rate, decimals):
    if decimals == 6 and rate > 1000:
        pytest.skip("microseconds cannot tell 48000 Hz")
    times = np.round(frame_times(500, rate, 12.5), decimals)
    assert even_rate(times) == rate


def test_irregular_times_are_kept():
    times = np.cumsum(RNG.uniform(0.01, 0.1, 50)) + 1e5
    pd.DataFrame({"t": times, "x": times}).to_csv("t.csv", index=False)
    stream = read("t.csv")
    assert np.array_equal(stream.times, times)
    assert stream.rate is None


@pytest.mark.parametrize(
    ("start", "end", "kept"), [(0.08, 0.16, [2, 3, 4]), (0.1, 9, [3, 4, 5, 6]), (-5, 0, [0])]
)
@pytest.mark.parametrize("ending", ["csv", "npy", "npz"])
def test_start_and_end(start, end, kept, ending):
    if ending == "csv":
        pd.DataFrame({"t": TIMES, "x": TABLE[:, 0]}).to_csv("x.csv", index=False)
    elif ending == "npy":
        np.save("x.npy", TABLE[:, 0])
    else:
        np.savez("x.npz", x=TABLE[:, 0], times=TIMES)
    stream = read(f"x.{ending},rate=25,start={start},end={end}")
    assert np.array_equal(stream.times, TIMES[kept])
    assert np.array_equal(stream.values[:, 0], TABLE[kept, 0])
    with pytest.raises(InputError, match="nothing between start and end: it goes from 0 s to"):
        read(f"x.{ending},rate=25,start=1")


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_npy_versions(version):
    with open("x.npy", "wb") as file:
        np.lib.format.write_array(file, np.asfortranarray(TABLE), version)
    assert np.array_equal(read("x.npy").values, TABLE)


def test_vector_and_transposed_array():
    np.save("v.npy", TABLE[:, 0])
    assert np.array_equal(read("v.npy").values, TABLE[:, :1])
    np.save("x.npy", TABLE.T)
    assert np.array_equal(read("x.npy,transpose=true").values, TABLE)
    assert np.array_equal(read("x.npy,transpose=true,columns=2").values, TABLE[:, 1:2])


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_companions(transpose, save):
    x = TABLE.T if transpose else TABLE
    save("x.npz", x=x, times=TIMES + 3, rate=99.0, columns=np.array(NAMES))
    stream = read(f"x.npz,transpose={str(transpose).lower()}")
    assert np.array_equal(stream.values, TABLE)
    assert np.array_equal(stream.times, TIMES + 3)
    assert stream.columns == NAMES
    assert np.array_equal(
        read(f"x.npz,transpose={str(transpose).lower()},columns=z").values, TABLE[:, 2:]
    )


def test_npz_rate_and_units():
    np.savez("x.npz", x=TABLE, fps=29.97)
    assert read("x.npz").rate == Fraction(2997, 100)
    np.savez("x.npz", x=TABLE, t_ms=np.arange(7) * 40)
    assert np.array_equal(read("x.npz").times, TIMES)
    dates = np.datetime64("2024-01-01T00:00:00") + np.arange(7) * np.timedelta64(40, "ms")
    np.savez("x.npz", x=TABLE, time=dates)
    assert np.array_equal(read("x.npz").times, 1704067200 + TIMES)


def test_npz_companions_that_do_not_fit():
    np.savez("x.npz", x=TABLE, times=np.arange(9.0), columns=np.array(["a"]), rate=np.array("fast"))
    stream = read("x.npz")
    assert "x.npz: times (9,) not used: the array has 7 frames" in stream.warnings
    assert stream.columns == ()
    np.savez("x.npz", x=TABLE, rate=-1.0)
    with pytest.raises(InputError, match="the rate in the file is -1"):
        read("x.npz")


def test_npz_chooses_the_only_matrix():
    np.savez("x.npz", x=TABLE, gain=np.float64(3), weights=np.ones(3))
    assert np.array_equal(read("x.npz").values, TABLE)
    assert np.array_equal(read("x.npz,key=weights").values, np.ones((3, 1)))


@pytest.mark.parametrize("compressed", [False, True])
def test_mat(compressed):
    content = {
        "x": TABLE,
        "t": TIMES + 1,
        "fs": 25.0,
        "note": "hello",
        "cell": np.array([{}], object),
    }
    scipy.io.savemat("x.mat", content, do_compression=compressed)
    stream = read("x.mat")
    assert np.array_equal(stream.values, TABLE)
    assert np.array_equal(stream.times, TIMES + 1)
    with pytest.raises(InputError, match="array, not numbers"):
        read("x.mat,key=cell")


def test_mat_vectors_are_sequences():
    scipy.io.savemat("x.mat", {"x": TABLE[:, 0], "fs": 25.0}, oned_as="row")
    for argument in ("x.mat", "x.mat,transpose=true"):
        assert np.array_equal(read(argument).values, TABLE[:, :1])
    scipy.io.savemat("x.mat", {"x": TABLE[:, 0]}, oned_as="column")
    assert np.array_equal(read("x.mat").values, TABLE[:, :1])


@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
@pytest.mark.parametrize("compressed", [False, True])
def test_mat_types(kind, compressed):
    values = RNG.integers(0, 2 if kind == "?" else 100, (5, 3)).astype(kind)
    names = {"a_long_name_of_a_matrix": values, "columns": np.array(["one", "two", "six"])}
    scipy.io.savemat("x.mat", names, do_compression=compressed)
    assert np.array_equal(read("x.mat").values, values.astype(float))
    assert read("x.mat").columns == ("one", "two", "six")


@pytest.mark.parametrize("kind", ["float64", "float32", "int32", "int16", "uint16", "uint8"])
def test_mat_of_version_4(kind, folder):
    values = RNG.integers(0, 100, (5, 3)).astype(kind)
    scipy.io.savemat("x.mat", {"x": values, "fs": 25.0, "label": "walk"}, format="4")
    stream = read("x.mat")
    assert np.array_equal(stream.values, values.astype(float))
    assert stream.rate == 25
    with pytest.raises(InputError, match="text or sparse"):
        read("x.mat,key=label")


@pytest.mark.parametrize("length", [10, 30, 100])
def test_mat_of_version_4_cut_short(length, folder):
    scipy.io.savemat("x.mat", {"x": TABLE}, format="4")
    cut = Path("x.mat").read_bytes()[:length]
    Path("x.mat").write_bytes(cut)
    with pytest.raises(InputError, match="damaged MAT file"):
        read("x.mat")


def test_mat_that_cannot_be_read(folder):
    scipy.io.savemat("x.mat", {"x": TABLE * 1j})
    with pytest.raises(InputError, match="x: complex values"):
        read("x.mat,key=x")
    scipy.io.savemat("x.mat", {"x": np.zeros((300, 100))}, do_compression=True)
    with pytest.raises(LimitError, match="holds 240 kB, the limit is 102 kB"):
        read("x.mat,max-bytes=100k")


def test_pictures():
    video = RNG.integers(0, 255, (5, 4, 6, 3), dtype=np.uint8)
    np.savez("x.npz", video=video, fps=10)
    stream = read("x.npz")
    assert (stream.kind, stream.frame_shape, stream.rate) == ("images", (4, 6, 3), 10)
    assert np.array_equal(stream.values.reshape(video.shape), video)


# ---------------------------------------------------------------- audio


def tone(seconds, rate, channels=1):
    t = np.arange(round(seconds * rate)) / rate
    phases = np.arange(channels)
    return 0.5 * np.sin(2 * np.pi * 440 * t[:, np.newaxis] + phases)


LOSSLESS = [
    ("wav", "PCM_16"),
    ("wav", "FLOAT"),
    ("wav", "PCM_24"),
    ("flac", "PCM_16"),
    ("aiff", "PCM_16"),
]
LOSSY = [("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III"), ("wav", "MS_ADPCM"), ("wav", "IMA_ADPCM")]
LOSSY += [("wav", "ULAW"), ("wav", "GSM610")]


@pytest.mark.parametrize(("ending", "subtype"), LOSSLESS + LOSSY)
def test_sound_files(ending, subtype):
    rate = 8000 if subtype == "GSM610" else 16000
    sound = tone(1.5, rate)
    soundfile.write(f"x.{ending}", sound, rate, subtype=subtype)
    stream = read(f"x.{ending}")
    theirs, _ = soundfile.read(f"x.{ending}", dtype="float32")
    assert np.array_equal(stream.values[:, 0], theirs)
    assert stream.rate == rate
    assert stream.warnings == ()
    assert np.array_equal(stream.times, np.arange(len(theirs)) / rate)


def test_rf64():
    soundfile.write("x.wav", tone(0.5, 8000), 8000, format="RF64")
    assert read("x.wav").n_frames == 4000


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF024])
def test_a_size_that_a_pipe_left_unknown(folder, size):
    soundfile.write("x.wav", tone(0.5, 8000), 8000)
    data = (folder / "x.wav").read_bytes()
    (folder / "x.wav").write_bytes(data[:40] + size.to_bytes(4, "little") + data[44:])
    if size:
        assert read("x.wav").n_frames == 4000
    else:
        with pytest.raises(InputError, match="no audio frames"):
            read("x.wav")


def test_channels():
    sound = np.round(tone(0.2, 8000, 3) * 2**14) / 2**15
    soundfile.write("x.wav", sound, 8000, subtype="FLOAT")
    for channel in range(3):
        assert np.array_equal(read(f"x.wav,channel={channel}").values[:, 0], sound[:, channel])
    assert np.allclose(read("x.wav").values[:, 0], sound.mean(axis=1), atol=1e-7)
    assert read("x.wav,channel=mix").notes == ("mean of 3 channels",)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("target", [16000, 22050])
def test_resampling_in_blocks_is_resampling_at_once(monkeypatch, rate, target):
    sound = RNG.uniform(-0.5, 0.5, round(1.3 * rate)).astype(np.float32)
    soundfile.write("x.wav", sound, rate, subtype="FLOAT")
    monkeypatch.setattr(audio, "_BLOCK_FRAMES", 1000)
    values = read("x.wav", Fraction(target)).values[:, 0]
    at_once = soxr.resample(sound, rate, target) if rate != target else sound
    assert len(values) == len(at_once)
    assert abs(len(values) - 1.3 * target) <= 1
    assert np.allclose(values, at_once, atol=1e-6)


@pytest.mark.parametrize("target", [16000, 22050])
def test_resampling_does_not_shift(target):
    t = np.arange(44100) / 44100
    soundfile.write("x.wav", 0.5 * np.exp(-((t - 0.4) ** 2) / 0.01**2), 44100, subtype="FLOAT")
    stream = read("x.wav", Fraction(target))
    k = np.arange(stream.n_frames) / target
    assert np.allclose(stream.values[:, 0], 0.5 * np.exp(-((k - 0.4) ** 2) / 0.01**2), atol=2e-4)
    assert np.array_equal(stream.times, k)


@pytest.mark.parametrize("target", [None, Fraction(16000)])
def test_start_and_end_of_audio(target):
    sound = RNG.uniform(-0.5, 0.5, 8000).astype(np.float32)
    soundfile.write("x.wav", sound, 8000, subtype="FLOAT")
    stream = read("x.wav,start=0.25,end=0.5", target)
    assert stream.times[0] == 0.25
    assert abs(stream.times[-1] - 0.5) <= 1 / 8000
    if target is None:
        assert np.array_equal(stream.values[:, 0], sound[2000:4001])
    with pytest.raises(InputError, match="nothing between start and end: it lasts 1 s"):
        read("x.wav,start=2", target)


@pytest.mark.parametrize("rate", [22050, 44100])
def test_audio_frames_never_drift(rate):
    clicks = np.zeros(20 * rate, np.float32)
    clicks[rate // 2 :: rate] = 0.9  # at every half second
    soundfile.write("x.wav", clicks, rate)
    options = Options(features="rms", hop=Fraction(1, 100))
    stream = compute(read("x.wav", decode_rate(options)), options)
    k = np.arange(stream.n_frames)
    assert stream.rate == 100
    assert np.array_equal(stream.times, k / 100)
    loud = stream.values[:, 0].reshape(-1)
    for second in (0, 10, 19):
        near = np.flatnonzero(np.abs(stream.times - second - 0.5) < 0.3)
        above = near[loud[near] > loud[near].max() - 6]
        assert abs(stream.times[above].mean() - (second + 0.5)) < 0.01


# ---------------------------------------------------------------- standard input


@pytest.mark.parametrize("kind", ["csv", "npy", "npz", "wav", "mat"])
def test_standard_input(monkeypatch, kind):
    buffer = io.BytesIO()
    if kind == "csv":
        buffer.write(pd.DataFrame(TABLE, columns=NAMES).to_csv(index=False).encode())
    elif kind == "mat":
        scipy.io.savemat(buffer, {"x": TABLE})
    elif kind == "wav":
        soundfile.write(
            buffer, TABLE[:, :1] / np.abs(TABLE).max(), 8000, format="WAV", subtype="FLOAT"
        )
    else:
        (np.save if kind == "npy" else np.savez)(buffer, TABLE)
    buffer.seek(0)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(buffer))
    stream = read(f"-,format={kind}")
    assert stream.source == "-"
    assert stream.n_frames == len(TABLE)
    if kind != "wav":
        assert np.array_equal(stream.values, TABLE)


def test_the_document_says_enough_to_read_a_stream_again(run):
    pd.DataFrame({"t": TIMES, "x": TABLE[:, 0], "y": TABLE[:, 1]}).to_csv("t.csv", index=False)
    result = run(
        "dtw", "t.csv,columns=x", "t.csv,columns=y", "--normalize", "zscore", "--json", "-q"
    )
    given = [s["options"] for s in json.loads(result.stdout)["streams"]]
    assert given == [
        {"normalize": "zscore", "columns": "x"},
        {"normalize": "zscore", "columns": "y"},
    ]


# ---------------------------------------------------------------- damage


def written(kind):
    """Return the bytes of a small good file."""
    buffer = io.BytesIO()
    if kind in ("npz", "mat"):
        save = np.savez if kind == "npz" else scipy.io.savemat
        save(buffer, **({"x": TABLE} if kind == "npz" else {"mdict": {"x": TABLE, "t": TIMES}}))
    elif kind == "packed.mat":
        scipy.io.savemat(buffer, {"x": TABLE, "t": TIMES}, do_compression=True)
    elif kind == "npy":
        np.save(buffer, TABLE)
    elif kind == "csv":
        buffer.write(b'time,x,"y z"\n0,1.5,"2"\n1,3,4\n2,NA,5\n')
    elif kind == "txt":
        buffer.write(b"# t x\n 0 1\n 1 2\n 2 4\n")
    else:
        soundfile.write(buffer, tone(0.05, 8000), 8000, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", ["csv", "txt", "npy", "npz", "mat", "packed.mat", "wav", "aiff", "flac", "ogg"]
)
def test_damaged_files_are_read_or_refused_and_nothing_else(folder, capfd, kind):
    good, rng = written(kind), np.random.default_rng(11)
    for _ in range(100):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(min(len(data), 400)))
            new = bytes(rng.integers(0, 256, 3, dtype=np.uint8))
            data[at : at + int(rng.integers(4))] = new[: int(rng.integers(4))]
        (folder / f"x.{kind}").write_bytes(data[: int(rng.integers(1, 2 * len(data)))])
        with contextlib.suppress(InputError, LimitError):
            read(f"x.{kind},nan=interpolate,max-bytes=10M")
    assert capfd.readouterr() == ("", "")
