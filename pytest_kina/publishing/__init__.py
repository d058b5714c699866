"""The gate's judgement where people look: GitHub's annotations and job summary, JUnit, Prometheus, HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina.files import write_atomic
from pytest_kina.publishing.github import append_summary, commands
from pytest_kina.publishing.junit import properties
from pytest_kina.publishing.prometheus import exposition

if TYPE_CHECKING:
    from pytest_kina.examination import Outcome
    from pytest_kina.settings import Settings

__all__ = ["commands", "exposition", "properties", "publish"]


def publish(outcome: Outcome, settings: Settings, environ: Mapping[str, str], directory: Path) -> list[str]:
    """Write what was asked for, relative to ``directory``.

    Returns lines for the terminal: GitHub's annotations, and what could not be written.
    """
    said = []
    if settings.prometheus is not None:
        said += _tried(directory / settings.prometheus, lambda path: _write(path, exposition(outcome)))
    if settings.html is not None:
        said += _tried(directory / settings.html, lambda path: _write_page(path, outcome), "kina report: ")
    if summary := environ.get("GITHUB_STEP_SUMMARY"):
        said += _tried(Path(summary), lambda path: append_summary(path, outcome, settings.gate))
    if environ.get("GITHUB_ACTIONS") == "true":
        said += commands(outcome.judgement, settings.gate)
    return said


def _tried(path: Path, write: Callable[[Path], None], done: str = "") -> list[str]:
    """Lines for the terminal; when one report cannot be written, the others are written all the same."""
    try:
        write(path)
    except OSError as error:
        return [f"kina: a report could not be written: {path}: {error.strerror or error}"]
    return [f"{done}{path}"] if done else []


def _write_page(path: Path, outcome: Outcome) -> None:
    from pytest_kina.html import page

    _write(path, page(outcome))


def _write(path: Path, text: str) -> None:
    write_atomic(path, text.encode(), mode=0o666)
