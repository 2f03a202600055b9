"""Faults planted in the package's arithmetic, and how many of them the tests notice.

Mutants are drawn at random over the lines of `align/`, `kernels/` and `model.py`, a line at a time
and with a seed, so that a file has as many as it is long. Each is run against the tests that reach
its line, the quickest first, until one fails. Which tests those are is what `make coverage` has
measured, in `build/`: the lines of each test, and how long it takes.

Mutants of kernels run without the JIT, as compiling takes longer. What runs only while numba
compiles (intrinsics, overloads) no test reaches so: mutants there are compiled, into an empty
cache, and run against the tests of the engine. Nothing is written: a fork of this process imports
the mutant in place of the file.

    make coverage && python benchmarks/mutants.py --count 200 --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mutant_kinds import ROOT, Mutant, draw, source_of

from mmalign_cli import runtime

SCOPE = ("mmalign_cli/model.py", "mmalign_cli/align", "mmalign_cli/kernels")
ENGINE_TESTS = ["tests/test_strips.py", "tests/test_pairwise.py", "tests/test_dtw.py"]
"""What runs the engine from end to end, for mutants of what emits its code."""


class Reach:
    """Which tests reach a line, by what `make coverage` has measured, with or without the JIT."""

    def __init__(self, data: Path, report: Path) -> None:
        from coverage import CoverageData

        self._data = CoverageData(str(data))
        self._data.read()
        self._files = self._data.measured_files()
        self._seconds = _passed(report)
        self._sound: set[str] = set()

    def is_sound(self, test: str, passes: Callable[[str], bool]) -> bool:
        """Return whether a test passes by itself, asked once; one that does not is forgotten."""
        if test not in self._sound and not passes(test):
            del self._seconds[test]
            return False
        self._sound.add(test)
        return True

    def tests(self, mutant: Mutant, budget: float) -> list[str]:
        """Return the tests of a line, or of its whole file if it runs on import, quickest first.

        Together they take no longer than the budget, in seconds, save that there is one at least.
        """
        file = next((f for f in self._files if f.endswith("/" + mutant.path)), None)
        by_line = self._data.contexts_by_lineno(file) if file else {}
        names = set(by_line.get(mutant.line) or by_line.get(mutant.statement) or ())
        if names == {""}:
            names = {name for some in by_line.values() for name in some}
        passed = {name.partition("|")[0] for name in names} & self._seconds.keys()
        tests = sorted(passed, key=lambda name: self._seconds[name])
        chosen, spent = tests[:1], 0.0
        for test in tests[1:]:
            spent += self._seconds[test]
            if spent <= budget:
                chosen.append(test)
        return chosen


def _passed(report: Path) -> dict[str, float]:
    """Return the seconds of each test that passed, of a report in the form of JUnit."""
    return {
        f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}": float(
            case.get("time", "0")
        )
        for case in ET.parse(report).iter("testcase")
        if all(case.find(bad) is None for bad in ("failure", "error", "skipped"))
    }


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a file with another source than it has."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType | None:
        return compile(self._source, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the mutant where its module is asked for."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant, self._source = mutant, source_of(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the specification of the mutant's module, None of any other."""
        if fullname != self._mutant.path.removesuffix(".py").replace("/", "."):
            return None
        file = str(ROOT / self._mutant.path)
        loader = _Loader(fullname, file, self._source)
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


class _FirstFailure:
    """A plugin of pytest that writes down which test failed."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Write the name of a test that failed."""
        if report.failed:
            self._file.write_text(report.nodeid, "utf-8")


@dataclass(frozen=True)
class Run:
    """Some tests, to be run in a fork of this process, with a mutant or without."""

    tests: list[str]
    folder: Path
    jit: bool
    cache: str = ""

    def ends(self, limit: float, mutant: Mutant | None = None) -> int | None:
        """Return the exit code of pytest, None if it takes longer than the limit in seconds."""
        process = multiprocessing.get_context("fork").Process(target=self._go, args=(mutant,))
        process.start()
        process.join(limit)
        if process.exitcode is None and process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.join()
            return None
        return process.exitcode

    def failed(self) -> str:
        """Return the name of the test that failed, empty if it was none."""
        file = self.folder / "failed"
        return file.read_text("utf-8") if file.exists() else ""

    def _go(self, mutant: Mutant | None) -> None:
        import numba
        import pytest

        os.setpgid(0, 0)
        with (self.folder / "log").open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.chdir(ROOT)
        if not self.jit:
            os.environ["NUMBA_DISABLE_JIT"], numba.config.DISABLE_JIT = "1", 1
        if self.cache:
            os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR = self.cache
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(mutant))
        file = self.folder / "failed"
        file.unlink(missing_ok=True)
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", "--hypothesis-seed=0"]
        os._exit(pytest.main([*options, *self.tests], plugins=[_FirstFailure(file)]))


def judge(mutant: Mutant, folder: Path, reaches: dict[bool, Reach], budget: float) -> str:
    """Return what becomes of a mutant: killed, timed out, survived, or that nothing reaches it.

    `reaches[jit]` says which tests there are. A test that fails without the mutant too is left out
    from then on.
    """
    kernel = "/kernels/" in mutant.path
    jit = not kernel and bool(reaches[True].tests(mutant, budget))
    limit = 60 + 3 * budget
    while tests := reaches[jit].tests(mutant, budget):
        run = Run(tests, folder, jit)
        code = run.ends(limit, mutant)
        failed = run.failed()
        if code in (0, None) or not failed or reaches[jit].is_sound(
            failed, lambda test: Run([test], folder, jit).ends(limit) == 0
        ):  # fmt: skip
            return _VERDICTS.get(code, "killed")
    if not kernel:
        return "not reached"
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        code = Run(ENGINE_TESTS, folder, jit=True, cache=cache).ends(600, mutant)
    return _VERDICTS.get(code, "killed")


_VERDICTS = {None: "timed out", 0: "survived"}


def _load() -> None:
    """Load what every run would load again: nothing of ours that may be mutated."""
    runtime.prepare_kernels()
    import librosa  # noqa: F401
    import numba  # noqa: F401
    import pandas  # noqa: F401
    import scipy.optimize
    import scipy.signal
    import scipy.stats  # noqa: F401


def main() -> None:
    """Draw, judge and report; survivors are listed with their lines."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", default=list(SCOPE), help="files or folders")
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget", type=float, default=30.0, help="seconds of tests a mutant")
    parser.add_argument("--output", type=Path, help="a JSON line a mutant, appended")
    options = parser.parse_args()
    reaches = {
        jit: Reach(ROOT / "build" / f"{name}.data", ROOT / "build" / f"{name}.xml")
        for name, jit in (("coverage-on", True), ("coverage-off", False))
    }
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        _load()
        for mutant in draw(options.paths, options.count, options.seed):
            began = time.monotonic()
            verdict = judge(mutant, Path(name), reaches, options.budget)
            verdicts[verdict] += 1
            row = {**asdict(mutant), "verdict": verdict, "seconds": time.monotonic() - began}
            print(f"{verdict:11} {row['seconds']:5.1f} s  {mutant.path}:{mutant.line} "
                  f"{mutant.kind}: {mutant.before}  ->  {mutant.after}", flush=True)  # fmt: skip
            if options.output:
                with options.output.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(row) + "\n")
    alive = verdicts["survived"] + verdicts["not reached"]
    print(dict(verdicts), f"survivors {100 * alive / max(verdicts.total(), 1):.1f} %")


if __name__ == "__main__":
    main()
