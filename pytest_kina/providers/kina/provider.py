"""The kina provider: virtual machines of Apple Container with a kubeadm cluster in them.

kina is not believed: exit code 0 hides failures, nothing is cleaned up after a failed create, readiness is not waited
for, deleting says "deleted" whatever happened. So each step is judged by its own evidence, and the machines are found
by their labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from pytest_kina import __version__
from pytest_kina.errors import CommandError, KinaError, ProvisionError
from pytest_kina.files import private_directory, write_atomic
from pytest_kina.progress import Progress, silent
from pytest_kina.providers import Place, ProviderInfo, own_prefix
from pytest_kina.providers.containers import machines, node_image
from pytest_kina.providers.containers.access import Access
from pytest_kina.providers.containers.apple import Machine
from pytest_kina.providers.containers.local_images import LocalImages
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.providers.containers.programs import dotted, why_absent
from pytest_kina.providers.containers.readiness import Ladder
from pytest_kina.providers.kina.household import Household
from pytest_kina.providers.kina.order import KUBERNETES, Order, refuse_name
from pytest_kina.providers.kina.tools import Tools
from pytest_kina.settings import default_root
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline

LABEL = "io.kina.cluster"
ADMIN = "/etc/kubernetes/admin.conf"

_CAPABILITIES = frozenset({"pods", "images", "multi-node", "resources", "isolation"})
_READ_SECONDS = 20.0
_DELETE_SECONDS = 60.0
_LOG_SECONDS = 5.0


class KinaProvider:
    """Clusters of ``kina``; methods: see :class:`~pytest_kina.providers.Provider`.

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
        """Name, version and capabilities. Without ``reset``: kubeadm's state cannot be brought back."""
        return ProviderInfo(name="kina", version=__version__, capabilities=_CAPABILITIES)

    def unavailable(self) -> str | None:
        """Why it cannot run here: a missing or unfit program, or its service."""
        return why_absent(lambda: self._tools)

    def validate(self, spec: ClusterSpec) -> None:
        """Raise :class:`SpecError` for a version or an option that kina does not have."""
        Order.of(spec, self._mirrors)

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Have the node image, whose download would not fit into the time for starting a cluster."""
        order = Order.of(spec, self._mirrors)
        return {
            "provider_version": __version__,
            "kubernetes": KUBERNETES,
            "runtime": f"kina {dotted(self._tools.kina_version)}, container {dotted(self._tools.apple.version)}",
            "node_image": node_image.have(spec, order.image, self._images, progress),
        }

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Let kina make the cluster, then prove it ready; every kubelet's certificate is approved on the way."""
        refuse_name(place.name)
        order, deadline = Order.of(spec, self._mirrors), Deadline(timeout)
        access = Access(place.directory)
        with stopwatch.phase(Phase.CREATE):
            made = self._make(order, place, deadline)
            self._take_over(place, access, made)
            ladder = Ladder(
                cluster=place.name,
                nodes=order.nodes(place.name),
                deadline=deadline,
                explain=lambda: "\n".join(self.logs(place, 20).values()),
            )
            with closing(access.probe()) as probe:
                ladder.answer(probe)
        with closing(access.probe()) as probe:
            with stopwatch.phase(Phase.STARTUP):
                ladder.climb(probe, serving=True)
            with stopwatch.phase(Phase.KUBECTL_READY):
                ladder.prove_access(probe)
        machines.note(place, made)

    def save_image(self, image: str, progress: Progress = silent) -> Path:
        """The archive of an image of this machine, or of a registry. Raises :class:`ProvisionError`."""
        return self._images.archive(image, progress)

    def load_image(self, place: Place, archive: Path, timeout: float) -> None:
        """Load an archive into every node, unless it is there, and prove that it is.

        Not by ``kina load``, which imports into a namespace where no kubelet looks (0.2.0).
        """
        names = [machine.name for machine in self._machines(place.name)]
        self._tools.apple.load_image(place, archive, names, timeout)

    def adopt(self, place: Place) -> None:
        """Nothing to do: machines belong to the service of ``container``, not to us."""

    def check(self, place: Place) -> str | None:
        """The same machines run since the same moment, and ``/readyz`` is ok.

        A restarted machine has another address, for which nothing in the cluster has a certificate: it is lost.
        """
        return machines.check(place, self._machines)

    def delete(self, place: Place) -> None:
        """Let kina delete it, then delete by force what is left, and prove that nothing is.

        Raises :class:`ProvisionError` when a machine stays.
        """
        machines.delete(place, self._tools.apple, self._machines, lambda: self._delete_kindly(place))

    def leftovers(self, clusters: Path) -> Sequence[str]:
        """Clusters of this pool that have machines, whether their directory is still there or not."""
        prefix = own_prefix(clusters)
        if not prefix or self.unavailable():
            return []
        names = {machine.labels.get(LABEL, "") for machine in self._tools.apple.machines()}
        return sorted(name for name in names if name.startswith(prefix))

    def logs(self, place: Place, lines: int) -> Mapping[str, str]:
        """What kina said, and the journal of each node's kubelet."""
        found = {"kina": "\n".join(_said(place).splitlines()[-lines:])}
        with suppress(KinaError):
            for machine in self._machines(place.name):
                journal = ("journalctl", "--no-pager", "--unit", "kubelet", "--lines", str(lines))
                found[machine.name] = self._tools.apple.inside(machine.name, *journal, timeout=_LOG_SECONDS)
        return {name: text for name, text in found.items() if text}

    @property
    def _images(self) -> LocalImages:
        folder = (self._root or default_root()) / "images"
        return LocalImages(self._tools.apple, folder, self._mirrors, self._offline)

    @cached_property
    def _tools(self) -> Tools:
        return Tools.find()

    def _machines(self, cluster: str) -> list[Machine]:
        return self._tools.apple.labelled(LABEL, cluster)

    def _make(self, order: Order, place: Place, deadline: Deadline) -> list[Machine]:
        """``kina create``, whose success is that the machines run."""
        household = Household(place.directory, self._tools)
        household.furnish()
        try:
            done = household.kina("create", place.name, *order.flags(), timeout=deadline.remaining)
        except CommandError as error:
            _keep_said(place, f"{error.details['stdout']}{error.details['stderr']}")
            raise ProvisionError(
                f"kina could not make {place.name}: {error.message}", next_step=_advice(error), cluster=place.name
            ) from error
        _keep_said(place, done.stdout + done.stderr)
        made = self._machines(place.name)
        running = {machine.name for machine in made if machine.state == "running" and machine.address}
        if missing := [name for name in order.nodes(place.name) if name not in running]:
            raise ProvisionError(
                f"kina said that {place.name} exists, but these nodes do not run: {', '.join(missing)}; there is: "
                + (machines.listed(made) or "nothing"),
                next_step="look at `container list --all`",
                cluster=place.name,
            )
        return made

    def _take_over(self, place: Place, access: Access, made: Sequence[Machine]) -> None:
        """The private kubeconfig: from kina's file, else from the node; at the address that the machine has now."""
        head = next(machine for machine in made if machine.name == f"{place.name}-control-plane")
        kept = Household(place.directory, self._tools).kubeconfig(place.name)
        try:
            access.take_over(kept, cluster=place.name, origin="kina", host=head.address)
        except ProvisionError:
            text = self._tools.apple.inside(head.name, "cat", ADMIN, timeout=_READ_SECONDS)
            access.take_over(text, cluster=place.name, origin=f"{head.name}:{ADMIN}", host=head.address)

    def _delete_kindly(self, place: Place) -> str:
        """What ``kina delete`` said, if it failed; it proves nothing either way."""
        with _home_of(place) as directory:
            household = Household(directory, self._tools)
            try:
                household.furnish()
                household.kina("delete", place.name, timeout=_DELETE_SECONDS)
            except (CommandError, OSError) as error:
                return str(error)
        return ""


def _home_of(place: Place) -> AbstractContextManager[Path]:
    """The cluster's directory, or a temporary one where it is gone already."""
    return nullcontext(place.directory) if place.directory.is_dir() else _temporary()


@contextmanager
def _temporary() -> Iterator[Path]:
    with TemporaryDirectory(prefix="kina-") as directory:
        yield Path(directory)


def _log(place: Place) -> Path:
    return place.directory / "logs" / "kina.log"


def _keep_said(place: Place, text: str) -> None:
    write_atomic(private_directory(_log(place).parent) / _log(place).name, text.encode())


def _said(place: Place) -> str:
    try:
        return _log(place).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _advice(error: CommandError) -> str:
    """The next step for what kina, or what it drives, says most often."""
    said = error.message
    for words, advice in _ADVICE.items():
        if words in said:
            return advice
    return "read what kina said above; what it left is deleted"


_ADVICE = {
    "did not finish within": "raise --kina-start-timeout; what it left is deleted",
    "Read-only file system": "upgrade `container` and kina: this pair leaves /proc/sys read-only in nodes",
    "XPC connection": "run `container system start`",
    "No space left": "make room on the disk; `container image prune` helps",
    "Virtualization is not available": "this machine cannot start virtual machines: use --kina-provider=embedded",
    "could not be pulled": "check the network and the name of the node image",
    "kubectl config view failed": "repair kubectl on PATH",
}
