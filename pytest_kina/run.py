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
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_kina.errors import BinaryError, KinaError, ProviderUnavailableError, ProvisionError, StateError
from pytest_kina.settings import Settings

if TYPE_CHECKING:
    from pytest_kina.cluster import Cluster, Kubectl
    from pytest_kina.doctor import Finding
    from pytest_kina.marks import ClusterRequest
    from pytest_kina.pool import Lease, Pool, Want
    from pytest_kina.providers import Provider
    from pytest_kina.providers.auto import Auto
    from pytest_kina.spares import Spares
    from pytest_kina.spec import ClusterSpec, Isolation
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
        self.said: list[str] = []
        """What tidying found and did, and what could not be deleted, in sentences."""
        self._spares: Spares | None = None
        self._providers: dict[str, Provider] = {}
        self._wants: dict[ClusterSpec, Want | Exception] = {}
        self._found_bad: Sequence[Finding] | None = None

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

    def unmet(self, spec: ClusterSpec) -> str | None:
        """One line that says which of the spec's ``needs`` cannot be met here, and why; None when all can."""
        if not spec.needs:
            return None
        if (provider := self._named(spec)) is None:
            choice = self._auto.choose(spec)
            return None if choice.name else f"needs {', '.join(spec.needs)}; {choice.reasons}"
        missing = sorted(set(spec.needs) - provider.info.capabilities)
        return f"needs {', '.join(missing)}; provider {provider.info.name} has not" if missing else None

    def validate(self, spec: ClusterSpec, isolation: Isolation) -> None:
        """Let the spec's provider say whether there can be such a cluster, without opening or starting anything.

        With ``auto`` it is refused when all candidates that can run here refuse it; where none can, the tests say so at
        set-up. Raises :class:`~pytest_kina.errors.SpecError`, and
        :class:`~pytest_kina.errors.ProviderUnavailableError` for a provider that does not exist.
        """
        from pytest_kina.capabilities import refuse_unable

        if (provider := self._named(spec)) is not None:
            refuse_unable(provider.info.name, provider.info.capabilities, spec, isolation)
            provider.validate(spec)
        else:
            self._auto.choose(spec).refuse()

    def _named(self, spec: ClusterSpec) -> Provider | None:
        """The provider that the spec or the settings name; None for ``auto``."""
        name = spec.provider if spec.provider != "auto" else self.settings.provider
        if name == "auto":
            return None
        try:
            return self._provider(name)
        except ProviderUnavailableError as error:
            place = self.settings.sources["provider"] if spec.provider == "auto" else "provider"
            raise ProviderUnavailableError(f"{place}: {error.message}", next_step=error.next_step) from error

    def prepare(
        self, specs: Iterable[ClusterSpec], needed_by: Mapping[ClusterSpec, Sequence[str]] = MappingProxyType({})
    ) -> None:
        """Obtain all that clusters of these specs need, then tidy the pool for at most two seconds.

        A spec that cannot be prepared is remembered with its error, which its leases raise at once, and which names
        the tests of ``needed_by``.
        """
        for spec in dict.fromkeys(specs):
            if isinstance(error := self._prepared(spec), KinaError) and (tests := needed_by.get(spec)):
                error.message += f"\nNeeded by {few(tests)}."
        if any(not isinstance(want, Exception) for want in self._wants.values()):
            with suppress(KinaError, OSError):  # who leases meets it again, in his own test
                self.attend()
                self.said += self.pool().tidy(_TIDY_SECONDS)

    def attend(self) -> None:
        """Take part in the run, so that what it leaves warm meanwhile stays until this process ends."""
        self.pool().attend()

    def lease(self, request: ClusterRequest, *, note: str) -> Loan:
        """Lease all clusters of ``request``, or none. ``note`` says for whom.

        Raises what preparing them raised, and what :meth:`pytest_kina.pool.Pool.lease` raises. When the machine lacks
        something that clusters need, the error says what.
        """
        try:
            return self._lease(request, note)
        except (ProvisionError, StateError, BinaryError, ProviderUnavailableError) as error:
            new = [each.sentence() for each in self._complaints() if each.what not in error.message]
            error.explain("\n  ".join(["`pytest-kina doctor` finds:", *new]) if new else "")
            raise

    def prewarm(self, requests: Iterable[ClusterRequest]) -> None:
        """Let a process in the background make the clusters of ``requests`` that are not READY yet."""
        self._order([want for request in requests for want in self._wants_of(request)], count=1)

    def _wants_of(self, request: ClusterRequest) -> list[Want]:
        """What can be asked for; specs that cannot be prepared are left to the tests that need them."""
        prepared = [self._prepared(spec) for spec in request.specs]
        return [replace(want, isolation=request.isolation) for want in prepared if not isinstance(want, Exception)]

    def _order(self, wants: Iterable[Want], count: int) -> None:
        from pytest_kina.spares import Limits, Spares

        pool, ticket = self.pool(), self.ticket
        self._spares = self._spares or Spares(self.directory / "spares.log")
        limits = Limits(
            root=ticket.root,
            run=ticket.run,
            size=ticket.pool_size,
            ttl=self.settings.ttl,
            start_timeout=self.settings.start_timeout,
        )
        for want in {(want.fingerprint, want.shared): want for want in wants}.values():
            if pool.ready(want) < count:
                with suppress(OSError):  # nobody can make it ahead; then it is made when it is needed
                    self._spares.order(limits, want, count, self.settings.provider_options)

    def _lease(self, request: ClusterRequest, note: str) -> Loan:
        from pytest_kina.cluster import Cluster

        wants = [replace(self._want(spec), isolation=request.isolation) for spec in request.specs]
        leases = self.pool().lease(wants, note=note)
        if self.settings.spares and not request.shared:
            self._order(wants, count=self.settings.spares)
        names = [name for name, _ in request.clusters]
        try:
            clusters = {name: Cluster.open(lease.directory) for name, lease in zip(names, leases, strict=True)}
            self._load_images(leases)
        except BaseException:
            for lease in leases:
                lease.release()
            raise
        return Loan(request=request, leases=leases, clusters=clusters)

    def _load_images(self, leases: Iterable[Lease]) -> None:
        if wanting := [lease for lease in leases if lease.want.spec.images]:
            from pytest_kina.images import load
            from pytest_kina.pool import open_root

            assert self.recorder is not None, "there are leases, so the pool is open"
            for lease in wanting:
                load(lease, open_root(Path(self.ticket.root)), self.recorder, self.settings.start_timeout)

    def kubectl(self, cluster: Cluster) -> Kubectl:
        """``kubectl`` for a leased cluster: from the assets or the store, else what it finds itself."""
        from pytest_kina.binaries import obtain
        from pytest_kina.cluster import Kubectl
        from pytest_kina.progress import silent

        root, assets = Path(self.ticket.root), self.settings.assets
        try:
            found = obtain(cluster.version, ["kubectl"], root=root, offline=True, explicit=assets, progress=silent)
        except BinaryError:
            return Kubectl(cluster)
        return Kubectl(cluster, found.paths["kubectl"])

    def retire(self) -> None:
        """At the end of a run: delete what its processes left behind to nobody. Raises nothing new."""
        if self.used:
            try:
                everything = self.settings.ttl == 0
                said = self.pool().retire(everything=everything)
                slots = self.pool().status() if everything else ()
                left = any(slot.run == self.ticket.run and not slot.kept for slot in slots)
                self.said += said if left else []  # deletions that went well are in the timings
            except (KinaError, OSError) as error:  # the tests have their results; the next run deletes what is there
                self.said.append(f"this run's clusters could not be deleted at its end: {error}")

    def twin(self) -> Run:
        """Another run with the same settings, whose events and clusters are not mixed with those of this one."""
        ticket = replace(self.ticket, run=Ticket.new(self.settings).run)
        return Run(self.settings, worker=self.worker, ticket=ticket)

    def close(self) -> None:
        """Leave the pool; what is still leased is free afterwards."""
        if self._spares is not None:
            self._spares.reap()
        if self._pool is not None:
            self._pool.close()

    def _complaints(self) -> Sequence[Finding]:
        """What `pytest-kina doctor` finds bad here; looked at once, so that tests after the first fail at once."""
        if self._found_bad is None:
            from pytest_kina.doctor import complaints

            try:
                self._found_bad = complaints(self.settings)
            except Exception:  # it explains an error, and must not replace it
                _log.exception("the machine could not be examined")
                self._found_bad = []
        return self._found_bad

    def forget_template(self, spec: ClusterSpec) -> None:
        """Let the next cluster of ``spec`` be made without a template. Raises like :meth:`lease`."""
        from pytest_kina.providers import KeepsTemplates

        provider = self._want(spec).provider
        if isinstance(provider, KeepsTemplates):
            provider.forget_template(spec)

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
        from pytest_kina.providers import usable
        from pytest_kina.spec import fingerprint
        from pytest_kina.timing import Phase

        pool = self.pool()
        assert self.recorder is not None, "opening the pool makes it"
        name = provider_name(spec, self.settings, self._auto)
        provider = usable(self._provider(name), name, "--kina-provider")
        stopwatch = self.recorder.bind(provider=provider.info.name, provider_version=provider.info.version)
        progress = ProgressFile(self.directory, self.worker)
        try:
            with stopwatch.phase(Phase.BINARIES, profile=spec.profile, nodes=spec.simulated_nodes):
                # A build of binaries that fails after minutes must not be tried by one xdist worker after the other.
                subject = f"prepare-{fingerprint(spec, name, {'version': spec.version})}"
                want = pool.once(subject, lambda: Want.prepared(spec, name, provider, progress))
            if spec.images:
                from pytest_kina.images import archives

                progress("saving images")
                with stopwatch.phase(Phase.IMAGES, profile=spec.profile):
                    archives(provider, spec.images, progress)
            return want
        finally:
            progress.done()

    def _provider(self, name: str) -> Provider:
        from pytest_kina.providers import find

        if name not in self._providers:
            self._providers[name] = find(name, self._options)
        return self._providers[name]

    @cached_property
    def _auto(self) -> Auto:
        from pytest_kina.providers.auto import Auto

        return Auto(self._options)

    @property
    def _options(self) -> Mapping[str, Any]:
        return self.settings.provider_options | {"root": Path(self.ticket.root)}


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
        from pytest_kina.providers import measured_with
        from pytest_kina.timing import Phase

        recorder, cluster, lease = self._run.recorder, self._cluster, self._lease
        assert recorder is not None, "there is a cluster, so the pool is open"
        stopwatch = recorder.bind(
            cluster=cluster.name,
            **measured_with(lease.want.provider, lease.want.identity),
            kubernetes=cluster.version,
            profile=cluster.profile,
            start=lease.start,
        )
        return stopwatch.phase(Phase(phase), nodes=cluster.spec.simulated_nodes)


def few(tests: Sequence[str], most: int = 3) -> str:
    """The first of these test ids, and how many more there are."""
    more = f" and {len(tests) - most} more" if len(tests) > most else ""
    return ", ".join(tests[:most]) + more


def slug(test_id: str) -> str:
    """A file name for a test id: readable, and different for different ids."""
    import hashlib
    import re

    digest = hashlib.sha256(test_id.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', test_id)[-100:].strip('-.')}-{digest}"


def provider_name(spec: ClusterSpec, settings: Settings, auto: Auto) -> str:
    """The provider for ``spec``: its own, else the run's; where that is ``auto``, the first fit candidate.

    Raises :class:`~pytest_kina.errors.ProviderUnavailableError` when no candidate is fit.
    """
    name = spec.provider if spec.provider != "auto" else settings.provider
    return auto.choose(spec).taken() if name == "auto" else name
