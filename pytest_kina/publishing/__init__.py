"""The gate's judgement where people look: GitHub's annotations and job summary, JUnit, Prometheus, HTML."""

from __future__ import annotations

from collections.abc import Mapping
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
    try:
        if settings.prometheus is not None:
            _write(directory / settings.prometheus, exposition(outcome))
        if settings.html is not None:
            from pytest_kina.html import page

            _write(directory / settings.html, page(outcome))
            said.append(f"kina report: {directory / settings.html}")
        if environ.get("GITHUB_STEP_SUMMARY"):
            append_summary(Path(environ["GITHUB_STEP_SUMMARY"]), outcome, settings.gate)
    except OSError as error:
        said.append(f"kina: a report could not be written: {error}")
    if environ.get("GITHUB_ACTIONS") == "true":
        said += commands(outcome.judgement, settings.gate)
    return said


def _write(path: Path, text: str) -> None:
    write_atomic(path, text.encode(), mode=0o666)
