"""Changes the pool's code in one place after the other, and sees whether the tests notice.

    python -m benchmarks.mutants [--module slot] [--every 1] [--record]

Each mutant is one small mistake: a comparison turned round, ``and`` for ``or``, a negated condition, a number plus one,
a call whose result nobody uses left out, True for False. It is made in a copy of the repository, never here. The tests
are those of the pool that take seconds: first those that run the changed line, and when none of them fails all of them.
``--every 5`` takes every fifth mutant. A mutant that no test notices is listed with its line; the exit code is 1 when
there is one.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coverage import CoverageData

from benchmarks.copies import REPOSITORY, copy_repository, environment_of
from benchmarks.recording import machine_line, publish

_POOL = "pytest_kina/pool"
_QUICK = ("tests/unit/pool",)
_TESTS = (_QUICK, ("tests/stateful",))
_ONE_TEST = 120.0
"""Seconds until one test counts as hanging, which is noticing."""
_PATIENCE = 6.0
"""How many times as long as without a mutant the tests may take until they count as hanging, which is noticing."""

_OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: its module, line, what it is, and the whole changed source."""

    module: str
    line: int
    what: str
    source: str


def mutants(path: Path) -> Iterator[Mutant]:
    """Every mistake that can be made in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # How a dataclass is made (slots, frozen) is no behaviour of the pool.
    classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    decorators = {part for node in classes for each in node.decorator_list for part in ast.walk(each)}
    for number, node in enumerate(ast.walk(tree)):
        if node in decorators:
            continue
        for what, change in _changes(node):
            changed = copy.deepcopy(tree)
            change_in = next(each for index, each in enumerate(ast.walk(changed)) if index == number)
            change(change_in)
            line = getattr(node, "lineno", 0)
            yield Mutant(path.stem, line, what, ast.unparse(ast.fix_missing_locations(changed)))


def _changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _OPPOSITES:
        yield f"turn round: {ast.unparse(node)}", _turn_round
    elif isinstance(node, ast.BoolOp):
        yield f"and for or: {ast.unparse(node)}", _swap
    elif isinstance(node, ast.If | ast.Expr) and ast.unparse(node).startswith(("if TYPE_CHECKING:", "_log.")):
        return  # nothing that a test of the pool could see
    elif isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Compare | ast.BoolOp):
        yield f"negate: {ast.unparse(node.test)}", _negate
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield f"leave out: {ast.unparse(node)}", _leave_out
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"opposite: {node.value}", _opposite
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield f"plus one: {node.value}", _plus_one


def _turn_round(node: ast.Compare) -> None:
    node.ops[0] = _OPPOSITES[type(node.ops[0])]()


def _swap(node: ast.BoolOp) -> None:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()


def _negate(node: ast.If | ast.While) -> None:
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _leave_out(node: ast.Expr) -> None:
    node.value = ast.Constant(None)


def _opposite(node: ast.Constant) -> None:
    node.value = not node.value


def _plus_one(node: ast.Constant) -> None:
    assert isinstance(node.value, int)
    node.value += 1


class Laboratory:
    """A copy of the repository in which mutants live for as long as the tests take to notice them."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._copy = copy_repository(place)
        self._slowest = 600.0
        self._contexts: dict[str, dict[int, list[str]]] = {}

    def calibrate(self) -> None:
        """See which test runs which line, and how long all take. Raises :class:`RuntimeError` when one fails."""
        config, data = self._place / "coverage.ini", self._place / "contexts"
        config.write_text(f"[run]\ndata_file = {data}\nsource = {_POOL}\ndynamic_context = test_function\n")
        began = time.monotonic()
        failed = self._fails(_QUICK, through=("coverage", "run", f"--rcfile={config}", "-m"))
        if failed or any(self._fails(tests) for tests in _TESTS):
            raise RuntimeError("the tests fail without any mutant")
        self._slowest = time.monotonic() - began
        measured = CoverageData(str(data))
        measured.read()
        for path in measured.measured_files():
            self._contexts[Path(path).stem] = measured.contexts_by_lineno(path)

    def notices(self, mutant: Mutant) -> bool:
        """Whether a test fails (or does not come to its end) with the mutant; those that run the line go first."""
        original = self._copy / _POOL / f"{mutant.module}.py"
        before = original.read_bytes()
        try:
            original.write_text(mutant.source, encoding="utf-8")
            return any(self._fails(tests) for tests in (self._near(mutant), *_TESTS) if tests)
        finally:
            original.write_bytes(before)

    def _near(self, mutant: Mutant) -> tuple[str, ...]:
        found = self._contexts.get(mutant.module, {}).get(mutant.line, [])
        names = (context.rpartition(".") for context in found if context)
        return tuple(sorted(f"{module.replace('.', '/')}.py::{test}" for module, _, test in names))

    def _fails(self, tests: Sequence[str], through: Sequence[str] = ()) -> bool:
        options = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", f"--timeout={_ONE_TEST:g}")
        argv = [sys.executable, "-m", *through, "pytest", *options, *tests]
        process = subprocess.Popen(
            argv,
            cwd=self._copy,
            env=environment_of(self._copy),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(_PATIENCE * self._slowest) != 0
        except subprocess.TimeoutExpired:
            return True
        finally:
            process.poll() is None and os.killpg(process.pid, 9)
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the mutants, test them, list those who survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", help="of the pool, without .py; default: all")
    parser.add_argument("--every", type=int, default=1, help="take every n-th mutant")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further mutant after so long")
    parser.add_argument("--record", action="store_true", help="append the result to RESULTS.md")
    chosen = parser.parse_args(arguments)
    paths = sorted((REPOSITORY / _POOL).glob("*.py"))
    all_of_them = [each for path in paths if not chosen.module or path.stem in chosen.module for each in mutants(path)]
    with tempfile.TemporaryDirectory(prefix="kina-mutants-") as place:
        tried, survivors = _try(Laboratory(Path(place)), all_of_them[:: chosen.every], chosen.seconds)
    found = f"{len(tried)} of {len(all_of_them)} mutants of the pool, {len(tried) - len(survivors)} noticed."
    lines = [found, "", *(f"* `{each.module}.py:{each.line}` {each.what}" for each in survivors)]
    publish("Mutants", machine_line(), lines, record=chosen.record)
    return 1 if survivors else 0


def _try(laboratory: Laboratory, chosen: Sequence[Mutant], seconds: float) -> tuple[list[Mutant], list[Mutant]]:
    laboratory.calibrate()
    tried, survivors = [], []
    began = time.monotonic()
    for mutant in chosen:
        if time.monotonic() - began > seconds:
            break
        noticed = laboratory.notices(mutant)
        tried.append(mutant)
        if not noticed:
            survivors.append(mutant)
        print(
            f"{'noticed ' if noticed else 'SURVIVED'} {mutant.module}.py:{mutant.line} {mutant.what[:100]!r}",
            flush=True,
        )
    return tried, survivors


if __name__ == "__main__":
    sys.exit(main())
