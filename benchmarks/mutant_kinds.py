"""Small faults that can be planted in a source: the kinds, the mutants of a file, a random draw."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip

_COMMUTE = {"max", "min", "maximum", "minimum", "hypot", "lcm", "gcd"}


def _compare(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Compare):
        return None
    node.ops[0] = _COMPARISONS[type(node.ops[0])]()
    return node


def _calculate(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, (ast.BinOp, ast.AugAssign)):
        return None
    node.op = _ARITHMETIC[type(node.op)]()
    return node


def _increase(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return None
    return ast.Constant(node.value + 1)  # type: ignore[operator]


def _flip(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return ast.Constant(not node.value)
    if isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return node
    return None


def _negate(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, (ast.If, ast.While, ast.IfExp)):
        return None
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def _remove(node: ast.AST) -> ast.AST | None:
    """Leave out what acts by itself: without a name that is assigned, all that follows fails."""
    acts = isinstance(node, (ast.AugAssign, ast.Raise, ast.Continue, ast.Break))
    acts = acts or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    acts = acts or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript))
    return ast.Pass() if acts else None


def _swap(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Call) or len(node.args) < 2:
        return None
    if any(isinstance(a, ast.Starred) for a in node.args[:2]):
        return None
    if ast.dump(node.args[0]) == ast.dump(node.args[1]):
        return None
    if ast.unparse(node.func).rpartition(".")[2] in _COMMUTE:
        return None
    node.args[:2] = node.args[1::-1]
    return node


def _shift(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Slice) or not (node.upper or node.lower):
        return None
    name = "upper" if node.upper else "lower"
    setattr(node, name, ast.BinOp(getattr(node, name), ast.Add(), ast.Constant(1)))
    return node


KINDS: dict[str, Callable[[ast.AST], ast.AST | None]] = {
    "comparison": _compare, "arithmetic": _calculate, "constant": _increase, "boolean": _flip,
    "condition": _negate, "statement": _remove, "arguments": _swap, "slice": _shift,
}  # fmt: skip
"""A change of a node, in place or by another; None where the kind has nothing to change."""


@dataclass(frozen=True)
class Mutant:
    """One change: of the node with this number, counted as `_nodes` goes, in one file.

    `statement` is the line where the statement around it begins: of one that takes several lines,
    not every line is measured.
    """

    path: str
    line: int
    statement: int
    kind: str
    number: int
    before: str
    after: str


def _nodes(tree: ast.AST, statement: int = 1) -> Iterator[tuple[ast.AST, int]]:
    """Yield what is run, and where its statement begins.

    Neither annotations and decorators nor the bodies of TYPE_CHECKING are.
    """
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                    continue
                here = child.lineno if isinstance(child, ast.stmt) else statement
                yield child, here
                yield from _nodes(child, here)


def mutants_of(path: str) -> list[Mutant]:
    """Return every mutant of a file, its path relative to the root of the project."""
    found = []
    for number, (node, statement) in enumerate(_nodes(ast.parse((ROOT / path).read_text("utf-8")))):
        line = getattr(node, "lineno", None)
        if line is None:
            continue
        for kind, change in KINDS.items():
            changed = change(copy.deepcopy(node))
            if changed is not None:
                before, after = (ast.unparse(n).partition("\n")[0] for n in (node, changed))
                found.append(Mutant(path, line, statement, kind, number, before, after))
    return found


def source_of(mutant: Mutant) -> str:
    """Return the source of the mutant's file with its change."""
    tree = ast.parse((ROOT / mutant.path).read_text("utf-8"))
    node, _ = list(_nodes(tree))[mutant.number]
    changed = KINDS[mutant.kind](copy.deepcopy(node))
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, changed)
            elif isinstance(value, list) and any(v is node for v in value):
                setattr(parent, name, [changed if v is node else v for v in value])
    return ast.unparse(ast.fix_missing_locations(tree))


def draw(paths: list[str], count: int, seed: int) -> list[Mutant]:
    """Draw lines at random from some files or folders, and of each line one mutant."""
    files = [f for p in paths for f in ([ROOT / p] if p.endswith(".py") else (ROOT / p).glob("*"))]
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    for file in sorted(f for f in files if f.suffix == ".py"):
        for mutant in mutants_of(str(file.relative_to(ROOT))):
            by_line.setdefault((mutant.path, mutant.line), []).append(mutant)
    rng = random.Random(seed)
    lines = rng.sample(sorted(by_line), min(count, len(by_line)))
    return [rng.choice(by_line[line]) for line in lines]
