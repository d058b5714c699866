"""Clusters made by Apple's own ``container k8s`` (1.2.2 and later): one node, readiness waited for by the tool, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path

from pytest_kina import __version__
from pytest_kina.errors import CommandError, KinaError, ProviderUnavailableError, ProvisionError, SpecError
from pytest_kina.process import CommandResult, run_command
from pytest_kina.progress import Progress, silent
from pytest_kina.providers import Place, ProviderInfo, own_prefix
from pytest_kina.providers.containers import machines, node_image
from pytest_kina.providers.containers.access import Access
from pytest_kina.providers.containers.apple import Apple, Machine
from pytest_kina.providers.containers.kindest import image_for, version_of
from pytest_kina.providers.containers.local_images import LocalImages
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.providers.containers.programs import Version, dotted, plain_environment, why_absent
from pytest_kina.providers.containers.readiness import Ladder
from pytest_kina.settings import default_root
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline

__all__ = ["AppleK8sProvider"]

LABEL = "com.apple.container.plugin"

_OLDEST: Version = (1, 2, 2)
"""In 1.2.1 a resource of the plugin was missing, before that the plugin."""

_OPTIONS = (node_image.OPTION,)
_LOOK_SECONDS = 20.0
_DELETE_SECONDS = 60.0
_LOG_SECONDS = 5.0
_ATTEMPTS = 3
_PORT_TAKEN = "address already in use"


class AppleK8sProvider:
    """Clusters of ``container k8s``; methods: see :class:`~pytest_kina.providers.Provider`.

    ``root`` is the state directory, where image archives are kept; ``offline`` forbids pulling the node image;
    ``image_mirrors`` says where to pull it from instead of a registry.
    """

    def __init__(
        self, root: Path | None = None, *, offline: bool = False, image_mirrors: Mapping[str, str] | None = None
    ) -> None:
        self._root = root
        self._offline = offline
        self._mirrors = Mirrors(image_mirrors or {})

    @property
    def info(self) -> ProviderInfo:
        """Name, version and capabilities."""
        capabilities = frozenset({"pods", "images", "resources", "versions", "isolation"})
        return ProviderInfo(name="apple_k8s", version=__version__, capabilities=capabilities)

    def unavailable(self) -> str | None:
        """Why it cannot run here: ``container``, its service, or a version without the plugin."""
        return why_absent(lambda: self._apple)

    def validate(self, spec: ClusterSpec) -> None:
        """Raise :class:`SpecError` for a version or an option that it does not have."""
        if unknown := sorted({key for key, _ in spec.provider_options} - set(_OPTIONS)):
            raise SpecError(f"provider_options: apple_k8s has no {', '.join(unknown)}; it has {', '.join(_OPTIONS)}")
        version_of(self._image(spec))

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Have the node image, whose download would not fit into the time for starting a cluster."""
        self.validate(spec)
        image = self._image(spec)
        return {
            "provider_version": __version__,
            "kubernetes": version_of(image),
            "runtime": f"container {dotted(self._apple.version)}",
            "node_image": node_image.have(spec, image, self._images, progress),
        }

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Let the tool make the cluster, then prove it ready."""
        self.validate(spec)
        deadline, access = Deadline(timeout), Access(place.directory)
        with stopwatch.phase(Phase.CREATE):
            self._make(spec, place, deadline)
            self._take_over(place, access)
            made = self._machines(place.name)
            ladder = Ladder(cluster=place.name, nodes=(), deadline=deadline, explain=lambda: self._journal(place, 20))
            with closing(access.probe()) as probe:
                ladder.answer(probe)
        with closing(access.probe()) as probe:
            with stopwatch.phase(Phase.STARTUP):
                ladder.climb(probe, serving=False)
                ladder.runs(probe, version_of(self._image(spec)))
            with stopwatch.phase(Phase.KUBECTL_READY):
                ladder.prove_access(probe)
        machines.note(place, made)

    def save_image(self, image: str, progress: Progress = silent) -> Path:
        """The archive of an image of this machine, or of a registry. Raises :class:`ProvisionError`."""
        return self._images.archive(image, progress)

    def load_image(self, place: Place, archive: Path, timeout: float) -> None:
        """Load an archive into the node, unless it is there, and prove that it is."""
        self._apple.load_image(place, archive, [place.name], timeout)

    def adopt(self, place: Place) -> None:
        """Nothing to do: machines belong to the service of ``container``, not to us."""

    def check(self, place: Place) -> str | None:
        """The same machine runs since the same moment, and ``/readyz`` is ok."""
        return machines.check(place, self._machines)

    def delete(self, place: Place) -> None:
        """Let the tool delete it, then delete by force what is left. Raises :class:`ProvisionError` when it stays."""

        def kindly() -> str:
            try:
                self._k8s(place, "delete", "--name", place.name, timeout=_DELETE_SECONDS)
            except CommandError as error:
                return error.message
            return ""

        machines.delete(place, self._apple, self._machines, kindly)

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Clusters of this pool that have a machine."""
        prefix = own_prefix(clusters)
        if not prefix or self.unavailable():
            return []
        names = [machine.name for machine in self._apple.labelled(LABEL, "k8s")]
        return sorted(name for name in names if name.startswith(prefix))

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """The journal of the node's kubelet."""
        text = self._journal(place, lines)
        return {"kubelet": text} if text else {}

    @property
    def _images(self) -> LocalImages:
        folder = (self._root or default_root()) / "images"
        return LocalImages(self._apple, folder, self._mirrors, self._offline)

    @cached_property
    def _apple(self) -> Apple:
        apple = Apple.find()
        if apple.version < _OLDEST:
            raise ProviderUnavailableError(
                f"`container` {dotted(apple.version)} has no working `container k8s`; {dotted(_OLDEST)} is the first",
                next_step="upgrade `container`",
            )
        apple.refuse_stopped_service()
        if apple.run("k8s", "--help", timeout=_LOOK_SECONDS, check=False).returncode != 0:
            raise ProviderUnavailableError(
                "this `container` was built without its k8s plugin", next_step="install Apple's own package"
            )
        return apple

    def _image(self, spec: ClusterSpec) -> str:
        return node_image.reference(spec, lambda: image_for(spec.version), self._mirrors)

    def _machines(self, cluster: str) -> list[Machine]:
        return [machine for machine in self._apple.labelled(LABEL, "k8s") if machine.name == cluster]

    def _k8s(self, place: Place, *arguments: str | Path, timeout: float) -> CommandResult:
        """It asks the system, not HOME, where the user's kubeconfig is: only KUBECONFIG keeps it away from there."""
        environment = plain_environment({"KUBECONFIG": str(_tools_own(place))})
        return run_command([self._apple.program, "k8s", *arguments], timeout=timeout, env=environment)

    def _make(self, spec: ClusterSpec, place: Place, deadline: Deadline) -> None:
        flags = ["--name", place.name, "--node-image", self._image(spec)]
        flags += ["--cpus", str(spec.cpus)] if spec.cpus else []
        flags += ["--memory", f"{spec.memory_mib}m"] if spec.memory_mib else []
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._k8s(place, "create", *flags, timeout=deadline.remaining)
            except CommandError as error:
                # It looks for a free port and uses it later; of two at a time one may lose.
                if _PORT_TAKEN in error.message.lower() and attempt < _ATTEMPTS:
                    self._apple.remove([place.name])
                    continue
                raise ProvisionError(
                    f"`container k8s` could not make {place.name}: {error.message}",
                    next_step="read what it said above; what it left is deleted",
                    cluster=place.name,
                ) from error
            return

    def _take_over(self, place: Place, access: Access) -> None:
        """The private kubeconfig; that the tool could not write it is only a warning of its."""
        own = _tools_own(place)
        if not own.exists() or place.name not in own.read_text(errors="replace"):
            self._k8s(place, "write-config", "--name", place.name, "--kubeconfig", own, timeout=_LOOK_SECONDS)
        text = own.read_text(errors="replace")
        access.take_over(text, cluster=place.name, origin="container k8s", context=place.name)

    def _journal(self, place: Place, lines: int) -> str:
        journal = ("journalctl", "--no-pager", "--unit", "kubelet", "--lines", str(lines))
        with suppress(KinaError):
            return self._apple.inside(place.name, *journal, timeout=_LOG_SECONDS)
        return ""


def _tools_own(place: Place) -> Path:
    return place.directory / "tool.kubeconfig"
