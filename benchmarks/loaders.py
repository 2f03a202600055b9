"""Damaged documents, models, answers and arguments, for the fuzzer: each command on each."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import seeds
import soundfile
from mutations import Mutation, Rng, mutate, mutate_arrays, mutate_json, mutate_text

from mmalign_cli.commands.main import _run
from mmalign_cli.errors import UsageError
from mmalign_cli.streams.spec import KEYS, parse_spec, unique_names
from mmalign_cli.write.seal import FIELD

_EXPECTED = (0, 2, 3, 4, 5)
_CARRIED = ("x.srt", "x.csv", "x.csv --rate 10", "x.npy --rate 10", "x.txt", "x.wav")
"""What a damaged document is to carry, and how."""
_PIECES = (
    *(f",{key}=" for key in KEYS), *KEYS, ",", "=", "+", "*", "-", ".", "/", "\\", " ", "\n", "\0",
    "a.csv", "é", "\ud800", "\x1b[31m", "1e999", "nan", "-1", "0", "1/0", "3/7", "9" * 400, "true",
    "none", "mix", "time", "1G", "/dev/stdin", "~", "%s", "{}", "[red]",
)  # fmt: skip


@dataclass(frozen=True)
class Loading:
    """A command on one damaged input after another: a `guard.Trial`.

    Parameters
    ----------
    wholes : sequence of (str, bytes)
        Names of the inputs, and what is damaged.
    change : Mutation
        How, for a name that `changes` does not have.
    command : callable
        From the path of a damaged input, and a number, to the arguments.
    folder : Path
        Where they are.
    """

    wholes: Sequence[tuple[str, bytes]]
    change: Mutation
    command: Callable[[Path, int], list[str]]
    folder: Path

    def data(self, k: int) -> bytes:
        """Return the k-th damaged input."""
        name, whole = self.wholes[k % len(self.wholes)]
        alike = [data for other, data in self.wholes if Path(other).suffix == Path(name).suffix]
        return self.change(whole, np.random.default_rng([8, k]), alike)

    def __call__(self, k: int) -> str:
        """Run the command on the k-th damaged input; return how it ended."""
        path = self.folder / self.wholes[k % len(self.wholes)][0]
        path.write_bytes(self.data(k))
        return ending([str(a) for a in self.command(path, k)])


def ending(arguments: list[str]) -> str:
    """Run a command in this process; return how it ended, and whether as it should."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = int(_run(arguments))
    lines = err.getvalue().splitlines()
    errors = [line for line in lines if line.startswith("mmalign: error: ")]
    known = all(line.startswith(("mmalign: ", "hint: ", "warning: ")) for line in lines)
    if code not in _EXPECTED or len(errors) != (code != 0) or not known:
        return f"FAULT {code} {err.getvalue()[:300]!r}"
    if code == 0 and "--json" in arguments:
        json.loads(out.getvalue())
    if code != 0 and out.getvalue():
        return f"FAULT {code}, and on standard output {out.getvalue()[:100]!r}"
    return f"code_{code}"


@dataclass(frozen=True)
class Arguments:
    """Stream arguments made of pieces of the grammar: a `guard.Trial`."""

    def data(self, k: int) -> bytes:
        """Return the k-th argument."""
        return self.argument(k).encode("utf-8", "surrogatepass")

    def argument(self, k: int) -> str:
        """Return the k-th argument as text."""
        rng = np.random.default_rng([9, k])
        text = "".join(str(rng.choice(_PIECES)) for _ in range(int(rng.integers(1, 9))))
        return _garbled(text, rng) if rng.random() < 0.3 else text

    def __call__(self, k: int) -> str:
        """Parse the k-th argument; return how that went."""
        argument = self.argument(k)
        try:
            spec = parse_spec(argument)
            spec.options()
            unique_names([spec, spec] if "name" not in spec.given else [spec])
        except UsageError as error:
            whole = len(str(error).splitlines()) == 1 and str(error).isprintable()
            return "refused" if whole else f"FAULT {error!r}"
        except Exception as error:  # noqa: BLE001 -- what the script looks for
            return f"FAULT {type(error).__name__}: {error} of {argument!r}"
        kept = os.path.lexists(argument) or spec.path in argument or spec.path == "-"
        return "parsed" if kept and set(spec.given) <= set(KEYS) else f"FAULT {spec}"


def _garbled(text: str, rng: Rng) -> str:
    data = mutate(text.encode("utf-8", "surrogatepass"), rng)
    return data.decode("utf-8", "surrogateescape")


def _mmalign(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "mmalign_cli", *arguments, "-q"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _inputs(folder: Path) -> None:
    """Write two tables, a document of each kind, a model and a known answer."""
    for k, name in enumerate("ab"):
        t = np.arange(30 + 6 * k) / 10
        rows = np.column_stack([t, np.sin(t * (6 - k)), np.cos(t * (4 - k)), np.sin(t + 1)])
        np.savetxt(folder / f"{name}.csv", rows, delimiter=",", header="time,x,y,z", comments="")
    (folder / "truth.csv").write_text("a,b\n0,0\n1.5,1.7\n2.9,3.4\n")
    (folder / "takes.csv").write_text("id,one,two\n1,a.csv,b.csv\n2,b.csv,a.csv\n")
    for name, text in seeds.LABELS.items():
        (folder / f"x.{name}").write_text(text)
    np.save(folder / "x.npy", np.ones((30, 2)))
    soundfile.write(folder / "x.wav", np.zeros(800), 400)
    for method in ("dtw", "ctw", "gtw"):
        _mmalign(folder, method, "a.csv", "b.csv", "-o", f"{method}.json")
    _mmalign(folder, "dtw", "a.csv", "b.csv", "--subsequence", "--top", "2", "-o", "top.json")
    _mmalign(folder, "ctw", "--takes", "takes.csv", "-o", "takes", "--save-model", "model.npz")


def _unsealed(document: bytes) -> bytes:
    """Return a document without its checksum: a damaged one is then read to its end."""
    return json.dumps({k: v for k, v in json.loads(document).items() if k != FIELD}).encode()


def _unsealed_model(model: bytes) -> bytes:
    with np.load(io.BytesIO(model)) as archive:
        arrays = dict(archive)
    arrays["meta"] = np.array(_unsealed(str(arrays["meta"]).encode()).decode())
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _documents(command: Callable[[Path, Path, int], list[str]]) -> Callable[[Path], Loading]:
    def make(folder: Path) -> Loading:
        _inputs(folder)
        os.chdir(folder)  # where documents find their streams
        names = ("dtw.json", "ctw.json", "gtw.json", "top.json")
        sealed = [(f"damaged_{name}", (folder / name).read_bytes()) for name in names]
        wholes = [*sealed[:1], *((name, _unsealed(document)) for name, document in sealed)]
        return Loading(wholes, mutate_json, lambda path, k: command(folder, path, k), folder)

    return make


def _answers(folder: Path) -> Loading:
    _inputs(folder)
    names = ("truth.csv", "dtw.json")
    wholes = [(f"damaged_{name}", (folder / name).read_bytes()) for name in names]
    return Loading(
        wholes, mutate_text, lambda path, k: ["evaluate", f"{folder}/ctw.json", str(path)], folder
    )


def _models(folder: Path) -> Loading:
    _inputs(folder)
    os.chdir(folder)
    command = ["ctw", "--takes", "takes.csv", "-o", "again", "--force", "--model"]
    model = (folder / "model.npz").read_bytes()
    wholes = [("damaged.npz", model), ("damaged.npz", _unsealed_model(model))]
    return Loading(wholes, mutate_arrays, lambda path, k: [*command, str(path)], folder)


def _carried(folder: Path) -> Loading:
    _inputs(folder)
    for name in ("x.npy", "x.npz"):
        seeds.SEEDS[name[2:]](folder, name[2:])
    wholes = [(f"damaged.{ending}", text.encode()) for ending, text in seeds.LABELS.items()]
    wholes += [(f"damaged.{e}", (folder / f"seed0.{e}").read_bytes()) for e in ("npy", "npz")]
    return Loading(wholes, mutate_text, _carrying(folder), folder)


def _clips(folder: Path) -> Loading:
    _inputs(folder)
    wholes = []
    for ending in ("mp4", "mkv", "ts"):
        seeds.write_media(folder / f"seed.{ending}")
        wholes.append((f"damaged.{ending}", (folder / f"seed.{ending}").read_bytes()))
    return Loading(wholes, mutate, _carrying(folder, {".ts": ".mp4"}), folder)


def _carrying(
    folder: Path, endings: Mapping[str, str] | None = None
) -> Callable[[Path, int], list[str]]:
    """Return the command that carries a file to one of the same ending, or of another."""

    def command(path: Path, k: int) -> list[str]:
        to = folder / f"carried{(endings or {}).get(path.suffix, path.suffix)}"
        arguments = ["apply", str(folder / "dtw.json"), str(path), "-o", str(to), "--force"]
        return [*arguments, "--from", "b", "--json"]

    return command


def _applied(folder: Path, path: Path, k: int) -> list[str]:
    name, *more = _CARRIED[k // 4 % len(_CARRIED)].split()
    to = folder / f"carried{Path(name).suffix}"
    return ["apply", str(path), f"{folder}/{name}", "-o", str(to), "--force", "--from", "b", *more]


LOADERS: dict[str, Callable[[Path], Loading | Arguments]] = {
    "grammar": lambda folder: Arguments(),
    "info": _documents(lambda folder, path, k: ["info", str(path), "--json"]),
    "apply": _documents(_applied),
    "evaluate": _documents(lambda f, path, k: ["evaluate", str(path), f"{f}/truth.csv", "--json"]),
    "answer": _answers,
    "plot": _documents(lambda f, path, k: ["plot", str(path), "-o", f"{f}/y.png", "--force"]),
    "model": _models,
    "carry": _carried,
    "clip": _clips,
}
"""By name, what is damaged and given to a command."""


def loading(what: str, folder: Path) -> Loading | Arguments:
    """Return the trials of a loader."""
    return LOADERS[what](folder)
