"""The conformance suite: what every provider of clusters must do, as tests to inherit (docs/write-a-provider.md).

    class TestMine(ProviderConformance):
        def provider(self):
            return MyProvider()

Each test makes its own clusters in a root directory of its own, and deletes them. A test of a capability that the
provider does not claim is skipped.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pytest_kina.capabilities import CAPABILITIES
from pytest_kina.errors import KinaError, ProvisionError, SpecError
from pytest_kina.pool import Lease, Pool, Want
from pytest_kina.progress import silent
from pytest_kina.providers import LoadsImages, Place, Provider, Resets
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.testing.bench import Bench, announce, at_once, die, in_child, interrupted, raising
from pytest_kina.testing.expecting import expect, expect_error, expect_none
from pytest_kina.timing import Phase, TimingRecorder

STEPS = (Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY)
"""The phases of a creation, in their order."""

_SHORT = 0.01
_PROMPT = 0.5
_TOGETHER = 4
_MOMENTS = (0.2, 0.5, 0.8)


class ProviderConformance:
    """Inherit, and say with :meth:`provider` what is to be examined.

    ``spec`` is what its clusters are made of. ``timeout`` is what one creation may take, in seconds; ``grace`` is how
    many seconds more an operation may take to end when its time is over.
    """

    spec = ClusterSpec()
    timeout = 300.0
    grace = 30.0

    def provider(self) -> Provider:
        """A new provider object, as another process would have one. To be overridden."""
        raise NotImplementedError("override provider() to return the provider that is to be examined")

    def use(self, directory: Path) -> str:
        """Leave a trace in the cluster that lives in ``directory``, as a test does; its name."""
        from pytest_kina.cluster import Cluster

        return Cluster.open(directory).create_namespace("trace").name

    def has_trace(self, directory: Path, trace: str) -> bool:
        """Whether the trace is still there. Raises when the cluster does not answer."""
        from pytest_kina.cluster import Cluster

        found = Cluster.open(directory).list("namespaces")
        return trace in [each["metadata"]["name"] for each in found]

    def credentials(self, directory: Path) -> Any:
        """What the administrator of the cluster identifies with."""
        from pytest_kina.cluster.kubeconfig import read

        return read(directory / "kubeconfig").user

    def image_archive(self, directory: Path) -> Path:
        """An image archive below ``directory``. To be overridden by providers with the capability ``images``."""
        raise NotImplementedError("override image_archive() and has_image()")

    def has_image(self, directory: Path, archive: Path) -> bool:
        """Whether pods of the cluster can use the image of ``archive``. To be overridden like :meth:`image_archive`."""
        raise NotImplementedError("override image_archive() and has_image()")

    def setup_method(self) -> None:
        """A bench for each test."""
        self.bench = Bench()

    def teardown_method(self) -> None:
        """Nothing stays, whatever the test found."""
        self.bench.clear(self.provider)

    def make(self, place: Place | None = None) -> Place:
        """A cluster, made as the pool makes one."""
        place, provider = place or self.bench.place(), self.provider()
        announce(provider, self.spec, place)
        provider.create(self.spec, place, self.bench.stopwatch, self.timeout)
        return place

    def test_claims(self) -> None:
        """It has a plain name, a version, only capabilities that exist, and the methods that they oblige it to."""
        provider = self.provider()
        info = provider.info
        expect(re.fullmatch(r"[a-z][a-z0-9_-]*", info.name), f"a name like 'kind', not {info.name!r}")
        expect(info.version, "a version")
        expect(info.capabilities <= set(CAPABILITIES), f"capabilities that exist, not {sorted(info.capabilities)}")
        for capability, kind in (("reset", Resets), ("images", LoadsImages)):
            expect(capability not in info.capabilities or isinstance(provider, kind), f"a method for {capability!r}")
        why = provider.unavailable()
        expect(why is None or (why and "\n" not in why), f"None or one sentence from unavailable(), not {why!r}")

    def test_identity(self) -> None:
        """Preparing twice gives the same identity, as text, with the Kubernetes version that will run."""
        identities = [dict(self.provider().prepare(self.spec, silent)) for _ in range(2)]
        expect(identities[0] == identities[1], f"one identity, not {identities}")
        expect(all(isinstance(each, str) for each in identities[0].values()), f"text, not {identities[0]}")
        version = identities[0].get("kubernetes", "")
        expect(re.fullmatch(r"v\d+\.\d+\.\d+\S*", version), f"kubernetes like 'v1.36.3', not {version!r}")

    def test_unknown_version(self) -> None:
        """A Kubernetes version that cannot be had is refused before anything is made."""
        provider, spec = self.provider(), replace(self.spec, version="9.99")

        def ask() -> None:
            provider.validate(spec)
            provider.prepare(spec, silent)

        expect_error(KinaError, ask, "version 9.99")

    def test_unknown_option(self) -> None:
        """An option that the provider does not have is refused."""
        spec = replace(self.spec, provider_options=(("no-such-option", 1),))
        expect_error(SpecError, lambda: self.provider().validate(spec), "provider_options={'no-such-option': 1}")

    def test_create(self) -> None:
        """When ``create`` returns, the cluster answers its administrator and is fit to be handed out."""
        place = self.make()
        trace = self.use(place.directory)
        expect(self.has_trace(place.directory, trace), "a cluster that remembers what is written into it")
        expect_none(self.provider().check(place), "check() of a new cluster")

    def test_kubeconfig(self) -> None:
        """The kubeconfig is private (0600), and its context is called like the cluster."""
        from pytest_kina.cluster.kubeconfig import read

        place = self.make()
        kubeconfig = place.directory / "kubeconfig"
        mode = stat.S_IMODE(kubeconfig.stat().st_mode)
        expect(mode == 0o600, f"mode 0600 of the kubeconfig, not {mode:04o}")
        expect(read(kubeconfig).context == place.name, f"a context called {place.name}")

    def test_phases(self) -> None:
        """A creation is measured as ``create``, ``startup`` and ``kubectl_ready``, each once; other phases follow."""
        self.make()
        events = [event for event in self.bench.recorder.drain() if event.ok]
        phases, others = [event.phase for event in events[: len(STEPS)]], events[len(STEPS) :]
        expect(phases == list(STEPS), f"{[step.value for step in STEPS]}, not {[phase.value for phase in phases]}")
        late = [event for event in others if event.phase not in STEPS and event.t0 >= events[len(STEPS) - 1].t0]
        expect(late == others, f"other phases only behind these, not {[event.phase.value for event in others]}")

    def test_check(self) -> None:
        """A cluster that is gone, and one that never was, must not be handed out, and ``check`` says why."""
        place = self.make()
        self.provider().delete(place)
        for what, gone in (("a deleted cluster", place), ("no cluster", self.bench.place())):
            expect(self.provider().check(gone), f"a sentence from check() of {what}")

    def test_logs(self) -> None:
        """Logs are at most as many lines as were asked for, and asking after the end is no error."""
        place = self.make()
        for name, text in self.provider().logs(place, 2).items():
            expect(len(text.splitlines()) <= 2, f"at most 2 lines of {name}, not {len(text.splitlines())}")
        self.provider().delete(place)
        self.provider().logs(place, 2)

    def test_adopt(self) -> None:
        """An adopted cluster outlives the process that made it, and any other process can use and delete it."""
        place = self.bench.place()
        code = in_child(lambda: self.provider().adopt(self.make(place)), self.timeout + self.grace)
        expect(code == 0, f"a maker that succeeds, not one that ends with {code}")
        expect_none(self.provider().check(place), "check() in another process")
        self.use(place.directory)
        self._delete(place)

    def test_delete(self) -> None:
        """When ``delete`` returns, nothing answers to whoever kept a copy of all files, and nothing is listed."""
        place = self.make()
        trace = self.use(place.directory)
        copy = self.bench.keep_copy(place)
        self.provider().delete(place)
        try:
            there = self.has_trace(copy, trace)
        except (KinaError, OSError):
            there = False
        expect(not there, "a cluster that is gone")
        self._sweep(place)

    def test_delete_twice(self) -> None:
        """Deleting what has been deleted succeeds."""
        place = self.make()
        self.provider().delete(place)
        self.provider().delete(place)

    def test_delete_absent(self) -> None:
        """Deleting what never was succeeds, with and without a directory."""
        place = self.bench.place()
        self.provider().delete(place)
        place.directory.rmdir()
        self.provider().delete(place)

    def test_longest_name(self) -> None:
        """The longest name that a pool makes is a name like any other."""
        place = self.make(self.bench.place(name=f"kina-{self.bench.root.pool_id}-9999-{secrets.token_hex(4)}"))
        expect(self.has_trace(place.directory, self.use(place.directory)), "a usable cluster")
        self._delete(place)

    def test_leftovers(self) -> None:
        """Every cluster of the pool is listed by its exact name."""
        places = [self.make(), self.make()]
        listed = set(self.provider().leftovers(self.bench.root.clusters))
        expect({place.name for place in places} <= listed, f"{[place.name for place in places]}, not {listed}")

    def test_neighbours(self) -> None:
        """A cluster of another pool, and one whose name begins alike, are neither listed nor touched."""
        place = self.make()
        longer = self.make(self.bench.place(name=f"{place.name}0"))
        foreign = self.make(self.bench.place(root=self.bench.foreign_root()))
        listed = self.provider().leftovers(self.bench.root.clusters)
        expect(foreign.name not in listed, f"only clusters of this pool, not {listed}")
        traces = {near: self.use(near.directory) for near in (longer, foreign)}
        self.provider().delete(place)
        for near, trace in traces.items():
            expect_none(self.provider().check(near), f"check() of {near.name} after {place.name} was deleted")
            expect(self.has_trace(near.directory, trace), f"{near.name} untouched when {place.name} was deleted")

    def test_users_kubeconfig(self) -> None:
        """The user's own kubeconfigs are the same, byte by byte, after a life of a cluster."""
        decoy, home = self.bench.directory / "users-own", Path.home() / ".kube" / "config"
        decoy.write_bytes(b"apiVersion: v1\nkind: Config\ncurrent-context: mine\n")
        before, named = (decoy.read_bytes(), _content(home)), os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(decoy)
        try:
            self._delete(self.make())
        finally:
            os.environ.pop("KUBECONFIG")
            os.environ.update({} if named is None else {"KUBECONFIG": named})
        expect((_content(decoy), _content(home)) == before, f"{home} and the file of KUBECONFIG left alone")

    def test_failure_at_each_step(self) -> None:
        """Whichever step fails, ``create`` raises the error, and ``delete`` removes what is left."""
        self._break_each_step(lambda: OSError("something is wrong with this machine"), Exception)

    def test_interrupt_at_each_step(self) -> None:
        """Ctrl-C in any step ends the creation as an interrupt, and ``delete`` removes what is left."""
        self._break_each_step(lambda: KeyboardInterrupt("a person lost patience"), KeyboardInterrupt)

    def test_interrupt_at_any_moment(self) -> None:
        """Ctrl-C while ``create`` waits for something ends it soon, and ``delete`` removes what is left."""
        began = time.monotonic()
        self._delete(self.make())
        usual = time.monotonic() - began
        for part in _MOMENTS:
            place, provider = self.bench.place(), self.provider()
            announce(provider, self.spec, place)
            create = partial(provider.create, self.spec, place, self.bench.stopwatch, self.timeout)
            code = in_child(partial(interrupted, create, part * usual), part * usual + self.grace)
            expect(code == 0, "a creation that is ended by the interrupt, or done before it")
            self._delete(place)

    def test_death_at_each_step(self) -> None:
        """Of a maker that is killed in any step, ``delete`` in another process removes what is left."""
        for step in STEPS:
            place, stopwatch = self.bench.place(), self.bench.meddling(step, die)
            code = in_child(partial(self._create, place, stopwatch), self.timeout + self.grace)
            expect(code == -9, f"a creation that goes through {step.value}, not one that ends with {code}")
            self._delete(place)

    def test_time_out(self) -> None:
        """A creation that cannot be done in its time fails soon after, and leaves what can be deleted."""
        place, began = self.bench.place(), time.monotonic()
        announce(self.provider(), self.spec, place)
        began = time.monotonic()
        try:
            self.provider().create(self.spec, place, self.bench.stopwatch, _SHORT)
        except ProvisionError:
            allowed = _SHORT + self.grace
        else:
            allowed = _SHORT + _PROMPT
        took = time.monotonic() - began
        expect(took <= allowed, f"an end within {allowed:g} s where {_SHORT:g} s were given, not after {took:.1f} s")
        self._delete(place)

    def test_together(self) -> None:
        """Four clusters made at once are four healthy clusters; deleted at once, nothing is left."""
        places = [self.bench.place() for _ in range(_TOGETHER)]
        at_once(self.make, places)
        for place in places:
            expect_none(self.provider().check(place), f"check() of {place.name}, made together with others")
            expect(self.use(place.directory), "a usable cluster")
        at_once(self._delete, places)

    def test_reuse(self) -> None:
        """Through the pool, nobody gets a cluster with traces of another run: it was reset, or it is a new one."""
        with closing(self._pool()) as pool:
            trace = self.use(self._lease(pool).directory)
        with closing(self._pool()) as pool:
            lease = self._lease(pool)
            there = self.has_trace(lease.directory, trace)
            lease.release()
            pool.retire()
        expect(not there, "a cluster without traces of the run before")

    def test_reset(self) -> None:
        """A reset is measured, and leaves a fit cluster without traces; a cluster of our own gets new credentials."""
        provider = self._able("reset")
        assert isinstance(provider, Resets)
        place = self.make()
        before = self.credentials(place.directory)
        trace = self.use(place.directory)
        self.bench.recorder.drain()
        provider.reset(self.spec, place, self.bench.stopwatch, self.timeout)
        phases = [event.phase.value for event in self.bench.recorder.drain()]
        expect(phases == ["reset"], f"only the phase reset, not {phases}")
        expect_none(provider.check(place), "check() after a reset")
        expect(not self.has_trace(place.directory, trace), "nothing left of what was written before the reset")
        if "isolation" in provider.info.capabilities:
            expect(self.credentials(place.directory) != before, "other credentials after a reset")

    def test_reset_absent(self) -> None:
        """Where there is no cluster any more, a reset fails, or makes a fit one."""
        provider = self._able("reset")
        assert isinstance(provider, Resets)
        place = self.make()
        provider.delete(place)
        try:
            provider.reset(self.spec, place, self.bench.stopwatch, self.timeout)
        except KinaError:
            return
        expect_none(provider.check(place), "check() after a reset that succeeded")

    def test_images(self) -> None:
        """An image archive can be loaded, twice; loading what is no archive is an error."""
        provider = self._able("images")
        assert isinstance(provider, LoadsImages)
        archive, place = self.image_archive(self.bench.directory), self.make()
        for _ in range(2):
            provider.load_image(place, archive, self.timeout)
        expect(self.has_image(place.directory, archive), "an image that pods can use")
        missing = self.bench.directory / "missing.tar"
        expect_error(ProvisionError, lambda: provider.load_image(place, missing, self.timeout), "a missing archive")

    def _create(self, place: Place, stopwatch: Any) -> None:
        provider = self.provider()
        announce(provider, self.spec, place)
        provider.create(self.spec, place, stopwatch, self.timeout)

    def _delete(self, place: Place) -> None:
        self.provider().delete(place)
        self._sweep(place)

    def _sweep(self, place: Place) -> None:
        """Remove the directory of a deleted cluster as the pool does; then nothing of it may be listed."""
        shutil.rmtree(place.directory)
        listed = self.provider().leftovers(place.directory.parent)
        expect(place.name not in listed, f"nothing of {place.name} after it was deleted, not {listed}")

    def _break_each_step(self, error: Callable[[], BaseException], kind: type[BaseException]) -> None:
        for step in STEPS:
            place = self.bench.place()
            stopwatch = self.bench.meddling(step, raising(error))
            expect_error(kind, partial(self._create, place, stopwatch), f"create, broken in {step.value}")
            self._delete(place)

    def _able(self, capability: str) -> Provider:
        provider = self.provider()
        if capability not in provider.info.capabilities:
            from unittest import SkipTest

            raise SkipTest(f"{provider.info.name} does not claim the capability {capability!r}")
        return provider

    def _pool(self) -> Pool:
        run = secrets.token_hex(8)
        limits = {"size": 1, "ttl": 900.0, "lease_timeout": self.timeout, "start_timeout": self.timeout}
        recorder = TimingRecorder(run=run, worker="main")
        return Pool(self.bench.root, run=run, worker="main", recorder=recorder, **limits)  # type: ignore[arg-type]

    def _lease(self, pool: Pool) -> Lease:
        provider = self.provider()
        want = Want.prepared(self.spec, provider.info.name, provider, silent)
        alone = "isolation" in provider.info.capabilities
        isolation = Isolation.EXCLUSIVE if alone else Isolation.NAMESPACE
        return pool.lease([replace(want, isolation=isolation)], note="conformance")[0]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
