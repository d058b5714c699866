"""What one process of a test run needs to lease clusters, without knowing pytest.

Nothing is opened, started or imported before the first cluster is asked for: a run without cluster tests costs
nothing and leaves nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina.errors import KinaError, ProviderUnavailableError
from pytest_kina.settings import AUTO, Settings

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster, Kubectl
    from pytest_kina.marks import ClusterRequest
    from pytest_kina.pool import Lease, Pool, Want
    from pytest_kina.providers import Provider
    from pytest_kina.spec import ClusterSpec
    from pytest_kina.timing import TimingEvent, TimingRecorder

_TIDY_SECONDS = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What makes several processes one run: plain values that the xdist controller hands to its workers."""

    run: str
    root: str
    pool_size: int

    @classmethod
    def new(cls, settings: Settings) -> Ticket:
        """A ticket for a new run, with the pool's size settled."""
        return cls(run=os.urandom(8).hex(), root=str(settings.root), pool_size=settings.capacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loan:
    """The clusters of one request while they are leased: handles by name, in the order of the marks."""

    request: ClusterRequest
    leases: Sequence[Lease]
    clusters: Mapping[str, Cluster]

    @property
    def main(self) -> Cluster:
        """The unnamed cluster, else the first one named."""
        return self.clusters.get("") or next(iter(self.clusters.values()))

    def died(self) -> Mapping[str, str]:
        """The clusters of this loan that are of no use any more, by name, each with the reason."""
        return {lease.name: why for lease in self.leases if (why := lease.unhealthy()) is not None}

    def give_back(self) -> None:
        """Release all leases; again is harmless."""
        for lease in self.leases:
            lease.release()


class Run:
    """One process's part in a run: recorder, pool, providers and what they prepared."""

    def __init__(self, settings: Settings, *, worker: str, ticket: Ticket | None = None) -> None:
        self.settings = settings
        self.worker = worker
        self._ticket = ticket
        self.recorder: TimingRecorder | None = None
        self._pool: Pool | None = None
        self._wants: dict[ClusterSpec, Want | Exception] = {}

    @property
    def ticket(self) -> Ticket:
        """What all processes of this run share: handed over, or made at the first call."""
        if self._ticket is None:
            self._ticket = Ticket.new(self.settings)
        return self._ticket

    @property
    def directory(self) -> Path:
        """``runs/<run>`` below the root: timing events and progress. It exists once a process has used clusters."""
        return Path(self.ticket.root) / "runs" / self.ticket.run

    @property
    def used(self) -> bool:
        """True when any process of this run has begun to use clusters."""
        return self._pool is not None or self.directory.exists()

    def pool(self) -> Pool:
        """The pool; opened at the first call. Raises :class:`~pytest_kina.errors.StateError`."""
        if self._pool is None:
            from pytest_kina.pool import Pool, open_root
            from pytest_kina.timing import TimingRecorder

            root = open_root(Path(self.ticket.root))
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self.recorder = TimingRecorder(
                run=self.ticket.run, worker=self.worker, spool=self.directory / f"{self.worker}.jsonl"
            )
            self._pool = Pool(
                root,
                run=self.ticket.run,
                worker=self.worker,
                size=self.ticket.pool_size,
                ttl=self.settings.ttl,
                lease_timeout=self.settings.lease_timeout,
                start_timeout=self.settings.start_timeout,
                recorder=self.recorder,
            )
        return self._pool

    def prepare(self, specs: Iterable[ClusterSpec]) -> None:
        """Obtain all that clusters of these specs need, then tidy the pool for at most two seconds.

        A spec that cannot be prepared is remembered with its error, which its leases raise at once.
        """
        for spec in dict.fromkeys(specs):
            self._prepared(spec)
        if any(not isinstance(want, Exception) for want in self._wants.values()):
            with suppress(KinaError, OSError):  # who leases meets it again, in his own test
                self.attend()
                self.pool().tidy(_TIDY_SECONDS)

    def attend(self) -> None:
        """Take part in the run, so that what it leaves warm meanwhile stays until this process ends."""
        self.pool().attend()

    def lease(self, request: ClusterRequest, *, note: str) -> Loan:
        """Lease all clusters of ``request``, or none. ``note`` says for whom.

        Raises what preparing them raised, and what :meth:`pytest_kina.pool.Pool.lease` raises.
        """
        from pytest_kina.cluster import Cluster

        wants = [self._want(spec) for spec in request.specs]
        leases = self.pool().lease([replace(want, isolation=request.isolation) for want in wants], note=note)
        names = [name for name, _ in request.clusters]
        try:
            clusters = {name: Cluster.open(lease.directory) for name, lease in zip(names, leases, strict=True)}
        except BaseException:
            for lease in leases:
                lease.release()
            raise
        return Loan(request=request, leases=leases, clusters=clusters)

    def kubectl(self, cluster: Cluster) -> Kubectl:
        """``kubectl`` for a leased cluster: from the assets or the store, else what it finds itself."""
        from pytest_kina.binaries import obtain
        from pytest_kina.cluster import Kubectl
        from pytest_kina.errors import BinaryError
        from pytest_kina.progress import silent

        root, assets = Path(self.ticket.root), self.settings.assets
        try:
            found = obtain(cluster.version, ["kubectl"], root=root, offline=True, explicit=assets, progress=silent)
        except BinaryError:
            return Kubectl(cluster)
        return Kubectl(cluster, found.paths["kubectl"])

    def retire(self) -> None:
        """At the end of a run that keeps nothing (TTL 0): delete what its processes left behind. Raises nothing new."""
        if self.settings.ttl == 0 and self.used:
            try:
                self.pool().retire()
            except (KinaError, OSError):  # the tests have their results; the next run deletes what is there
                _log.exception("this run's clusters could not be deleted at its end")

    def twin(self) -> Run:
        """Another run with the same settings, whose events and clusters are not mixed with those of this one."""
        ticket = replace(self.ticket, run=Ticket.new(self.settings).run)
        return Run(self.settings, worker=self.worker, ticket=ticket)

    def close(self) -> None:
        """Leave the pool; what is still leased is free afterwards."""
        if self._pool is not None:
            self._pool.close()

    def _want(self, spec: ClusterSpec) -> Want:
        prepared = self._prepared(spec)
        if isinstance(prepared, Exception):
            raise prepared.with_traceback(None)
        return prepared

    def _prepared(self, spec: ClusterSpec) -> Want | Exception:
        if spec not in self._wants:
            try:
                self._wants[spec] = self._prepare(spec)
            except (KinaError, OSError) as error:
                self._wants[spec] = error
        return self._wants[spec]

    def _prepare(self, spec: ClusterSpec) -> Want:
        from pytest_kina.pool import Want
        from pytest_kina.progress import ProgressFile
        from pytest_kina.spec import fingerprint
        from pytest_kina.timing import Phase

        self.pool()
        assert self.recorder is not None, "opening the pool makes it"
        name = provider_name(spec, self.settings)
        provider = self._provider(name)
        stopwatch = self.recorder.bind(provider=provider.info.name, provider_version=provider.info.version)
        progress = ProgressFile(self.directory, self.worker)
        try:
            with stopwatch.phase(Phase.BINARIES, profile=spec.profile, nodes=spec.simulated_nodes):
                identity = provider.prepare(spec, progress)
        finally:
            progress.done()
        key = fingerprint(spec, provider.info.name, identity)
        return Want(spec=spec, provider_name=name, provider=provider, identity=identity, fingerprint=key)

    def _provider(self, name: str) -> Provider:
        from pytest_kina.providers import find

        chosen = self.settings
        options = {"offline": chosen.offline, "mirror": chosen.mirror, "assets": chosen.assets}
        provider = find(name, {"root": Path(self.ticket.root), **options})
        if why := provider.unavailable():
            raise ProviderUnavailableError(
                f"provider {name!r} cannot run here: {why}", next_step="install what is missing, or use --kina-provider"
            )
        return provider


class Timings:
    """What was measured for one leased cluster, and a stopwatch for phases of the test's own."""

    def __init__(self, run: Run, cluster: Cluster, lease: Lease) -> None:
        self._run = run
        self._cluster = cluster
        self._lease = lease

    @property
    def events(self) -> list[TimingEvent]:
        """All events of this run for the cluster that this process knows of, oldest first."""
        from pytest_kina.timing import read_spool

        spool = self._run.directory / f"{self._run.worker}.jsonl"
        return [event for event in read_spool(spool) if event.cluster == self._cluster.name]

    def measure(self, phase: str) -> AbstractContextManager[None]:
        """Measure a block as ``install`` or ``image_load``, or another :class:`~pytest_kina.timing.Phase`.

        Raises :class:`ValueError` for a name that is no phase.
        """
        from pytest_kina.timing import Phase

        recorder, cluster, lease = self._run.recorder, self._cluster, self._lease
        assert recorder is not None, "there is a cluster, so the pool is open"
        stopwatch = recorder.bind(
            cluster=cluster.name,
            provider=cluster.provider,
            provider_version=lease.want.provider.info.version,
            kubernetes=cluster.version,
            profile=cluster.profile,
            start=lease.start,
        )
        return stopwatch.phase(Phase(phase), nodes=cluster.spec.simulated_nodes)


def slug(test_id: str) -> str:
    """A file name for a test id: readable, and different for different ids."""
    import hashlib
    import re

    digest = hashlib.sha256(test_id.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', test_id)[-100:].strip('-.')}-{digest}"


def provider_name(spec: ClusterSpec, settings: Settings) -> str:
    """The provider for ``spec``: its own, else the run's, where ``auto`` is :data:`AUTO`."""
    name = spec.provider if spec.provider != "auto" else settings.provider
    return AUTO if name == "auto" else name
