"""The lines that say where clusters come from."""

from __future__ import annotations

from pytest_kina.candidates import likely
from pytest_kina.options import OPTIONS
from pytest_kina.settings import DEFAULT_VERSION, Settings


def header_lines(settings: Settings, *, verbose: bool) -> list[str]:
    """Provider, version, pool and why; with ``verbose`` also the candidates not taken and where settings come from."""
    provider = f"{', else '.join(likely())} (auto)" if settings.provider == "auto" else settings.provider
    version = settings.project.spec.get("version", DEFAULT_VERSION)
    size = f"at most {counted(settings.capacity, 'cluster')} ({settings.sources['pool_size']})"
    lines = [f"kina: provider {provider}, Kubernetes {version}, {size}"]
    if verbose:
        lines.append(f"kina: root {settings.root}")
        if settings.provider == "auto":
            lines += _candidate_lines(settings)
        named = [(option.name, settings.sources[option.name]) for option in OPTIONS]
        lines += [f"kina: {name} from {source}" for name, source in named if source != "default"]
    return lines


def _candidate_lines(settings: Settings) -> list[str]:
    """Who makes a cluster of the default spec, and why those before are not taken; asks the candidates themselves."""
    from pytest_kina.marks import Defaults, default_spec
    from pytest_kina.providers.auto import Auto

    choice = Auto(settings.provider_options).choose(default_spec(Defaults(spec=settings.project.spec)))
    refused = [f"kina: not {name}: {why}" for name, why in choice.refused.items()]
    return [*refused, f"kina: taken {choice.name}" if choice.name else "kina: nobody can make the default cluster here"]


def existing_lines(settings: Settings) -> list[str]:
    """How many clusters are there already, by what may be done with them; nothing when there are none."""
    root = settings.root
    if not any(root.glob("slots/*.json")):  # the pool is not even imported where there is nothing to tell
        return []
    from collections import Counter

    from pytest_kina.pool import records

    found = [record.state.value for record in records.survey(root / "slots").values()]
    states = ", ".join(f"{number} {state}" for state, number in sorted(Counter(found).items()))
    return [f"kina: {counted(len(found), 'cluster')} there already: {states}"] if found else []


def counted(number: int, noun: str) -> str:
    """``1 cluster``, ``2 clusters``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
