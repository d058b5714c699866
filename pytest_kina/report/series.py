"""Which durations may be compared with each other: the series, its key, and its samples.

A series is one phase of one kind of cluster: provider, Kubernetes minor version, profile, nodes, how the cluster
came about, and how busy the host was. Failed phases are counted, never measured: a time-out is a censored value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pytest_kina.timing import Phase, TimingEvent

VERSION = 1
"""Raise it when a phase begins or ends elsewhere than before: older samples are then not comparable."""

READY = "ready"
"""The total of one cluster's ``create``, ``startup`` and ``kubectl_ready``."""

PREPARATION = frozenset({Phase.BINARIES, Phase.TEMPLATE, Phase.IMAGES, Phase.START_WAIT, Phase.BUILD_WAIT})
_MAKING = (Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY)
_WARM = frozenset({"reused", "spare"})
_ORDER = [*(phase.value for phase in Phase)]
_ORDER.insert(_ORDER.index(Phase.KUBECTL_READY) + 1, READY)


@dataclass(frozen=True, slots=True)
class Sample:
    """One duration in seconds, and the event that says where it comes from."""

    phase: str
    seconds: float
    event: TimingEvent


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """What all samples of one series have in common."""

    provider: str
    kubernetes: str
    profile: str
    nodes: int
    place: int
    phase: str
    start: str
    bucket: str

    @property
    def kind(self) -> str:
        """The part of the name that is equal for all phases."""
        return f"{self.provider}-k8s{self.kubernetes}-{self.profile}-n{self.nodes}-{self.start}-c{self.bucket}"

    @property
    def name(self) -> str:
        """For people: ``kina.create[embedded-k8s1.36-api-n0-fresh-c1]``."""
        return f"kina.{self.phase}[{self.kind}]"

    @property
    def fullname(self) -> str:
        """The key by which runs are compared; no test names in it, because tests are renamed and moved."""
        return f"kina::{self.phase}[{self.kind}]"


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one key in seconds, in the order of their beginning, and how many attempts failed."""

    key: SeriesKey
    seconds: tuple[float, ...]
    failures: int
    kubernetes: tuple[str, ...]
    provider_versions: tuple[str, ...]
    runtimes: tuple[str, ...] = ()


def warmth(start: str) -> str:
    """``warm`` for a cluster that stood already, ``cold`` for one that was made."""
    return "warm" if start in _WARM else "cold"


def bucket(concurrency: int) -> str:
    """How busy the host was; only equal buckets are comparable."""
    for limit, name in ((1, "1"), (2, "2"), (4, "3-4")):
        if concurrency <= limit:
            return name
    return "5+"


def place(phase: str) -> int:
    """Where a phase stands in the life of a cluster."""
    return _ORDER.index(phase) if phase in _ORDER else len(_ORDER)


def samples(events: Iterable[TimingEvent]) -> Iterator[Sample]:
    """A sample for each event, and ``ready`` for each cluster as soon as it has become ready."""
    made: dict[str, dict[Phase, TimingEvent]] = {}
    for event in events:
        yield Sample(event.phase.value, event.seconds, event)
        if event.phase in _MAKING and event.ok and event.cluster:
            phases = made.setdefault(event.cluster, {})
            phases[event.phase] = event
            if len(phases) == len(_MAKING):
                yield Sample(READY, sum(one.seconds for one in phases.values()), phases[Phase.CREATE])
                del made[event.cluster]


def comparable(events: Iterable[TimingEvent]) -> list[Series]:
    """The series of a run, in the order of a cluster's life; preparation and first image pulls are not in it."""
    groups: dict[SeriesKey, _Group] = {}
    known: dict[tuple[object, ...], _Group] = {}  # making a key for each of a million events would take seconds
    for sample in samples(events):
        event = sample.event
        if event.phase in PREPARATION or event.first_pull:
            continue
        versions = (event.kubernetes, event.provider_version, event.runtime)
        raw = (sample.phase, event.provider, *versions, event.profile, event.nodes, event.start, event.concurrency)
        group = known.get(raw)
        if group is None:
            group = known[raw] = groups.setdefault(_key(sample), _Group())
            group.note(event)
        group.add(sample)
    return [_series(key, groups[key]) for key in sorted(groups)]


@dataclass(slots=True)
class _Group:
    """The samples of one key while they are gathered; only figures are kept."""

    seconds: list[float] = field(default_factory=list)
    failures: int = 0
    kubernetes: set[str] = field(default_factory=set)
    provider_versions: set[str] = field(default_factory=set)
    runtimes: set[str] = field(default_factory=set)

    def note(self, event: TimingEvent) -> None:
        """Remember the versions that ``event`` was measured with."""
        self.kubernetes.add(event.kubernetes)
        self.provider_versions.add(event.provider_version)
        self.runtimes.update({event.runtime} - {""})

    def add(self, sample: Sample) -> None:
        """One more sample, or one more failure."""
        if sample.event.ok:
            self.seconds.append(sample.seconds)
        else:
            self.failures += 1


def _key(sample: Sample) -> SeriesKey:
    event = sample.event
    return SeriesKey(
        provider=event.provider,
        kubernetes=".".join(event.kubernetes.removeprefix("v").split(".")[:2]),
        profile=event.profile,
        nodes=event.nodes,
        place=place(sample.phase),
        phase=sample.phase,
        start=event.start,
        bucket=bucket(event.concurrency),
    )


def _series(key: SeriesKey, found: _Group) -> Series:
    return Series(
        key=key,
        seconds=tuple(found.seconds),
        failures=found.failures,
        kubernetes=tuple(sorted(found.kubernetes)),
        provider_versions=tuple(sorted(found.provider_versions)),
        runtimes=tuple(sorted(found.runtimes)),
    )
