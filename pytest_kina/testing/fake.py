"""A provider without any process, for tests of everything that is built on providers.

``--kina-provider=pytest_kina.testing:FakeProvider`` makes a whole pytest run use it. A cluster is the file ``backend``
in its directory, plus a kubeconfig that leads nowhere. The environment variable ``KINA_FAKE`` may name a JSON file
that every process of the run reads at each call:

    {"calls": "/path/to/calls.jsonl",           # default: the JSON file's own name with ".calls" appended
     "capabilities": ["reset", "versions"],      # default: all that there are
     "delays": {"create": 0.5, "startup": 0.1},  # seconds; also kubectl_ready, reset, delete, prepare, check
     "failures": {"create": "boom",              # every call fails with this text
                  "reset": {"text": "boom", "times": 2}}}   # only the first two calls

Without ``KINA_FAKE`` the calls are counted in ``<root>/fake.calls`` (``prepare`` has no root and is not counted then).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_kina.capabilities import CAPABILITIES
from pytest_kina.errors import BinaryError, KinaError, ProvisionError, SpecError
from pytest_kina.files import append_line, peek_json, write_atomic, write_json
from pytest_kina.progress import Progress
from pytest_kina.providers import Place, ProviderInfo
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline

ENVIRONMENT = "KINA_FAKE"
CALLS = "fake.calls"
_BACKEND = "backend"
_VERSIONS = {"1.34": "v1.34.4", "1.35": "v1.35.4", "1.36": "v1.36.3"}


class FakeProvider:
    """Makes clusters that are files; implements :class:`pytest_kina.providers.Provider`."""

    @property
    def info(self) -> ProviderInfo:
        """``fake``, version 1.0; it claims every capability, unless it is ordered to claim others.

        It says that its clusters are supervised, although nobody does: no process outlives a test.
        """
        claimed = _orders().get("capabilities", CAPABILITIES)
        return ProviderInfo(name="fake", version="1.0", capabilities=frozenset(claimed), supervised=True)

    def unavailable(self) -> str | None:
        """Why it cannot run: only when ``failures`` has a text for ``unavailable``."""
        return _failure("unavailable", _calls_file(None))

    def validate(self, spec: ClusterSpec) -> None:
        """Accept what some Kubernetes 1 could be. Raises :class:`SpecError` for another major version, and options."""
        if spec.provider_options:
            raise SpecError(f"provider_options: the fake provider has none, got {dict(spec.provider_options)}")
        if not spec.version.startswith("1."):
            raise SpecError(f"version: there is no Kubernetes {spec.version}", next_step=f"use {', '.join(_VERSIONS)}")

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Resolve the version from a small table; a patch version stands for itself.

        Raises :class:`BinaryError` for a minor version that is not in the table, or when a failure is injected.
        """
        progress("preparing nothing", 1, 1)
        with _call("prepare", None, BinaryError, spec.version):
            time.sleep(_delay("prepare"))
            minor = ".".join(spec.version.split(".")[:2])
            if minor not in _VERSIONS:
                raise BinaryError(
                    f"the fake provider has no Kubernetes {spec.version}", next_step=f"use {', '.join(_VERSIONS)}"
                )
        resolved = _VERSIONS[minor] if spec.version == minor else f"v{spec.version}"
        return {"kubernetes": resolved, "provider_version": self.info.version}

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Write the backend, half first, then clean; a failing create leaves the half."""
        deadline = Deadline(timeout)
        with stopwatch.phase(Phase.CREATE):
            _write_backend(place, "half", spec, generation=0)
            with _call("create", place, ProvisionError):
                _in_time("create", timeout)
        for phase in (Phase.STARTUP, Phase.KUBECTL_READY):
            with stopwatch.phase(phase):
                time.sleep(_delay(phase.value))
        if deadline.expired:
            raise ProvisionError(f"creating {place.name} was not finished after {timeout:g} s", cluster=place.name)
        _finish(place, spec, generation=0)

    def adopt(self, place: Place) -> None:
        """Count the call; there is no process that could outlive another."""
        with _call("adopt", place, ProvisionError):
            pass

    def check(self, place: Place) -> str | None:
        """Why the cluster is not fit: no backend, half a backend, or an injected failure."""
        try:
            with _call("check", place, ProvisionError):
                time.sleep(_delay("check"))
        except ProvisionError as error:
            return error.message
        state = backend_state(place.directory)
        return f"the backend of {place.name} is {state or 'missing'}" if state in (None, "half") else None

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Make the backend clean again, with another token in the kubeconfig. Raises when there is no backend."""
        with stopwatch.phase(Phase.RESET):
            before = peek_json(place.directory / _BACKEND, 1)
            if before is None:
                raise ProvisionError(f"there is no backend of {place.name} to reset", cluster=place.name)
            generation = before["generation"] + 1
            _write_backend(place, "half", spec, generation)
            with _call("reset", place, ProvisionError):
                _in_time("reset", timeout)
            _finish(place, spec, generation)

    def load_image(self, place: Place, archive: Path, timeout: float) -> None:
        """Note the archive's name in the backend. Raises :class:`ProvisionError` without a backend or an archive."""
        with _call("load_image", place, ProvisionError):
            _in_time("load_image", timeout)
            backend = peek_json(place.directory / _BACKEND, 1)
            if backend is None or not archive.is_file():
                raise ProvisionError(f"cannot load {archive} into {place.name}", cluster=place.name)
            images = sorted({*backend.get("images", ()), archive.name})
            write_json(place.directory / _BACKEND, 1, backend | {"images": images})

    def delete(self, place: Place) -> None:
        """Remove the backend; absent is success."""
        with _call("delete", place, ProvisionError):
            time.sleep(_delay("delete"))
        with contextlib.suppress(NotADirectoryError):
            for name in ("kubeconfig", _BACKEND):
                (place.directory / name).unlink(missing_ok=True)

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Names of the directories that hold a backend."""
        return sorted(backend.parent.name for backend in clusters.glob(f"*/{_BACKEND}"))

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """One log: what was done to this cluster."""
        mine = [call["action"] for call in _called(_calls_file(place)) if call["cluster"] == place.name]
        return {"fake": "\n".join(mine[-lines:])}


def backend_state(directory: Path) -> str | None:
    """``half``, ``clean`` or ``used by <user>`` of the cluster in ``directory``; None when it has no backend."""
    backend = peek_json(directory / _BACKEND, 1)
    return None if backend is None else str(backend["state"])


def use_backend(directory: Path, user: str) -> str:
    """Leave the traces of ``user`` in the cluster; returns the state found before.

    Raises :class:`FileNotFoundError` when the cluster has no backend.
    """
    backend = peek_json(directory / _BACKEND, 1)
    if backend is None:
        raise FileNotFoundError(directory / _BACKEND)
    write_json(directory / _BACKEND, 1, backend | {"state": f"used by {user}"})
    return str(backend["state"])


def read_calls(path: Path) -> list[dict[str, Any]]:
    """All calls so far, oldest first: ``{"action", "cluster", "pid", "id"}``; a missing file means none."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


def _write_backend(place: Place, state: str, spec: ClusterSpec, generation: int) -> None:
    write_json(
        place.directory / _BACKEND,
        1,
        {"name": place.name, "state": state, "generation": generation, "spec": spec.to_json()},
    )


def _finish(place: Place, spec: ClusterSpec, generation: int) -> None:
    user = {"name": "kina-admin", "user": {"token": secrets.token_hex(8)}}
    context = {"name": place.name, "context": {"cluster": place.name, "user": "kina-admin"}}
    server = {"name": place.name, "cluster": {"server": "https://127.0.0.1:9"}}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [server],
        "users": [user],
        "contexts": [context],
        "current-context": place.name,
    }
    write_atomic(place.directory / "kubeconfig", json.dumps(document).encode())
    _write_backend(place, "clean", spec, generation)


def _orders() -> dict[str, Any]:
    path = os.environ.get(ENVIRONMENT)
    orders: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return orders


def _calls_file(place: Place | None) -> Path | None:
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(_orders().get("calls", f"{named}.calls"))
    return place.directory.parent.parent / CALLS if place else None


def _delay(action: str) -> float:
    return float(_orders().get("delays", {}).get(action, 0.0))


def _in_time(action: str, timeout: float) -> None:
    delay = _delay(action)
    time.sleep(min(delay, timeout))
    if delay > timeout:
        raise ProvisionError(f"{action} was not finished after {timeout:g} s")


@contextlib.contextmanager
def _call(action: str, place: Place | None, kind: type[KinaError], subject: str = "") -> Iterator[None]:
    cluster = place.name if place else subject
    calls = _calls_file(place)
    if calls is not None:
        call = {"action": action, "cluster": cluster, "pid": os.getpid(), "id": secrets.token_hex(8)}
        append_line(calls, json.dumps(call))
    yield
    if (text := _failure(action, calls)) is not None:
        raise kind(text, cluster=cluster)


def _called(calls: Path | None) -> list[dict[str, Any]]:
    return read_calls(calls) if calls else []


def _failure(action: str, calls: Path | None) -> str | None:
    order = _orders().get("failures", {}).get(action)
    if not isinstance(order, dict):
        return None if order is None else str(order)
    happened = sum(call["action"] == action for call in _called(calls))
    return str(order["text"]) if happened <= order["times"] else None
