"""Leases in a cluster of the user's: each is a label that its namespaces carry; the cluster itself is left alone."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pytest_kina import __version__
from pytest_kina.cluster.namespace import CLUSTER_LABEL
from pytest_kina.errors import ApiError, KinaError, NotReadyError, ProviderUnavailableError, ProvisionError, SpecError
from pytest_kina.files import peek_json, write_atomic, write_json
from pytest_kina.progress import Progress
from pytest_kina.providers import Place, ProviderInfo
from pytest_kina.providers.external.chosen import Chosen
from pytest_kina.providers.external.visit import Visit
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline

_CAPABILITIES = frozenset({"pods", "reset"})
_VISITED = "external.json"
"""What is left in a cluster's directory once its server has been met: the server's identity."""

_SCHEMA = 1
_CHECK_SECONDS = 5.0
_PREPARE_SECONDS = 10.0
_DELETE_SECONDS = 60.0


class ExternalProvider:
    """Namespaces in the cluster of ``context`` in ``kubeconfig``, which ``allow_context`` (a pattern) must match.

    Clusters that exist are used, cleaned and let go without these: their directory has a copy of the kubeconfig.
    Methods: see :class:`~pytest_kina.providers.Provider`.
    """

    def __init__(
        self, *, kubeconfig: Path | None = None, context: str | None = None, allow_context: str | None = None
    ) -> None:
        self._chosen = Chosen(kubeconfig=kubeconfig, context=context, allow_context=allow_context)

    @property
    def info(self) -> ProviderInfo:
        """Name, version and capabilities."""
        return ProviderInfo(name="external", version=__version__, capabilities=_CAPABILITIES)

    def unavailable(self) -> str | None:
        """Why it cannot be used: something was not named, is not there, or is not allowed."""
        try:
            self._chosen.copy("it")
        except ProviderUnavailableError as error:
            return f"{error.message} ({error.next_step})"
        return None

    def validate(self, spec: ClusterSpec) -> None:
        """Refuse options, since nothing of an existing cluster can be set, and a cluster that is not named rightly.

        Reads the kubeconfig. Raises :class:`SpecError` for both: neither would be better at any test's set-up.
        """
        if spec.provider_options:
            names = ", ".join(name for name, _ in spec.provider_options)
            raise SpecError(f"provider_options: the external provider has none, got {names}")
        try:
            self._chosen.copy("it")
        except ProviderUnavailableError as error:
            raise SpecError(f"provider 'external': {error.message}", next_step=error.next_step) from error

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Ask the cluster who it is. Raises :class:`SpecError` when it runs another version than was asked for."""
        progress(f"asking the cluster of context {self._chosen.context}", 0, 0)
        with tempfile.TemporaryDirectory(prefix="kina-external-") as folder:
            path = Path(folder) / "kubeconfig"
            write_atomic(path, self._chosen.copy("it"))
            with Visit(path, str(self._chosen.context), _PREPARE_SECONDS) as visit:
                version, uid = visit.version(), visit.uid()
        _refuse_version(spec.version, version, str(self._chosen.context))
        return {"provider_version": __version__, "kubernetes": version, "uid": uid}

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Copy the kubeconfig, and prove that the cluster is ready and that namespaces can be made and deleted."""
        deadline = Deadline(timeout)
        with _provisioning(place):
            with stopwatch.phase(Phase.CREATE):
                write_atomic(_kubeconfig(place), self._chosen.copy(place.name))
                with _visit(place, deadline) as visit:
                    version = visit.version()
            _refuse_version(spec.version, version, str(self._chosen.context))
            with stopwatch.phase(Phase.STARTUP), _visit(place, deadline) as visit:
                visit.ready()
                _refuse_rights(visit.forbidden(), place)
                write_json(place.directory / _VISITED, _SCHEMA, {"uid": visit.uid()})
            with stopwatch.phase(Phase.KUBECTL_READY), _visit(place, deadline) as visit:
                visit.namespaces(place.name)
            _refuse_late(deadline, place)

    def adopt(self, place: Place) -> None:
        """Nothing to do: the cluster has never been ours."""

    def check(self, place: Place) -> str | None:
        """The cluster answers, and is the one that was met at the beginning."""
        met = peek_json(place.directory / _VISITED, _SCHEMA)
        if met is None:
            return "it has never been visited, or has been let go"
        try:
            with Visit(_kubeconfig(place), place.name, _CHECK_SECONDS) as visit:
                now = visit.uid()
        except (KinaError, OSError) as error:
            return f"its API server cannot be asked: {error}"
        return None if now == met["uid"] else "another cluster has taken its place"

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:  # noqa: ARG002
        """Delete the namespaces that were made for this lease. What was made outside of them stays."""
        with stopwatch.phase(Phase.RESET), _provisioning(place):
            if why := self.check(place):
                raise ProvisionError(f"{place.name} cannot be cleaned: {why}", cluster=place.name)
            with Visit(_kubeconfig(place), place.name, timeout) as visit:
                visit.clean(place.name, timeout)

    def delete(self, place: Place) -> None:
        """Delete the namespaces that were made for this lease, and our copy of the kubeconfig; never the cluster."""
        met = peek_json(place.directory / _VISITED, _SCHEMA)
        if met is not None:
            _refuse_blind(place)
            with _provisioning(place), Visit(_kubeconfig(place), place.name, _CHECK_SECONDS) as visit:
                if visit.uid() == met["uid"]:  # in a new cluster at the same address nothing is ours
                    visit.clean(place.name, _DELETE_SECONDS)
        for name in (_VISITED, "kubeconfig"):  # without the first, nothing is left to do for the second
            (place.directory / name).unlink(missing_ok=True)
        shutil.rmtree(place.directory / "client", ignore_errors=True)

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Those that have met their server and have not been let go."""
        return sorted(path.parent.name for path in clusters.glob(f"*/{_VISITED}"))

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:  # noqa: ARG002 - a guest sees none
        """Nothing: the components' logs are not ours to read."""
        return {}


def _kubeconfig(place: Place) -> Path:
    return place.directory / "kubeconfig"


def _visit(place: Place, deadline: Deadline) -> Visit:
    _refuse_late(deadline, place)
    return Visit(_kubeconfig(place), place.name, max(deadline.remaining, 0.001))


def _refuse_late(deadline: Deadline, place: Place) -> None:
    if deadline.expired:
        raise NotReadyError(
            f"{place.name} was not proven usable within {deadline.seconds:g} s",
            next_step="raise --kina-start-timeout, or look why the API server is slow",
            cluster=place.name,
            rung="the API server answers in time",
            component="kube-apiserver",
        )


def _refuse_version(asked: str, runs: str, context: str) -> None:
    """A minor asks for any of its patches, a patch for itself. Raises :class:`SpecError`."""
    found = re.match(r"v(\d+\.\d+)(\.\d+)?", runs)
    if found is None or asked not in (found[1], found[0][1:]):
        wanted = found[1] if found else runs
        raise SpecError(
            f"version: the cluster of context {context!r} runs Kubernetes {runs}, the test asks for {asked}",
            next_step=f'set version = "{wanted}" in [tool.kina], or use a provider that can choose',
        )


def _refuse_blind(place: Place) -> None:
    if not _kubeconfig(place).exists():
        raise ProvisionError(
            f"the kubeconfig of {place.name} is gone, so nobody knows whether its namespaces are",
            next_step=f"kubectl delete namespaces -l {CLUSTER_LABEL}={place.name}, then remove {place.directory}",
            cluster=place.name,
        )


def _refuse_rights(forbidden: list[str], place: Place) -> None:
    if forbidden:
        raise NotReadyError(
            f"the user of the kubeconfig may not {', '.join(forbidden)} namespaces",
            next_step="grant these verbs on namespaces with a ClusterRole, or use another user",
            cluster=place.name,
            rung="namespaces can be made and deleted",
            component="kube-apiserver",
        )


@contextmanager
def _provisioning(place: Place) -> Iterator[None]:
    """Let every error of the API or the disk say which lease it concerns."""
    try:
        yield
    except (ApiError, ProviderUnavailableError, SpecError) as error:
        raise ProvisionError(error.message, next_step=error.next_step, cluster=place.name) from error
    except OSError as error:
        raise ProvisionError(f"{place.name} could not be written: {error}", cluster=place.name) from error
