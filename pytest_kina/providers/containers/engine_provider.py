"""What kind and k3d have in common: nodes are containers of docker, podman or nerdctl, found by a label."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path

from pytest_kina import __version__
from pytest_kina.errors import CommandError, KinaError, ProviderUnavailableError, ProvisionError, SpecError
from pytest_kina.files import private_directory, write_atomic
from pytest_kina.process import CommandResult, run_command
from pytest_kina.progress import Progress, silent
from pytest_kina.providers import Place, ProviderInfo, own_prefix
from pytest_kina.providers.containers import node_image
from pytest_kina.providers.containers.access import Access
from pytest_kina.providers.containers.engine import ENGINES, Container, Engine
from pytest_kina.providers.containers.local_images import LocalImages
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.providers.containers.nodes import load_once
from pytest_kina.providers.containers.programs import (
    Version,
    complaint,
    dotted,
    installed,
    plain_environment,
    version_in,
    why_absent,
)
from pytest_kina.providers.containers.readiness import Ladder
from pytest_kina.settings import default_root
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline

_LOOK_SECONDS = 20.0
_DELETE_SECONDS = 60.0
_LOG_SECONDS = 5.0


class EngineProvider(ABC):
    """Clusters of one tool whose nodes are containers; methods: see :class:`~pytest_kina.providers.Provider`.

    ``root`` is the state directory, where image archives are kept; ``offline`` forbids pulling node images;
    ``image_mirrors`` says where to pull from instead of a registry.
    """

    name: str
    label: str
    """The label whose value is the cluster's name."""
    oldest: Version
    version_words: str
    """What comes before the version in what ``version`` prints."""
    engines: Sequence[str] = ENGINES
    capabilities = frozenset({"pods", "images", "multi-node", "versions", "isolation"})
    options: Sequence[str] = (node_image.OPTION,)

    def __init__(
        self, root: Path | None = None, *, offline: bool = False, image_mirrors: Mapping[str, str] | None = None
    ) -> None:
        self._root = root
        self._offline = offline
        self.mirrors = Mirrors(image_mirrors or {})

    # What a tool is

    @abstractmethod
    def image(self, version: str) -> str:
        """The node image for a Kubernetes version. Raises :class:`SpecError` for one that is not known."""

    @abstractmethod
    def kubernetes(self, image: str) -> str:
        """The Kubernetes version (``v1.36.1``) that a node image runs. Raises :class:`SpecError`."""

    @abstractmethod
    def nodes(self, spec: ClusterSpec, cluster: str) -> list[str]:
        """The names of the cluster's nodes, as Kubernetes knows them."""

    @abstractmethod
    def order(self, spec: ClusterSpec, place: Place, image: str) -> Sequence[str | Path]:
        """The arguments that create the cluster; files that they name are written."""

    @abstractmethod
    def kubeconfig_order(self, cluster: str) -> Sequence[str | Path]:
        """The arguments that print the cluster's kubeconfig."""

    @abstractmethod
    def delete_order(self, place: Place) -> Sequence[str | Path]:
        """The arguments that delete the cluster."""

    @abstractmethod
    def load_order(self, cluster: str, archive: Path) -> Sequence[str | Path]:
        """The arguments that load an archive into all nodes."""

    def identity(self, spec: ClusterSpec) -> Mapping[str, str]:  # noqa: ARG002 - for tools with files of the user's
        """What else makes a difference to the cluster. Raises :class:`SpecError`."""
        return {}

    def helpers(self) -> Mapping[str, str]:
        """Images that the tool needs beside the nodes', each with the variable that names it to the tool."""
        return {}

    def surroundings(self, place: Place) -> Mapping[str, str]:
        """Variables that keep the tool from files of the user's."""
        return {"KUBECONFIG": str(place.directory / "tool.kubeconfig"), **self.helpers()}

    # What a provider is

    @property
    def info(self) -> ProviderInfo:
        """Name, version and capabilities."""
        return ProviderInfo(name=self.name, version=__version__, capabilities=self.capabilities)

    def unavailable(self) -> str | None:
        """Why it cannot run here: the tool, or the engine."""
        return why_absent(lambda: (self._program, self.engine))

    def validate(self, spec: ClusterSpec) -> None:
        """Raise :class:`SpecError` for a version or an option that the tool does not have."""
        if unknown := sorted({key for key, _ in spec.provider_options} - set(self.options)):
            have = ", ".join(self.options)
            raise SpecError(f"provider_options: {self.name} has no {', '.join(unknown)}; it has {have}")
        self.kubernetes(self._image(spec))

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Pull the images of the nodes once, whoever else wants them at the same time."""
        self.validate(spec)
        image = self._image(spec)
        found = node_image.have(spec, image, self._images, progress)
        self._images.have(self.helpers().values(), progress)
        return {
            "provider_version": __version__,
            "kubernetes": self.kubernetes(image),
            "runtime": f"{self.name} {dotted(self._program[1])}, {self.engine.name} {self.engine.version()}",
            "node_image": found,
            **({"image_mirrors": json.dumps(dict(self.mirrors.of), sort_keys=True)} if self.mirrors.of else {}),
            **self.identity(spec),
        }

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Let the tool make the cluster, then prove it ready."""
        self.validate(spec)
        deadline, access = Deadline(timeout), Access(place.directory)
        with stopwatch.phase(Phase.CREATE):
            self._make(spec, place, deadline)
            text = self._tool(place, self.kubeconfig_order(place.name), _LOOK_SECONDS).stdout
            access.take_over(text, cluster=place.name, origin=self.name, host="127.0.0.1")
            ladder = self._ladder(spec, place, deadline)
            with closing(access.probe()) as probe:
                ladder.answer(probe)
        with closing(access.probe()) as probe:
            with stopwatch.phase(Phase.STARTUP):
                ladder.climb(probe, serving=False)
                ladder.runs(probe, self.kubernetes(self._image(spec)))
            with stopwatch.phase(Phase.KUBECTL_READY):
                ladder.prove_access(probe)

    def adopt(self, place: Place) -> None:  # noqa: B027 - no tool has more to do
        """Nothing to do: containers belong to the engine's service, not to us."""

    def check(self, place: Place) -> str | None:
        """All nodes run, and ``/readyz`` is ok."""
        try:
            nodes = self._nodes(place.name)
            if stopped := [node.name for node in nodes if not node.running]:
                return f"its nodes {', '.join(stopped)} do not run"
            return Access(place.directory).unready() if nodes else "its nodes are gone"
        except (OSError, ValueError, KinaError) as error:
            return f"it cannot be asked: {error}"

    def delete(self, place: Place) -> None:
        """Let the tool delete it, then delete by force what is left, and prove that nothing is.

        Raises :class:`ProvisionError` when a node stays.
        """
        if not self._nodes(place.name):
            return
        said = ""
        with suppress(ProviderUnavailableError):
            try:
                self._tool(place, self.delete_order(place), _DELETE_SECONDS)
            except CommandError as error:
                said = error.message
        if left := self._nodes(place.name):
            self.engine.remove([node.name for node in left])
            left = self._nodes(place.name)
        if left:
            names = " ".join(node.name for node in left)
            raise ProvisionError(
                f"cluster {place.name} could not be deleted; still there: {names}" + (f"\n{said}" if said else ""),
                next_step=f"{self.engine.name} rm --force --volumes {names}",
                cluster=place.name,
            )

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Clusters of this pool that have containers, or only a directory."""
        prefix = own_prefix(clusters)
        if not prefix or self.unavailable():
            return []
        # In either tool a node's name holds its cluster's, and something after it.
        mark = re.compile(rf"{prefix}\d+-[0-9a-f]+(?=-)")
        names = [mark.search(node.name) for node in self.engine.nodes(self.label)]
        return sorted({found[0] for found in names if found})

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """What the tool said, and what each node wrote."""
        found = {}
        with suppress(OSError):
            found[self.name] = "\n".join(self._log(place).read_text(errors="replace").splitlines()[-lines:])
        with suppress(KinaError):
            for node in self._nodes(place.name):
                said = self.engine.run("logs", "--tail", str(lines), node.name, timeout=_LOG_SECONDS, check=False)
                found[node.name] = "\n".join((said.stdout + said.stderr).splitlines()[-lines:])
        return {name: text for name, text in found.items() if text}

    def save_image(self, image: str, progress: Progress = silent) -> Path:
        """The archive of an image of this machine, or of a registry. Raises :class:`ProvisionError`."""
        return self._images.archive(image, progress)

    def load_image(self, place: Place, archive: Path, timeout: float) -> None:
        """Load an archive into every node, unless it is there, and prove that it is."""
        nodes = [node.name for node in self._nodes(place.name) if self.runs_pods(node.name)]

        def crictl(node: str) -> str:
            return self.engine.run("exec", node, "crictl", "images", "-o", "json", timeout=timeout).stdout

        def load() -> None:
            self._tool(place, self.load_order(place.name, archive), timeout)

        load_once(place, archive, nodes, load, crictl, timeout)

    def runs_pods(self, container: str) -> bool:
        """Whether a container of the cluster is a node, not a helper beside them."""
        return bool(container)

    @cached_property
    def engine(self) -> Engine:
        """The engine that the tool works with. Raises :class:`ProviderUnavailableError`."""
        return Engine.find(self.engines)

    @property
    def tool_version(self) -> Version:
        """The installed tool's version. Raises :class:`ProviderUnavailableError`."""
        return self._program[1]

    @property
    def _images(self) -> LocalImages:
        folder = (self._root or default_root()) / "images"
        return LocalImages(self.engine, folder, self.mirrors, self._offline)

    @cached_property
    def _program(self) -> tuple[Path, Version]:
        if not (found := installed(self.name)):
            raise ProviderUnavailableError(f"`{self.name}` is not on PATH", next_step=f"install {self.name}")
        try:
            said = run_command([found[0], "version"], timeout=_LOOK_SECONDS, env=plain_environment()).stdout
        except CommandError as error:
            raise ProviderUnavailableError(f"{found[0]} does not run: {complaint(error)}") from error
        version = version_in(said, self.version_words)
        if version is None:
            raise ProviderUnavailableError(f"{found[0]} version is not understood: {said.strip()[:200]!r}")
        if version < self.oldest:
            raise ProviderUnavailableError(
                f"{found[0]} is {dotted(version)}; {dotted(self.oldest)} is the oldest that can be driven",
                next_step=f"upgrade {self.name}",
            )
        return found[0], version

    def _image(self, spec: ClusterSpec) -> str:
        return node_image.reference(spec, lambda: self.image(spec.version), self.mirrors)

    def _nodes(self, cluster: str) -> list[Container]:
        return self.engine.nodes(f"{self.label}={cluster}")

    def _tool(self, place: Place, arguments: Sequence[str | Path], timeout: float) -> CommandResult:
        environment = self.engine.environment(**self.surroundings(place))
        return run_command([self._program[0], *arguments], timeout=timeout, env=environment)

    def _make(self, spec: ClusterSpec, place: Place, deadline: Deadline) -> None:
        """The tool's ``create``, whose success is that the nodes run."""
        order = self.order(spec, place, self._image(spec))
        try:
            done = self._tool(place, order, deadline.remaining)
        except CommandError as error:
            self._keep_said(place, f"{error.details['stdout']}{error.details['stderr']}")
            raise ProvisionError(
                f"{self.name} could not make {place.name}: {error.message}",
                next_step="read what it said above; what it left is deleted",
                cluster=place.name,
            ) from error
        self._keep_said(place, done.stdout + done.stderr)
        nodes = self._nodes(place.name)
        if not nodes or not all(node.running for node in nodes):
            there = ", ".join(f"{node.name} ({'running' if node.running else 'stopped'})" for node in nodes)
            raise ProvisionError(
                f"{self.name} said that {place.name} exists, but not all nodes run; there is: {there or 'nothing'}",
                next_step=f"look at `{self.engine.name} ps --all`",
                cluster=place.name,
            )

    def _ladder(self, spec: ClusterSpec, place: Place, deadline: Deadline) -> Ladder:
        explain = lambda: "\n".join(self.logs(place, 20).values())  # noqa: E731
        return Ladder(cluster=place.name, nodes=self.nodes(spec, place.name), deadline=deadline, explain=explain)

    def _log(self, place: Place) -> Path:
        return place.directory / "logs" / f"{self.name}.log"

    def _keep_said(self, place: Place, text: str) -> None:
        path = self._log(place)
        write_atomic(private_directory(path.parent) / path.name, text.encode())
