"""A provider whose clusters are one etcd under the real supervisor: every process and lock is real, in tenths of a second."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pytest_kina.errors import NotReadyError, ProvisionError
from pytest_kina.files import write_atomic
from pytest_kina.progress import Progress
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import components
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.link import Link, LinkBroken, entrust
from pytest_kina.providers.embedded.provider import EmbeddedProvider
from pytest_kina.providers.embedded.sockets import SocketProbe
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, Stopwatch
from pytest_kina.waiting import Deadline, wait_until

NAME = "tests.support.etcd_provider:EtcdProvider"
_HEALTHY = 10.0


class EtcdProvider(EmbeddedProvider):
    """The embedded provider, except that a cluster has one component, and that its kubeconfig leads nowhere."""

    def prepare(self, spec: ClusterSpec, progress: Progress) -> Mapping[str, str]:
        """Nothing to obtain for any spec: etcd is in ``KINA_ASSETS``."""
        return {"kubernetes": "v1.36.3", "provider_version": "1"}

    def create(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """Start etcd, and wait until it is healthy."""
        with stopwatch.phase(Phase.CREATE):
            self._start(place, timeout)

    def reset(self, spec: ClusterSpec, place: Place, stopwatch: Stopwatch, timeout: float) -> None:
        """End it, forget its data and keys, start it anew."""
        with stopwatch.phase(Phase.RESET):
            self.delete(place)
            self._start(place, timeout)

    def check(self, place: Place) -> str | None:
        """Why etcd cannot be used."""
        layout = Layout(place.directory)
        if layout.died.exists():
            return "it has died"
        try:
            return None if _is_healthy(layout) else "etcd is not healthy"
        except (OSError, ValueError) as error:
            return f"etcd cannot be asked: {error}"

    def _start(self, place: Place, timeout: float) -> None:
        layout, deadline = Layout(place.directory), Deadline(timeout)
        layout.wipe()
        layout.make()
        link = Link(place, layout.log("supervisor"))
        entrust(place.name, link)
        try:
            self._launch(layout, link, deadline)
        except (LinkBroken, OSError) as error:
            raise ProvisionError(f"{place.name} could not be started: {error}", cluster=place.name) from error

    def _launch(self, layout: Layout, link: Link, deadline: Deadline) -> None:
        link.reserve(["api"], deadline)  # as for every cluster
        write_atomic(layout.kubeconfig, b"{}")
        program = shutil.which("etcd", path=os.environ["KINA_ASSETS"])
        assert program, "KINA_ASSETS has etcd"
        link.spawn("etcd", components.etcd(layout).argv(Path(program)), {}, layout.log("etcd"), deadline)
        if not wait_until(lambda: _answers(layout) or None, Deadline(min(_HEALTHY, deadline.remaining)), interval=0.02):
            raise NotReadyError("etcd is not healthy", cluster=layout.directory.name, rung="etcd", component="etcd")


def _answers(layout: Layout) -> bool:
    try:
        return _is_healthy(layout)
    except OSError:
        return False


def _is_healthy(layout: Layout) -> bool:
    with closing(SocketProbe(layout.etcd_socket, timeout=2.0)) as probe:
        status, _ = probe.get("/health")
    return status == 200
