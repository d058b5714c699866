"""The embedded provider: the real control plane as processes of this machine, no container engine."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from pytest_kina import __version__
from pytest_kina.cluster import content
from pytest_kina.errors import BinaryError, ProvisionError, SpecError
from pytest_kina.files import tail
from pytest_kina.progress import Progress, silent
from pytest_kina.providers import CannotReset, Place, ProviderInfo, own_prefix
from pytest_kina.providers.embedded import components, link, processes, swept, templates
from pytest_kina.providers.embedded.assets import Programs, Source
from pytest_kina.providers.embedded.ending import end
from pytest_kina.providers.embedded.health import Health
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.making import make
from pytest_kina.providers.embedded.recipe import Recipe
from pytest_kina.providers.embedded.room import await_memory
from pytest_kina.providers.embedded.transient import at_most_twice
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline

_CAPABILITIES = frozenset(
    {
        "api-server-args",
        "content",
        "feature-gates",
        "isolation",
        "profiles",
        "reset",
        "simulated-nodes",
        "users",
        "versions",
    }
)
_log = logging.getLogger(__name__)

_SWEEP_SECONDS = 10.0
_ADOPT_SECONDS = 5.0


class EmbeddedProvider:
    """Clusters of etcd and kube-apiserver, and in the profile ``workloads`` the rest of a control plane and kwok.

    ``root`` (the state directory), ``offline``, ``mirror`` and ``assets`` (directories) say where binaries may come
    from; without them the environment's ``KINA_HOME``, ``KINA_OFFLINE``, ``KINA_MIRROR`` and ``KINA_ASSETS`` do.
    ``reset``: ``restore``, or ``sweep`` for clusters that are swept where that suffices.
    Methods: see :class:`~pytest_kina.providers.Provider`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        offline: bool | None = None,
        mirror: str | None = None,
        assets: Sequence[Path] = (),
        reset: str = "restore",
    ) -> None:
        self._sweep = reset == "sweep"
        self._source = Source(root, offline, mirror, tuple(assets))
        self._health = Health()
        self._obtained: dict[tuple[str, str], Programs] = {}

    @property
    def info(self) -> ProviderInfo:
        """Name, version and capabilities."""
        return ProviderInfo(name="embedded", version=__version__, capabilities=_CAPABILITIES, supervised=True)

    def unavailable(self) -> str | None:
        """Why it cannot run here: the platform, or a missing extra."""
        if sys.platform not in {"linux", "darwin"}:
            return f"the embedded provider runs on Linux and macOS, not on {sys.platform}"
        needed = ("cryptography",) if sys.platform == "linux" else ("cryptography", "psutil")  # Linux has /proc
        missing = [name for name in needed if find_spec(name) is None]
        if missing:
            return f"{' and '.join(missing)} cannot be imported: pip install 'pytest-kina[embedded]'"
        return None

    def validate(self, spec: ClusterSpec) -> None:
        """Refuse unknown profiles, nodes without controllers, versions that cannot be, and what is not ours to set."""
        if spec.provider_options:
            names = ", ".join(name for name, _ in spec.provider_options)
            raise SpecError(f"provider_options: the embedded provider has none, got {names}")
        if spec.profile not in components.PROFILES:
            raise SpecError(f"profile {spec.profile!r} is not known; expected one of {', '.join(components.PROFILES)}")
        if spec.profile == "api" and spec.simulated_nodes:
            raise SpecError(
                f"simulated_nodes={spec.simulated_nodes} contradicts profile='api', which runs neither nodes nor pods",
                next_step="use profile='workloads', or simulated_nodes=0",
            )
        components.api_server(spec, Layout(Path()), 0)
        from pytest_kina.binaries import releases  # here: a running cluster's helpers need no binaries

        try:
            releases.want(spec.version, components.PROFILES[spec.profile])
        except BinaryError as error:
            raise SpecError(f"version: {error.message}", next_step=error.next_step) from error

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Obtain the binaries. Clusters that are swept are others: who asks for a restore must not get one of them."""
        self.validate(spec)
        return self._identity(self._programs(spec, progress)) | ({"reset": "sweep"} if self._sweep else {})

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Start the cluster in the place's directory, from a template if there is one, and prove it ready.

        Once more after a passing cause.
        """
        self.validate(spec)
        recipe = self._recipe(spec)
        await_memory(place.name, spec.profile, timeout)

        def start(seconds: float) -> None:
            make(spec, place, recipe, stopwatch, seconds, measure=stopwatch.phase)

        at_most_twice(place.name, timeout, start)

    def adopt(self, place: Place) -> None:
        """Tell the supervisor to outlive this process; nothing to do for a cluster that was adopted before."""
        if mine := link.claim(place.name):
            try:
                mine.adopt(Deadline(_ADOPT_SECONDS))
            except link.LinkBroken as error:
                raise ProvisionError(
                    f"cluster {place.name} could not be adopted: {error}", cluster=place.name
                ) from error
            finally:
                mine.close()

    def check(self, place: Place) -> str | None:
        """See :meth:`Health.problem`."""
        return self._health.problem(place)

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Kill everything, forget all data and keys, and make the same cluster again, on other ports.

        A cluster that is to be swept is swept, and made again only when that does not lead to what it was.
        """
        recipe = Recipe.recall(Layout(place.directory), place.name)

        def start(seconds: float) -> None:
            make(spec, place, recipe, stopwatch.bind(), seconds, measure=lambda _: nullcontext())

        deadline = Deadline(timeout)
        if not recipe.sweep:
            _refuse_vain_reset(spec, place, recipe)
        with stopwatch.phase(Phase.RESET):
            if recipe.sweep:
                if self._swept(place, Deadline(min(_SWEEP_SECONDS, timeout / 2))):
                    return
                _refuse_vain_reset(spec, place, recipe)
            self._health.forget(place.name)
            end(place)
            at_most_twice(place.name, deadline.remaining, start)

    def _swept(self, place: Place, deadline: Deadline) -> bool:
        why = self.check(place) or swept.attempt(place.directory, deadline) or self.check(place)
        if why:
            _log.info("%s is restored, because sweeping does not suffice: %s", place.name, why)
        return why is None

    def delete(self, place: Place) -> None:
        """End the supervisor and every process that carries the cluster's mark; the directory stays for its owner."""
        self._health.forget(place.name)
        end(place)
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
        prefix = own_prefix(clusters)
        alive = {name for name in processes.marked().values() if prefix and name.startswith(prefix)}
        return sorted(directories | alive)

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """The end of each component's log, by component."""
        found = {path.stem: tail(path, lines) for path in sorted(Layout(place.directory).logs.glob("*.log"))}
        return {component: text for component, text in found.items() if text}

    def template(self, spec: ClusterSpec) -> templates.Template | None:
        """What the next cluster of this spec would start from. Raises :class:`~pytest_kina.errors.BinaryError`."""
        return templates.find(self._recipe(spec).template)

    def forget_template(self, spec: ClusterSpec) -> None:
        """Remove the template of ``spec``, and that without its content. Raises :class:`OSError`."""
        recipe = self._recipe(spec)
        for directory in {recipe.template, recipe.base}:
            templates.remove(directory)

    def _recipe(self, spec: ClusterSpec) -> Recipe:
        programs = self._programs(spec, silent)
        identity, plain = self._identity(programs), replace(spec, crds=(), helm=(), manifests=(), bootstrap=())
        store = self._source.home / "templates"
        return Recipe(
            paths=programs.paths,
            versions=programs.versions,
            sweep=self._sweep,
            template=store / templates.key_of(spec, identity | content.identity(spec)),
            base=store / templates.key_of(plain, identity),
        )

    def _identity(self, programs: Programs) -> dict[str, str]:
        return {"provider_version": __version__, **programs.identity()}

    def _programs(self, spec: ClusterSpec, progress: Progress) -> Programs:
        key = (spec.version, spec.profile)
        if key not in self._obtained:
            self._obtained[key] = self._source.obtain(spec, progress)
        return self._obtained[key]


def _refuse_vain_reset(spec: ClusterSpec, place: Place, recipe: Recipe) -> None:
    """Raise :class:`CannotReset` when the content would have to be installed again, and this process cannot do that.

    The idle helper knows neither the project's directory nor its path of modules.
    """
    if not spec.content or templates.find(recipe.template) is not None:
        return
    if why := content.obstacle(spec):
        raise CannotReset(f"cluster {place.name} has lost its template, and {why}", cluster=place.name)
