"""The grammar of a stream argument: ``PATH[,key=value]...``."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from mmalign_cli.errors import UsageError
from mmalign_cli.streams.spec import KEYS, StreamSpec, parse_spec, unique_names

VALUES = {
    "format": "csv",
    "name": "n",
    "rate": "30000/1001",
    "time": "t",
    "columns": "a+b*",
    "key": "k",
    "start": "1.5",
    "end": "2e3",
    "features": "raw",
    "hop": "0.01",
    "channel": "1",
    "track": "2",
    "normalize": "zscore",
    "derivative": "2",
    "nan": "drop",
    "transpose": "true",
    "header": "no",
    "decimal": ",",
    "encoding": "latin-1",
    "allow-truncated": "1",
    "excess": "error",
    "max-bytes": "2G",
}
PARSED = {
    "rate": Fraction(30000, 1001),
    "columns": ("a", "b*"),
    "start": 1.5,
    "end": 2000.0,
    "hop": Fraction(1, 100),
    "channel": 1,
    "track": 2,
    "derivative": 2,
    "transpose": True,
    "header": False,
    "allow-truncated": True,
    "max-bytes": 2 * 1024**3,
}


def test_every_key_is_covered_here():
    assert set(VALUES) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_each_key(key):
    spec = parse_spec(f"x.csv,{key}={VALUES[key]}")
    assert spec == StreamSpec("x.csv", {key: VALUES[key]})
    value = getattr(spec.options(), key.replace("-", "_"))
    assert value == PARSED.get(key, VALUES[key])


@settings(max_examples=60)
@given(st.permutations(sorted(KEYS)), st.integers(0, len(KEYS)))
def test_keys_in_any_order_and_number(keys, n):
    given_keys = {key: VALUES[key] for key in keys[:n]}
    argument = ",".join(["no such/file.csv", *(f"{k}={v}" for k, v in given_keys.items())])
    assert parse_spec(argument) == StreamSpec("no such/file.csv", given_keys)


FILE_NAMES = st.text(
    st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=40
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILE_NAMES.filter(lambda name: name.strip(".") and name != "-" and len(name.encode()) < 200))
def test_a_file_that_exists_is_that_file(folder, name):
    (folder / name).touch()
    assert parse_spec(name).path == name
    assert parse_spec(f"{name},rate=10") == StreamSpec(name, {"rate": "10"})


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text):
    with contextlib.suppress(UsageError):
        path = parse_spec(text).path
        assert text.startswith(path) or path == "-"


@pytest.mark.parametrize(
    "name",
    ["a,b.csv", "a,rate=5.csv", "a,rat=5.csv", "x,rate=5,name=b.csv", ",start.csv", "a=b.csv"],
)
def test_commas_and_keys_in_file_names(folder, name):
    (folder / name).touch()
    assert parse_spec(name) == StreamSpec(name)
    assert parse_spec(f"{name},name=q,hop=1/50") == StreamSpec(name, {"name": "q", "hop": "1/50"})


def test_a_value_may_hold_commas_and_equals_signs(folder):
    spec = parse_spec("x.csv,decimal=,,columns=a,b+c=d,rate=10")
    assert spec.given == {"decimal": ",", "columns": "a,b+c=d", "rate": "10"}


def test_defaults_yield_to_the_streams_own_keys():
    spec = parse_spec("x.csv,rate=10", {"rate": "20", "nan": "drop"})
    assert spec.options().rate == 10
    assert spec.options().nan == "drop"


def test_the_rate_is_also_that_of_audio_features():
    assert parse_spec("x.wav,rate=50").options().feature_hop(is_audio=True) == Fraction(1, 50)
    assert parse_spec("x.wav,rate=50,hop=.1").options().feature_hop(is_audio=True) == Fraction(
        1, 10
    )
    assert parse_spec("x.wav").options().feature_hop(is_audio=True) == Fraction(1, 100)


def test_the_rate_of_a_roll_is_not_its_hop():
    assert parse_spec("x.npy,rate=20").options().feature_hop(is_audio=False) == Fraction(1, 100)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("29.97", Fraction(2997, 100)), ("30000/1001", Fraction(30000, 1001)), ("1e2", Fraction(100))],
)
def test_rates_are_exact(text, rate):
    assert parse_spec(f"x.csv,rate={text}").options().rate == rate


@pytest.mark.parametrize(
    ("argument", "message", "hint"),
    [
        ("x.csv,rte=5", "unknown key rte=", "did you mean rate?"),
        ("x.csv,normalise=zscore", "unknown key normalise=", "did you mean normalize?"),
        ("x.csv,Rate=5", "unknown key Rate=", "rate"),
        ("x.csv,qqq=5", "unknown key qqq=", "keys: format, name"),
        ("x.csv,rate=5,nme=b", "unknown key nme=", "did you mean name?"),
        ("x.csv,rate=5,rate=6", "rate= is given twice", None),
        (",rate=5", "names no file", None),
        ("", "names no file", None),
        ("-", "standard input needs format=", "for example -,format=csv"),
        ("x.csv,rate=fast", "'fast' is not a positive number such as 100 or 30000/1001", None),
        ("x.csv,rate=-5", "'-5' is not a positive number such as 100 or 30000/1001", None),
        ("x.csv,rate=1/0", "'1/0' is not a positive number such as 100 or 30000/1001", None),
        ("x.csv,rate=1e300", "'1e300' is not a positive number such as 100 or 30000/1001", None),
        ("x.csv,start=soon", "'soon' is not a number", None),
        ("x.csv,start=inf", "'inf' is not a time in seconds", None),
        ("x.csv,start=2,end=2", "2 s is not after start 2 s", None),
        ("x.csv,channel=left", "'left' is neither a channel number (0 is the first) nor mix", None),
        ("x.csv,channel=²", "'²' is neither a channel number (0 is the first) nor mix", None),
        ("x.csv,columns=+", "'+' names no column", None),
        ("x.csv,nan=zero", "'zero' is not one of error, interpolate, drop", None),
        ("x.csv,derivative=3", "'3' is not one of 0, 1, 2", None),
        ("x.csv,transpose=maybe", "'maybe' is neither true nor false", None),
        ("x.csv,decimal=1", "'1' is not one character such as ,", None),
        ("x.csv,name=", "'' is empty", None),
        ("x.csv,max-bytes=lots", "'lots' is not a size", "write 500M or 2G"),
    ],
)
def test_refusals(argument, message, hint):
    with pytest.raises(UsageError) as caught:
        parse_spec(argument)
    assert caught.value.what == message
    assert caught.value.hint == hint or (hint and hint in str(caught.value.hint))


def test_standard_input_has_two_names():
    assert parse_spec("-,format=csv").path == "-"
    assert parse_spec("/dev/stdin,format=csv").path == "-"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["a.csv", "b.csv"], ["a", "b"]),
        (["a.csv", "d/a.wav"], ["a", "a_2"]),
        (["a.csv", "a.csv", "a.csv"], ["a", "a_2", "a_3"]),
        (["a.csv", "b.csv,name=a"], ["a_2", "a"]),
        (["a.csv,name=a_2", "x/a.csv", "y/a.csv"], ["a_2", "a", "a_3"]),
        (["-,format=csv", "take.1.csv"], ["stdin", "take.1"]),
        ([".hidden", "d/"], [".hidden", "d"]),
    ],
)
def test_names_are_unique(arguments, names):
    assert unique_names([parse_spec(a) for a in arguments]) == names


@given(
    st.lists(st.sampled_from(["a.csv", "a_2.csv", "b.csv", "a.csv,name=c", "c.csv"]), max_size=8)
)
def test_names_are_unique_whatever_comes(arguments):
    if arguments.count("a.csv,name=c") < 2:
        names = unique_names([parse_spec(a) for a in arguments])
        assert len(set(names)) == len(names) == len(arguments)


def test_a_name_given_twice():
    with pytest.raises(UsageError, match="two streams are called 'q'"):
        unique_names([parse_spec("a.csv,name=q"), parse_spec("b.csv,name=q")])


@pytest.mark.parametrize("text", ["1e999999999", "9" * 400, "1/0", "nan", "inf", "0", "1e-30", ""])
def test_rates_out_of_reason_are_refused_at_once(text):
    with pytest.raises(UsageError, match="rate"):
        parse_spec("x.npy", {"rate": text})
