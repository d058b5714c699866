"""The lines that say where clusters come from."""

from __future__ import annotations

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
    if verbose:
        if settings.provider == "auto":
            lines += [f"kina: not {name}: {why}" for name, why in NOT_TAKEN.items()]
        named = [(option.name, settings.sources[option.name]) for option in OPTIONS]
        lines += [f"kina: {name} from {source}" for name, source in named if source != "default"]
    return lines


def counted(number: int, noun: str) -> str:
    """``1 cluster``, ``2 clusters``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
