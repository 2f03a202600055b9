"""The house rules that a reader relies on, read off the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mmalign_cli"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each station may import itself and those above it.
STATIONS = (
    "errors",
    "model",
    "runtime",
    "kernels",
    "streams",
    "features",
    "align",
    "evidence",
    "write",
    "carry",
    "pipeline",
    "batch",
    "commands",
)
IMPORT_NOTHING_OF_OURS = {"errors", "kernels"}
MAY_OPEN_FILES = {"streams", "write", "carry", "batch", "runtime"}
ONLY_IN = {"numba": {"kernels", "runtime"}, "click": {"commands"}, "rich": {"commands"}}
HEAVY = ("numba", "pandas", "scipy", "librosa", "matplotlib", "soundfile")


def station(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports(tree):
    """Every module that is imported, with those in functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_data_flows_one_way(path):
    here = station(path)
    if here in ("__init__", "__main__"):
        return
    for module in imports(ast.parse(path.read_text("utf-8"))):
        top, _, rest = module.partition(".")
        if top == "mmalign_cli":
            other = rest.partition(".")[0]
            if not other:
                continue  # the version, or a station imported from the package
            assert STATIONS.index(other) <= STATIONS.index(here), f"{here} imports {module}"
            assert other == here or here not in IMPORT_NOTHING_OF_OURS, f"{here} imports {module}"
        assert here in ONLY_IN.get(top, {here}), f"{here} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_opened_and_lines_printed_where_they_belong(path):
    here = station(path)
    for called in calls(ast.parse(path.read_text("utf-8"))):
        if called in ("open", "os.open", "os.fdopen", "np.load", "np.memmap"):
            assert here in MAY_OPEN_FILES, f"{here} calls {called}"
        if called in ("print", "sys.exit", "click.echo"):
            assert here == "commands", f"{here} calls {called}"
        assert called not in ("pickle.load", "pickle.loads", "np.load", "eval", "exec")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["dtw", "--help"], ["ctw", "--help"], ["apply", "--help"], ["features", "--list"]],
)
def test_first_screens_load_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from mmalign_cli.commands.main import _run\n"
        f"code = _run({arguments!r})\n"
        "assert not code, code\n"
        f"heavy = [m for m in {(*HEAVY, 'numpy')!r} if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
