"""Measure two checkouts in turns, on this machine and now: the only way to see a slowdown of 20 %.

A is the commit of ``--base``, B the files as they are here; each round makes and deletes the project's default cluster
once per side, and every other round begins with B. What a slow moment of the machine does, it does to both.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pytest_kina import _cycle
from pytest_kina.cli.output import say, say_json
from pytest_kina.errors import CommandError, SettingsError, StateError
from pytest_kina.gate import Measurements, compare, comparison_lines, measured, merge
from pytest_kina.gate.comparing import INTERLEAVED
from pytest_kina.process import environment, run_command
from pytest_kina.settings import Settings

HELP = "measure two checkouts in turns and compare them"

_CYCLE_SECONDS = 900.0
_GIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: its name, the checkout, and what its environment has besides the usual."""

    name: str
    directory: Path
    variables: Mapping[str, str] = field(default_factory=dict)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument(
        "--base", metavar="REF", help="the commit, branch or tag for A (default: the files as they are)"
    )
    command.add_argument(
        "--rounds", type=int, default=10, metavar="N", help="cycles per side, at least 5 (default: 10)"
    )
    for side in ("base", "head"):
        command.add_argument(
            f"--{side}-env",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"an environment variable of side {'A' if side == 'base' else 'B'} only, like another PATH",
        )


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the comparison; 1 when B is slower. Raises StateError when a cycle of either side cannot be measured."""
    if chosen.rounds < 5:
        raise SettingsError(f"--rounds {chosen.rounds}: fewer than 5 can never show anything", next_step="raise it")
    if chosen.base is None and chosen.base_env == chosen.head_env:
        raise SettingsError("both sides are the same", next_step="name --base REF, or --base-env and --head-env")
    here = Path.cwd()
    with _checkout(here, chosen.base) as base:
        common = {"KINA_HOME": str(settings.root)}
        sides = (
            Side(name="A", directory=base, variables=common | _variables(chosen.base_env)),
            Side(name="B", directory=here, variables=common | _variables(chosen.head_env)),
        )
        base_run, head_run = interleaved(sides, chosen.rounds)
    comparison = compare(base_run, head_run, ratio=INTERLEAVED)
    if not comparison.pairs:
        raise StateError("no cycle of A and B can be compared", next_step="look at [tool.kina] of both sides")
    (say_json(comparison.to_json()) if chosen.json else say(comparison_lines(comparison)))
    return 1 if comparison.slower else 0


def interleaved(sides: Sequence[Side], rounds: int) -> list[Measurements]:
    """What each side measured in so many rounds. Raises :class:`StateError` at the first cycle that fails."""
    found: dict[str, list[Measurements]] = {side.name: [] for side in sides}
    for side in sides:
        # Not counted: the first cluster of a kind leaves the template that all others start from.
        sys.stderr.write(f"before the first round: {side.name}\n")
        _measure(side)
    for number in range(rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            sys.stderr.write(f"round {number + 1} of {rounds}: {side.name}\n")
            found[side.name].append(_measure(side))
    return [merge(found[side.name]) for side in sides]


def _measure(side: Side) -> Measurements:
    passed = [name for name in os.environ if name.startswith("KINA_")]
    own = [str(side.directory)] if (side.directory / "pytest_kina").is_dir() else []
    path = os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH", "")])])
    env = environment({"PYTHONPATH": path, **side.variables}, also=passed)
    try:
        done = run_command([sys.executable, "-P", _cycle.__file__], timeout=_CYCLE_SECONDS, env=env, cwd=side.directory)
        document = json.loads(done.stdout)
    except (CommandError, ValueError) as error:
        raise StateError(
            f"a cycle of {side.name} in {side.directory} failed: {error}",
            next_step="make the default cluster of that checkout with `pytest-kina up` first",
        ) from error
    return measured(document, place=f"the cycle of {side.name}")


def _variables(pairs: Sequence[str]) -> dict[str, str]:
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise SettingsError(f"expected NAME=VALUE, got {pair!r}", next_step="write it like KINA_PROVIDER=embedded")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


@contextmanager
def _checkout(here: Path, ref: str | None) -> Iterator[Path]:
    """The files of ``ref`` in a temporary git worktree, below which the same subdirectory; ``here`` without a ref."""
    if ref is None:
        yield here
        return
    try:
        top = Path(_git(here, "rev-parse", "--show-toplevel"))
        commit = _git(here, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
    except CommandError as error:
        raise SettingsError(f"--base {ref}: {error}", next_step="name a commit of this git repository") from error
    with tempfile.TemporaryDirectory(prefix="kina-ab-") as temporary:
        tree = Path(temporary) / "base"
        _git(here, "worktree", "add", "--detach", str(tree), commit)
        try:
            yield tree / here.resolve().relative_to(top.resolve())
        finally:
            with suppress(CommandError):  # the directory goes anyway; `git worktree prune` forgets it
                _git(here, "worktree", "remove", "--force", str(tree))


def _git(directory: Path, *arguments: str) -> str:
    return run_command(["git", "-C", directory, *arguments], timeout=_GIT_SECONDS).stdout.strip()
