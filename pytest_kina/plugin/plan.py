"""What a run would need, for ``--kina-plan``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pytest_kina.marks import ClusterRequest
from pytest_kina.plugin.header import counted, header_lines
from pytest_kina.run import Run
from pytest_kina.spec import ClusterSpec, Isolation


def plan_lines(run: Run, requests: Sequence[ClusterRequest | None], *, verbosity: int) -> list[str]:
    """What a run of these tests would lease: per request the specs and the number of tests, then totals.

    ``requests`` has one entry per test, None for those without clusters. ``verbosity`` is pytest's: what its header
    has said already is not repeated.
    """
    wanted = [request for request in requests if request is not None]
    alone = sum(request is None for request in requests)
    rows = Counter((request.clusters, request.isolation, request.scope) for request in wanted)
    said = header_lines(run.settings, verbose=verbosity > 0) if verbosity >= 0 else []
    lines = [line for line in header_lines(run.settings, verbose=True) if line not in said]
    for (clusters, isolation, scope), tests in rows.items():
        described = " + ".join(_described(name, spec) for name, spec in clusters)
        held = "" if isolation is Isolation.NAMESPACE else f" per {scope}"
        lines.append(f"{counted(tests, 'test')}: {described}; isolation {isolation.value}{held}")
    lines.append(f"{counted(alone, 'test')} without a cluster")
    lines.append(f"expected: {counted(expected_clusters(wanted), 'cluster')} created at most, if none is warm")
    return lines


def expected_clusters(requests: Sequence[ClusterRequest]) -> int:
    """How many clusters one process would create: shared and exclusive ones are used again, fresh ones never."""
    kinds = {kind for request in requests if request.isolation is not Isolation.FRESH for kind in _kinds(request)}
    held = Counter(request for request in requests if request.isolation is Isolation.FRESH)
    return len(kinds) + sum(len(r.clusters) * (1 if r.scope == "module" else tests) for r, tests in held.items())


def _kinds(request: ClusterRequest) -> list[tuple[ClusterSpec, bool, int]]:
    """One entry per cluster; a spec that a test needs twice counts twice."""
    seen: Counter[ClusterSpec] = Counter()
    found = []
    for spec in request.specs:
        seen[spec] += 1
        found.append((spec, request.shared, seen[spec]))
    return found


def _described(name: str, spec: ClusterSpec) -> str:
    gates = [f"{gate}={str(on).lower()}" for gate, on in spec.feature_gates]
    extra = [*gates, *(f"--{flag}={value}" for flag, value in spec.api_server_args)]
    provider = "" if spec.provider == "auto" else f" by {spec.provider}"
    nodes = f" with {counted(spec.simulated_nodes, 'simulated node')}" if spec.simulated_nodes else ""
    text = f"Kubernetes {spec.version} {spec.profile}{nodes}{provider}" + (f" ({', '.join(extra)})" if extra else "")
    return f"{name}: {text}" if name else text
