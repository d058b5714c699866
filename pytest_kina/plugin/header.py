"""The lines that say where clusters come from."""

from __future__ import annotations

from pathlib import Path

from pytest_kina.run import AUTO, NOT_TAKEN, Run
from pytest_kina.settings import OPTIONS
from pytest_kina.spec import DEFAULT_VERSION


def header_lines(run: Run, *, verbose: bool) -> list[str]:
    """Provider, version, pool and why; with ``verbose`` also the candidates not taken and where settings come from."""
    settings = run.settings
    provider = f"{AUTO} (auto)" if settings.provider == "auto" else settings.provider
    version = settings.project.spec.get("version", DEFAULT_VERSION)
    size = f"at most {counted(run.ticket.pool_size, 'cluster')} ({settings.sources['pool_size']})"
    lines = [f"kina: provider {provider}, Kubernetes {version}, {size}, {settings.root}"]
    lines += _existing(settings.root)
    if verbose:
        if settings.provider == "auto":
            lines += [f"kina: not {name}: {why}" for name, why in NOT_TAKEN.items()]
        named = [(option.name, settings.sources[option.name]) for option in OPTIONS]
        lines += [f"kina: {name} from {source}" for name, source in named if source != "default"]
    return lines


def _existing(root: Path) -> list[str]:
    """How many clusters are there already, by what may be done with them."""
    if not any(root.glob("slots/*.json")):  # the pool is not even imported where there is nothing to tell
        return []
    from collections import Counter

    from pytest_kina.pool import records

    slots = root / "slots"
    found = [record.state.value for number in records.numbers(slots) if (record := records.peek(slots, number))]
    states = ", ".join(f"{number} {state}" for state, number in sorted(Counter(found).items()))
    return [f"kina: {counted(len(found), 'cluster')} there already: {states}"] if found else []


def counted(number: int, noun: str) -> str:
    """``1 cluster``, ``2 clusters``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
