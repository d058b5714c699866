"""Writes the tables of docs/providers.md from the code and what was recorded: ``python -m tests.contract.tables``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from pytest_kina.capabilities import CAPABILITIES
from pytest_kina.providers import _OWN, find
from pytest_kina.testing import ProviderConformance, checks
from tests.contract.record import DATA

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
PROVIDERS = tuple(_OWN)
ONLY_WITH = {"test_reset": "reset", "test_reset_absent": "reset", "test_images": "images"}
"""Checks of what a provider need not be able to do: only who claims the capability may not skip them."""


def capabilities() -> str:
    """Which provider claims what, on Linux."""
    with mock.patch.object(sys, "platform", "linux"):
        claims = {name: find(name).info.capabilities for name in PROVIDERS}
    rows = [f"| Capability | Means | {' | '.join(PROVIDERS)} |", "|---|---|" + "---|" * len(PROVIDERS)]
    for capability, means in CAPABILITIES.items():
        marks = " | ".join("yes" if capability in claims[name] else "" for name in PROVIDERS)
        rows.append(f"| `{capability}` | {means} | {marks} |")
    return "\n".join(rows)


def conformance() -> str:
    """What the suite checks, in its own words, and what came of it for each provider when it was recorded."""
    known = recorded()
    rows = [f"| Check | What must be true | {' | '.join(PROVIDERS)} |", "|---|---|" + "---|" * len(PROVIDERS)]
    for name in checks():
        cells = " | ".join(_outcome(known, provider, name) for provider in PROVIDERS)
        rows.append(f"| `{name}` | {_told(name)} | {cells} |")
    return "\n".join([*rows, "", *_circumstances(known), "", *_reasons(known)])


def recorded() -> dict[str, Any]:
    """What ``tests.contract.record`` wrote, by provider."""
    providers: dict[str, Any] = json.loads(DATA.read_text())["providers"]
    return providers


def _outcome(known: Mapping[str, Any], provider: str, check: str) -> str:
    found = known.get(provider, {"checks": {}})["checks"].get(check, {"outcome": "not run"})
    return str(found["outcome"])


def _circumstances(known: Mapping[str, Any]) -> Iterator[str]:
    ran: dict[str, list[str]] = {}
    for provider in PROVIDERS:
        if run := known.get(provider):
            text = f"on {run['date']} with pytest-kina {run['version']} on {run['system']}, against {run['against']}"
            ran.setdefault(text, []).append(f"`{provider}`")
    yield from (f"Recorded {text}: {', '.join(names)}." for text, names in ran.items())


def _reasons(known: Mapping[str, Any]) -> Iterator[str]:
    """Why a check was skipped or failed, equal reasons once."""
    checks_by_reason: dict[str, list[str]] = {}
    for provider in PROVIDERS:
        for check, found in known.get(provider, {"checks": {}})["checks"].items():
            if found["outcome"] != "passed":
                reason = re.sub(r"'(.*?)'", r"`\1`", found["why"])
                checks_by_reason.setdefault(f"{found['outcome']}, because {reason}", []).append(f"`{check}`")
    yield from (f"* {', '.join(names)} {reason}." for reason, names in checks_by_reason.items())


def page(text: str) -> str:
    """``text`` with both tables as they should be."""
    for name, table in (("capabilities", capabilities()), ("checks", conformance())):
        text = re.sub(
            rf"<!-- {name} -->\n.*?<!-- end -->", f"<!-- {name} -->\n{table}\n<!-- end -->", text, flags=re.DOTALL
        )
    return text


def _told(name: str) -> str:
    return re.sub(r"``(.*?)``", r"`\1`", str(getattr(ProviderConformance, name).__doc__))


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
