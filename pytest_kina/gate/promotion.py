"""Which runs become part of the baseline: complete, green runs of the default branch, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_kina.errors import CommandError
from pytest_kina.gate.measurements import Measurements
from pytest_kina.gate.verdicts import Judgement
from pytest_kina.process import run_command

_GIT_SECONDS = 5.0
_USUAL = ("main", "master", "trunk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Whether the run is stored, whether later runs are compared with it, and why in words."""

    store: bool
    accepted: bool
    why: str


def promotion(run: Measurements, judgement: Judgement, *, green: bool, default_branch: bool) -> Promotion:
    """What to do with a run. ``green``: its tests passed. A regressed run is stored and not accepted."""
    obstacles = {
        "the run is incomplete": bool(run.incomplete),
        "it measured nothing": not run.series,
        "its tests did not pass": not green,
        "it is not a run of the default branch": not default_branch,
    }
    if reasons := [why for why, holds in obstacles.items() if holds]:
        return Promotion(store=False, accepted=False, why=f"not stored: {', '.join(reasons)}")
    if judgement.candidates:
        return Promotion(store=True, accepted=False, why=f"stored, not accepted: {', '.join(judgement.candidates)}")
    return Promotion(store=True, accepted=True, why="stored and accepted: complete, green, default branch")


def on_default_branch(run: Measurements, environ: Mapping[str, str], directory: Path) -> bool:
    """Whether the run is one of the default branch: by GitHub's variables, else by the checkout in ``directory``.

    A pull request never is. Without ``origin/HEAD``, ``main``, ``master`` and ``trunk`` count as default branches.
    """
    if environ.get("GITHUB_ACTIONS") == "true":
        event, kind, name = (environ.get(f"GITHUB_{key}", "") for key in ("EVENT_NAME", "REF_TYPE", "REF_NAME"))
        return kind == "branch" and not event.startswith("pull_request") and name in _default(directory)
    return run.branch in _default(directory)


def _default(directory: Path) -> tuple[str, ...]:
    argv = ["git", "-C", str(directory), "symbolic-ref", "--short", "refs/remotes/origin/HEAD"]
    try:
        return (run_command(argv, timeout=_GIT_SECONDS).stdout.strip().removeprefix("origin/"),)
    except CommandError:
        return _USUAL
