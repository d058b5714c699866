"""The embedded provider: the real control plane as processes of this machine, no container engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from pytest_kina import __version__
from pytest_kina._supervisor import SCHEMA
from pytest_kina.errors import NotReadyError, ProvisionError, SpecError
from pytest_kina.files import peek_json
from pytest_kina.progress import Progress, silent
from pytest_kina.providers import Place, ProviderInfo
from pytest_kina.providers.embedded import components, credentials, processes
from pytest_kina.providers.embedded.assets import Programs, Source, recall
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.link import Link, LinkBroken, describe_exit, reap
from pytest_kina.providers.embedded.logs import tail
from pytest_kina.providers.embedded.start import Start
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline, Probe

_CAPABILITIES = frozenset({"api_server_args", "feature_gates", "profiles", "reset", "simulated_nodes", "versions"})
_CHECK_SECONDS = 2.0
_ADOPT_SECONDS = 5.0
_STOP_SECONDS = 2.0
_KILL_SECONDS = 5.0
_SUPERVISOR_LINES = 20

_links: dict[str, Link] = {}
"""Clusters that this process has started and that nobody has adopted yet, by name; shared by all provider objects."""


class EmbeddedProvider:
    """Clusters of etcd and kube-apiserver, and in the profile ``workloads`` the rest of a control plane and kwok.

    ``root`` (the state directory), ``offline``, ``mirror`` and ``assets`` (directories) say where binaries may come
    from; without them the environment's ``KINA_HOME``, ``KINA_OFFLINE``, ``KINA_MIRROR`` and ``KINA_ASSETS`` do.
    Methods: see :class:`~pytest_kina.providers.Provider`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        offline: bool | None = None,
        mirror: str | None = None,
        assets: Sequence[Path] = (),
    ) -> None:
        self._source = Source(root, offline, mirror, tuple(assets))
        self._obtained: dict[tuple[str, str], Programs] = {}

    @property
    def info(self) -> ProviderInfo:
        """Name, version and capabilities."""
        return ProviderInfo(name="embedded", version=__version__, capabilities=_CAPABILITIES)

    def unavailable(self) -> str | None:
        """Why it cannot run here: the platform, or a missing extra."""
        if sys.platform not in {"linux", "darwin"}:
            return f"the embedded provider runs on Linux and macOS, not on {sys.platform}"
        missing = [name for name in ("cryptography", "psutil") if find_spec(name) is None]
        if missing:
            return f"{' and '.join(missing)} cannot be imported: pip install 'pytest-kina[embedded]'"
        return None

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Obtain the binaries. Raises :class:`SpecError` for a spec that no cluster can fulfil."""
        _validate(spec)
        return {"provider_version": __version__, **self._programs(spec, progress).identity()}

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Start the cluster in the place's directory and prove it ready."""
        _validate(spec)
        programs = self._programs(spec, silent)
        with _starting(place):
            programs.remember(Layout(place.directory))
            with stopwatch.phase(Phase.CREATE):
                start = _begin(spec, place, programs.paths, timeout)
                start.launch()
            with stopwatch.phase(Phase.STARTUP):
                start.settle()
            with stopwatch.phase(Phase.KUBECTL_READY):
                start.prove_access()

    def adopt(self, place: Place) -> None:
        """Tell the supervisor to outlive this process; nothing to do for a cluster that was adopted before."""
        if link := _links.pop(place.name, None):
            try:
                link.adopt(Deadline(_ADOPT_SECONDS))
            except LinkBroken as error:
                raise ProvisionError(
                    f"cluster {place.name} could not be adopted: {error}", cluster=place.name
                ) from error
            finally:
                link.close()

    def check(self, place: Place) -> str | None:
        """Supervisor alive, no component gone, ``/readyz`` answered over mutual TLS by the cluster's own server."""
        layout = Layout(place.directory)
        if died := peek_json(layout.died, SCHEMA):
            return f"{died['component']} {describe_exit(died['code'], died['signal'])}"
        if processes.supervisor(layout.identity, place.name) is None:
            return "its supervisor is not running"
        try:
            return _unready(layout)
        except (OSError, ValueError) as error:
            return f"its API server cannot be asked: {error}"

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Kill everything, forget all data and keys, and start anew with the same binaries, on other ports."""
        programs = recall(Layout(place.directory), place.name)
        with stopwatch.phase(Phase.RESET):
            _end(place)
            with _starting(place):
                start = _begin(spec, place, programs, timeout)
                start.launch()
                start.settle()
                start.prove_access()

    def delete(self, place: Place) -> None:
        """End the supervisor and every process that carries the cluster's mark; the directory stays for its owner."""
        _end(place)
        try:
            Layout(place.directory).wipe()
        except OSError as error:
            raise ProvisionError(
                f"cluster {place.name} has ended, but its files in {place.directory} cannot be removed: {error}",
                next_step="make the directory writable, then remove it",
                cluster=place.name,
            ) from error

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Clusters with a directory in ``clusters``, and those of the same pool with processes only."""
        directories = {entry.name for entry in clusters.iterdir() if entry.is_dir()} if clusters.is_dir() else set()
        pool = (peek_json(clusters.parent / "pool.json", sys.maxsize) or {}).get("id")
        alive = {name for name in processes.marked().values() if pool and name.startswith(f"kina-{pool}-")}
        return sorted(directories | alive)

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """The end of each component's log, by component."""
        found = {path.stem: tail(path, lines) for path in sorted(Layout(place.directory).logs.glob("*.log"))}
        return {component: text for component, text in found.items() if text}

    def _programs(self, spec: ClusterSpec, progress: Progress) -> Programs:
        key = (spec.version, spec.profile)
        if key not in self._obtained:
            self._obtained[key] = self._source.obtain(spec, progress)
        return self._obtained[key]


def _validate(spec: ClusterSpec) -> None:
    if spec.profile not in components.PROFILES:
        raise SpecError(f"profile {spec.profile!r} is not known; expected one of {', '.join(components.PROFILES)}")
    if spec.profile == "api" and spec.simulated_nodes:
        raise SpecError(
            f"simulated_nodes={spec.simulated_nodes} contradicts profile='api', which runs neither nodes nor pods",
            next_step="use profile='workloads', or simulated_nodes=0",
        )
    components.api_server(spec, Layout(Path()), 0, 0)


def _begin(spec: ClusterSpec, place: Place, programs: Mapping[str, Path], timeout: float) -> Start:
    start = Start(spec, place, programs, timeout)
    _links[place.name] = start.link
    return start


@contextmanager
def _starting(place: Place) -> Iterator[None]:
    """Whatever goes wrong in the block: nothing that it started is left, and the error says what happened."""
    try:
        yield
    except BaseException as error:
        _end(place)
        if isinstance(error, LinkBroken):
            said = tail(Layout(place.directory).log("supervisor"), _SUPERVISOR_LINES)
            raise NotReadyError(
                f"cluster {place.name} could not be started: {error}"
                + (f"\nThe supervisor said:\n{said}" if said else ""),
                next_step="free what is short (ports, processes, memory, disk); nothing of this start is left running",
                cluster=place.name,
                rung="the supervisor works",
                component="supervisor",
            ) from error
        if isinstance(error, OSError):
            raise ProvisionError(
                f"cluster {place.name} could not be started in {place.directory}: {error}",
                next_step="check that the disk has room and that the directory is yours",
                cluster=place.name,
            ) from error
        raise


def _end(place: Place) -> None:
    """Nothing of the cluster runs any more. Raises :class:`ProvisionError` when something could not be ended."""
    layout = Layout(place.directory)
    if link := _links.pop(place.name, None):
        link.close()
    pid = processes.supervisor(layout.identity, place.name)
    with suppress(OSError):  # no directory, or no room: the signal below says the same
        layout.stop.touch(mode=0o600)
    if pid is not None:
        processes.terminate(pid, place.name, _STOP_SECONDS)
    left = processes.kill_marked(place.name, _KILL_SECONDS)
    reap()
    if left:
        raise ProvisionError(
            f"cluster {place.name}: processes {left} still run {_KILL_SECONDS:g} s after SIGKILL",
            next_step="look at them with ps; they wait for the kernel, most likely for a disk",
            cluster=place.name,
        )


def _unready(layout: Layout) -> str | None:
    port = credentials.api_port(layout.kubeconfig)
    pki = layout.pki
    certificate = pki / f"{credentials.ADMIN}.pem"
    probe = Probe("127.0.0.1", port, ca=pki / "serving-ca.crt", certificate=certificate, timeout=_CHECK_SECONDS)
    with closing(probe):
        status, body = probe.get("/readyz")
    return None if status == 200 else f"/readyz was answered with {status}: {body.decode(errors='replace').strip()}"
