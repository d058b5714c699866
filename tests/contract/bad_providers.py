"""Providers that do one thing wrong each, and the tests of the conformance suite that must find it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pytest_kina.errors import ProvisionError
from pytest_kina.progress import Progress
from pytest_kina.providers import Place, ProviderInfo
from pytest_kina.spec import ClusterSpec
from pytest_kina.testing import FakeProvider, backend_state
from pytest_kina.timing import Phase, Stopwatch


def beside(place: Place, name: str) -> Path:
    """A file of the provider's own, outside the cluster's directory."""
    folder = place.directory.parent.parent / name
    folder.mkdir(exist_ok=True)
    return folder / place.name


def backend(place: Place) -> Path:
    """The file that is the cluster."""
    return place.directory / "backend"


class ClaimsWhatDoesNotExist(FakeProvider):
    """Has a capability of its own invention."""

    @property
    def info(self) -> ProviderInfo:
        """One word too many."""
        return ProviderInfo(name="fake", version="1.0", capabilities=super().info.capabilities | {"teleport"})


class ChangesItsIdentity(FakeProvider):
    """Nothing that it makes could ever be reused."""

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Another digest each time."""
        return {**super().prepare(spec, progress), "digest": secrets.token_hex(4)}


class HidesTheVersion(FakeProvider):
    """Says which version was asked for, not which one will run."""

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """A minor is no version that runs."""
        return {**super().prepare(spec, progress), "kubernetes": spec.version}


class HasEveryVersion(FakeProvider):
    """Substitutes what it has for what it was asked for."""

    def validate(self, spec: ClusterSpec) -> None:
        """Only options matter."""
        if spec.provider_options:
            super().validate(spec)

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """1.36, whatever was asked for."""
        return super().prepare(ClusterSpec(), progress)


class TakesEveryOption(FakeProvider):
    """A misspelt option is silently ignored."""

    def validate(self, spec: ClusterSpec) -> None:
        """Nothing is wrong."""


class BelievesExitCodes(FakeProvider):
    """Its tool said 0, but there is no cluster."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Everything went well, except that nothing works."""
        super().create(spec, place, stopwatch, timeout)
        backend(place).unlink()


class PublishesKeys(FakeProvider):
    """Everybody on the machine may use its clusters."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """With the usual umask."""
        super().create(spec, place, stopwatch, timeout)
        (place.directory / "kubeconfig").chmod(0o644)


class NamesItsContextAtWill(FakeProvider):
    """The user of the kubeconfig cannot tell which cluster it leads to."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Every context is called default."""
        super().create(spec, place, stopwatch, timeout)
        path = place.directory / "kubeconfig"
        path.write_text(path.read_text().replace(place.name, "default"))


class CountsTwice(FakeProvider):
    """A creation is a reset as well."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Phases must not overlap."""
        with stopwatch.phase(Phase.RESET):
            super().create(spec, place, stopwatch, timeout)


class Optimist(FakeProvider):
    """Has never seen a dead cluster."""

    def check(self, place: Place) -> str | None:
        """All is well."""
        return None


class Talkative(FakeProvider):
    """Does not know when to stop."""

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """All there is."""
        return {"fake": "\n".join(map(str, range(1000)))}


class LosesLogsLoudly(FakeProvider):
    """Takes missing logs for an error, which would hide the one that is to be explained."""

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """Read them, come what may."""
        backend(place).read_bytes()
        return super().logs(place, lines)


class DiesWithItsMaker(FakeProvider):
    """Its clusters are children of the process that made them."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Remember the parent."""
        super().create(spec, place, stopwatch, timeout)
        beside(place, "makers").write_text(str(os.getpid()))

    def check(self, place: Place) -> str | None:
        """Gone with the parent."""
        with contextlib.suppress(FileNotFoundError):
            if beside(place, "makers").read_text() != str(os.getpid()):
                return "its maker has ended"
        return super().check(place)


class _Stray(FakeProvider):
    """Keeps something outside the cluster's directory, and lists it."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """The stray comes first."""
        beside(place, "strays").touch()
        super().create(spec, place, stopwatch, timeout)

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Strays are leftovers."""
        strays = [path.name for path in clusters.parent.glob("strays/*")]
        return sorted({*super().leftovers(clusters), *strays})


class LeavesHalf(_Stray):
    """Deletes the cluster, but not what belongs to it."""


class DeletesUnusedOnly(FakeProvider):
    """Says that it has deleted what somebody still uses, and has not."""

    def delete(self, place: Place) -> None:
        """Do not disturb."""
        if not (backend_state(place.directory) or "").startswith("used"):
            super().delete(place)

    def check(self, place: Place) -> str | None:
        """Only the unused are fit."""
        return super().check(place)


class CannotDeleteTwice(FakeProvider):
    """Takes success for an error."""

    def delete(self, place: Place) -> None:
        """Complain about what was deleted before."""
        if beside(place, "deleted").exists():
            raise ProvisionError("no such cluster")
        if backend(place).exists():
            beside(place, "deleted").touch()
        super().delete(place)


class CannotDeleteNothing(FakeProvider):
    """Deletes only what it has made."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Remember it."""
        beside(place, "made").touch()
        super().create(spec, place, stopwatch, timeout)

    def delete(self, place: Place) -> None:
        """Never heard of it."""
        if not beside(place, "made").exists() and not (place.directory / "cluster.json").exists():
            raise ProvisionError("no such cluster")
        super().delete(place)


class KnowsShortNamesOnly(FakeProvider):
    """Its tool takes 24 characters, which the first nine slots never need."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """As the tool says."""
        if len(place.name) > 24:
            raise ProvisionError(f"{place.name} is too long for a name")
        super().create(spec, place, stopwatch, timeout)


class DefersInterrupts(FakeProvider):
    """Waits for its tool whatever happens, and then goes on as if nothing had."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """A slow tool."""
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(0.5 if signal.getitimer(signal.ITIMER_REAL)[0] else 0.0)
        super().create(spec, place, stopwatch, timeout)


class ForgetsItsClusters(FakeProvider):
    """A crashed run's cluster would stay for ever."""

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """There is nothing."""
        return []


class ListsEverybodysClusters(FakeProvider):
    """Takes every cluster of the machine for its pool's."""

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """All pools."""
        return sorted(path.parent.name for path in clusters.parent.parent.glob("*/clusters/*/backend"))


class DeletesByPrefix(FakeProvider):
    """Selects with a pattern that is too wide."""

    def delete(self, place: Place) -> None:
        """Whatever begins like this."""
        super().delete(place)
        for other in place.directory.parent.glob(f"{place.name}*/backend"):
            other.unlink()


class SwitchesTheUsersContext(FakeProvider):
    """Merges its cluster into the user's kubeconfig, like most tools."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """So convenient."""
        super().create(spec, place, stopwatch, timeout)
        if path := os.environ.get("KUBECONFIG"):
            Path(path).write_text(f"current-context: {place.name}\n")


class SwallowsErrors(FakeProvider):
    """Whatever goes wrong, the show goes on."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Nobody has seen anything."""
        with contextlib.suppress(OSError):
            super().create(spec, place, stopwatch, timeout)


class SwallowsInterrupts(FakeProvider):
    """Takes Ctrl-C for one error among others, so the run goes on."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Wrap everything."""
        try:
            super().create(spec, place, stopwatch, timeout)
        except BaseException as error:
            raise ProvisionError("something went wrong") from error


class CleansUpWhileItLivesOnly(_Stray):
    """Needs the maker's own ``finally`` to get rid of everything."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """The stray is only for the time of the creation, also when an interrupt comes while it is removed."""
        try:
            try:
                super().create(spec, place, stopwatch, timeout)
            finally:
                beside(place, "strays").unlink(missing_ok=True)
        except BaseException:
            beside(place, "strays").unlink(missing_ok=True)
            raise


class HasAllTheTimeInTheWorld(FakeProvider):
    """Takes a time-out for a suggestion."""

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Slow when it matters."""
        if timeout < 1.0:
            time.sleep(0.6)
        super().create(spec, place, stopwatch, max(timeout, 20.0))


class DoesOneThingAtATime(FakeProvider):
    """Remembers the cluster that it works on in one place for all."""

    working_on: ClassVar[Place]

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """The last to come gets it all."""
        type(self).working_on = place
        time.sleep(0.0 if threading.current_thread() is threading.main_thread() else 0.3)
        super().create(spec, self.working_on, stopwatch, timeout)


class WarmsUpLeftovers(FakeProvider):
    """A new cluster begins with the data of the one before."""

    @property
    def info(self) -> ProviderInfo:
        """It cannot reset, so each cluster should be a new one."""
        return ProviderInfo(name="fake", version="1.0", capabilities=frozenset({"isolation", "images"}))

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Start from what is in the cache."""
        super().create(spec, place, stopwatch, timeout)
        cache = place.directory.parent.parent / "cache"
        if cache.exists():
            backend(place).write_bytes(cache.read_bytes())

    def delete(self, place: Place) -> None:
        """Fill the cache."""
        if backend(place).exists():
            (place.directory.parent.parent / "cache").write_bytes(backend(place).read_bytes())
        super().delete(place)


class ResetsNothing(FakeProvider):
    """The next test finds what the last one left."""

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Only new credentials."""
        before = json.loads(backend(place).read_bytes())
        super().reset(spec, place, stopwatch, timeout)
        backend(place).write_text(json.dumps(before))


class KeepsCredentials(FakeProvider):
    """Who used the cluster before still can."""

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Only the data are new."""
        kubeconfig = place.directory / "kubeconfig"
        before = kubeconfig.read_bytes() if kubeconfig.exists() else b""
        super().reset(spec, place, stopwatch, timeout)
        kubeconfig.write_bytes(before)


class ResetsWhatIsNotThere(FakeProvider):
    """Has nothing to do, so all is well."""

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Only what is there."""
        if backend(place).exists():
            super().reset(spec, place, stopwatch, timeout)


class LoadsIntoTheWrongPlace(FakeProvider):
    """The tool said that it had loaded the image; pods cannot use it."""

    def load_image(self, place: Place, archive: Path, timeout: float) -> None:
        """Into some other namespace."""
        if not archive.is_file():
            raise ProvisionError(f"there is no {archive}")


class LoadsAnything(FakeProvider):
    """Whatever it is told to load has been loaded."""

    def load_image(self, place: Place, archive: Path, timeout: float) -> None:
        """Even nothing."""
        if archive.is_file():
            super().load_image(place, archive, timeout)


BAD: dict[type[FakeProvider], set[str]] = {
    ClaimsWhatDoesNotExist: {"test_claims"},
    ChangesItsIdentity: {"test_identity"},
    HidesTheVersion: {"test_identity"},
    HasEveryVersion: {"test_unknown_version"},
    TakesEveryOption: {"test_unknown_option"},
    PublishesKeys: {"test_kubeconfig"},
    NamesItsContextAtWill: {"test_kubeconfig"},
    CountsTwice: {"test_phases"},
    Optimist: {"test_check"},
    Talkative: {"test_logs"},
    LosesLogsLoudly: {"test_logs"},
    DiesWithItsMaker: {"test_adopt"},
    DeletesUnusedOnly: {"test_delete"},
    CannotDeleteTwice: {"test_delete_twice"},
    CannotDeleteNothing: {"test_delete_absent"},
    KnowsShortNamesOnly: {"test_longest_name"},
    DefersInterrupts: {"test_interrupt_at_any_moment"},
    ForgetsItsClusters: {"test_leftovers"},
    ListsEverybodysClusters: {"test_neighbours"},
    DeletesByPrefix: {"test_neighbours"},
    SwitchesTheUsersContext: {"test_users_kubeconfig"},
    SwallowsErrors: {"test_failure_at_each_step"},
    SwallowsInterrupts: {"test_interrupt_at_each_step"},
    CleansUpWhileItLivesOnly: {"test_death_at_each_step"},
    HasAllTheTimeInTheWorld: {"test_time_out"},
    DoesOneThingAtATime: {"test_together"},
    WarmsUpLeftovers: {"test_reuse"},
    KeepsCredentials: {"test_reset"},
    ResetsWhatIsNotThere: {"test_reset_absent"},
    LoadsIntoTheWrongPlace: {"test_images"},
    LoadsAnything: {"test_images"},
}
"""Each of these is found by exactly one test."""

EVERYWHERE: dict[type[FakeProvider], set[str]] = {
    BelievesExitCodes: {"test_create"},
    LeavesHalf: {"test_delete", "test_death_at_each_step"},
    ResetsNothing: {"test_reset", "test_reuse"},
}
"""What is wrong with these shows in many tests; at least in these."""
