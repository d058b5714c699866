"""The embedded provider with the real control plane: what users rely on, and what must be worthless after a reset."""

from __future__ import annotations

import errno
import json
import os
import secrets
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.certificates import issue_client
from pytest_kina.cluster.simulating.kwok import STAGES_FILE, Kwok
from pytest_kina.cluster.simulating.stages import COMMON, failing
from pytest_kina.errors import NotReadyError, ProvisionError
from pytest_kina.progress import silent
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider, credentials, processes
from pytest_kina.providers.embedded.layout import ETCD_PEER_SOCKET, ETCD_SOCKET, Layout
from pytest_kina.providers.embedded.readiness import Ladder
from pytest_kina.providers.embedded.sockets import SocketProbe
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingRecorder
from pytest_kina.waiting import Deadline, Probe, wait_until

pytestmark = pytest.mark.real_control_plane

SPECS = {"api": ClusterSpec(profile="api", simulated_nodes=0), "workloads": ClusterSpec(simulated_nodes=3)}


class Running:
    """A real cluster and a way to talk to it as anybody."""

    def __init__(self, directory: Path, spec: ClusterSpec, root: Path) -> None:
        directory.mkdir(mode=0o700)
        lock = directory.parent / f"{directory.name}.lock"
        lock.touch()
        tidy = ("/bin/echo", '{"wake_after": null, "watch": [], "stop": false}')
        self.place = Place(name=directory.name, directory=directory, slot_lock=lock, tidy=tidy)
        self.spec = spec
        self.provider = EmbeddedProvider(root)
        self.recorder = TimingRecorder(run="r", worker="main")

    def create(self) -> Running:
        """Create and adopt it."""
        self.provider.prepare(self.spec, silent)
        self.provider.create(self.spec, self.place, self.recorder.bind(cluster=self.place.name), 120)
        self.provider.adopt(self.place)
        return self

    @property
    def pki(self) -> Path:
        """Where its keys are."""
        return self.place.directory / "pki"

    def ask(
        self, method: str, path: str, document: Any = None, *, pem: Path | None = None, token: str | None = None
    ) -> tuple[int, Any]:
        """One request as the administrator, as the owner of ``pem``, or with a bearer token and no certificate."""
        body = json.dumps(document).encode() if document is not None else None
        port = credentials.api_port(self.place.directory / "kubeconfig")
        if token is not None:
            return _with_token(self.pki / "serving-ca.crt", port, path, token)
        probe = Probe("127.0.0.1", port, ca=self.pki / "serving-ca.crt", certificate=pem or self.pki / "kina-admin.pem")
        try:
            status, answer = probe.request(method, path, body)
        finally:
            probe.close()
        return status, json.loads(answer)

    def wait(self, path: str, look: Callable[[Any], Any]) -> Any:
        """Poll an object until ``look`` is true of it; returns what ``look`` did."""

        def once() -> Any:
            status, document = self.ask("GET", path)
            return look(document) if status == 200 else None

        seen = wait_until(once, Deadline(60), interval=0.05)
        assert seen, f"{path}: {self.ask('GET', path)}"
        return seen


def _with_token(ca: Path, port: int, path: str, token: str) -> tuple[int, Any]:
    from http.client import HTTPSConnection

    context = ssl.create_default_context(cafile=str(ca))
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[[str], Running]]:
    """Makes clusters that are not started yet; they are gone after the test, and that is proven."""
    made: list[Running] = []

    def make(profile: str) -> Running:
        directory = tmp_path / f"kina-{secrets.token_hex(3)}-0-{secrets.token_hex(4)}"
        made.append(Running(directory, SPECS[profile], tmp_path / "root"))
        return made[-1]

    yield make
    for cluster in made:
        cluster.provider.delete(cluster.place)
        assert cluster.place.name not in processes.marked().values()


@pytest.fixture(scope="module")
def workloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One cluster for all tests that only add a namespace to it."""
    name = f"kina-{secrets.token_hex(3)}-0-{secrets.token_hex(4)}"
    folder = tmp_path_factory.mktemp("embedded")
    cluster = Running(folder / name, SPECS["workloads"], folder / "root").create()
    yield cluster
    cluster.provider.delete(cluster.place)
    assert cluster.place.name not in processes.marked().values()


@pytest.fixture
def namespace(workloads: Running) -> str:
    """A namespace of the test's own."""
    name = f"t-{secrets.token_hex(4)}"
    assert workloads.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})[0] == 201
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    workloads.wait(account, lambda _: True)
    return name


POD = {"containers": [{"name": "c", "image": "registry.invalid/none"}]}


def template(**labels: str) -> dict[str, Any]:
    """A pod template with the labels."""
    return {"metadata": {"labels": labels}, "spec": POD}


# ---- profile api


def test_an_api_cluster_lives_from_create_to_delete(new: Callable[[str], Running]) -> None:
    """It is ready, measured in three phases, answers within its check, and leaves no process behind."""
    cluster = new("api").create()
    phases = [event.phase for event in cluster.recorder.drain()]
    assert phases == [Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY, Phase.TEMPLATE]
    assert cluster.provider.check(cluster.place) is None
    assert cluster.ask("GET", "/version")[1]["gitVersion"].startswith("v1.36.")
    assert cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "mine"}})[0] == 201
    cluster.provider.delete(cluster.place)
    assert cluster.provider.check(cluster.place) == "its supervisor is not running"


# From within the directory, so that it is its own mode that counts, and not that of what is above it.
CONNECT = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[2]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root, as CI has it")
def test_etcd_is_closed_to_other_users_of_the_machine(new: Callable[[str], Running]) -> None:
    """It listens on no port, and whoever may not enter the cluster's directory does not reach its sockets."""
    cluster = new("api").create()
    directory = cluster.place.directory
    with closing(SocketProbe(Layout(directory).etcd_socket)) as ours:
        assert ours.get("/health")[0] == 200
    for name in (ETCD_SOCKET, ETCD_PEER_SOCKET):
        assert stat.S_ISSOCK((directory / name).stat().st_mode)
        stranger = subprocess.run([sys.executable, "-c", CONNECT, directory, name], check=False)
        assert stranger.returncode == errno.EACCES


def test_feature_gates_and_arguments_reach_the_server(new: Callable[[str], Running]) -> None:
    """What the spec asks for is what the server runs with."""
    cluster = new("api")
    cluster.spec = ClusterSpec(
        profile="api",
        simulated_nodes=0,
        feature_gates=(("APIResponseCompression", False),),
        api_server_args=(("event-ttl", "5m"), ("runtime-config", "autoscaling/v2=false")),
    )
    cluster.create()
    assert cluster.ask("GET", "/apis/autoscaling/v2")[0] == 404
    command = next(
        text
        for pid, name in processes.marked().items()
        if name == cluster.place.name and "--secure-port" in (text := Path(f"/proc/{pid}/cmdline").read_text())
    )
    assert "--feature-gates=APIResponseCompression=false" in command
    assert "--event-ttl=5m" in command


def test_an_unknown_feature_gate_is_explained_by_the_server(new: Callable[[str], Running]) -> None:
    """The server refuses to start, and its own words are in the error."""
    cluster = new("api")
    cluster.spec = ClusterSpec(profile="api", simulated_nodes=0, feature_gates=(("NoSuchGate", True),))
    with pytest.raises(
        NotReadyError, match=r"kube-apiserver exited with code 1[\s\S]*unrecognized feature gate: NoSuchGate"
    ):
        cluster.create()


def test_an_issued_user_is_who_the_certificate_says(new: Callable[[str], Running], tmp_path: Path) -> None:
    """A certificate that we sign makes its owner that user with those groups, and nothing more."""
    cluster = new("api").create()
    pem = tmp_path / "jane.pem"
    pem.write_bytes(issue_client(cluster.place.directory, "jane", ["developers"]))
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, answer = cluster.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review, pem=pem)
    assert status == 201
    assert answer["status"]["userInfo"]["username"] == "jane"
    assert set(answer["status"]["userInfo"]["groups"]) == {"developers", "system:authenticated"}
    assert cluster.ask("GET", "/api/v1/secrets", pem=pem)[0] == 403


# ---- profile workloads


def test_nodes_are_ready_and_free_of_taints(workloads: Running) -> None:
    """As many nodes as asked for, ready for pods when ``create`` returns."""
    items = workloads.ask("GET", "/api/v1/nodes")[1]["items"]
    assert [node["metadata"]["name"] for node in items] == ["node-0", "node-1", "node-2"]
    assert [node["spec"].get("taints") for node in items] == [None, None, None]
    assert all(int(node["status"]["allocatable"]["pods"].replace("k", "000").replace("M", "000000")) for node in items)


def test_a_node_that_a_test_adds_becomes_ready(workloads: Running) -> None:
    """A bare node object, without labels or capacity, is taken over like ours."""
    name = f"added-{secrets.token_hex(4)}"
    assert workloads.ask("POST", "/api/v1/nodes", {"metadata": {"name": name}})[0] == 201

    def ready(node: Any) -> bool:
        conditions = {found["type"]: found["status"] for found in node["status"].get("conditions", ())}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")

    workloads.wait(f"/api/v1/nodes/{name}", ready)
    assert workloads.ask("DELETE", f"/api/v1/nodes/{name}")[0] == 200


def test_a_deployment_rolls_out_behind_a_service(workloads: Running, namespace: str) -> None:
    """Pods are created, scheduled and Ready, and the Service's EndpointSlice has their addresses."""
    selector = {"app": "web"}
    deployment = {
        "metadata": {"name": "web"},
        "spec": {"replicas": 4, "selector": {"matchLabels": selector}, "template": template(**selector)},
    }
    service = {"metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}}
    assert workloads.ask("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)[0] == 201
    assert workloads.ask("POST", f"/api/v1/namespaces/{namespace}/services", service)[0] == 201
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    workloads.wait(path, lambda found: found["status"].get("availableReplicas") == 4)

    def addresses(slices: Any) -> set[str] | None:
        ready = [end for found in slices["items"] for end in found["endpoints"] if end["conditions"]["ready"]]
        return {end["addresses"][0] for end in ready} if len(ready) == 4 else None

    seen = workloads.wait(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", addresses)
    assert len(seen) == 4


def test_a_job_completes(workloads: Running, namespace: str) -> None:
    """Its pods succeed at once, and the Job is Complete."""
    spec = {"template": {"spec": POD | {"restartPolicy": "Never"}}, "completions": 3, "parallelism": 2}
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    assert workloads.ask("POST", jobs, {"metadata": {"name": "once"}, "spec": spec})[0] == 201
    workloads.wait(f"{jobs}/once", lambda found: found["status"].get("succeeded") == 3)


def test_a_namespace_with_content_can_be_deleted(workloads: Running, namespace: str) -> None:
    """Deleting a namespace removes its pods, whose kubelet is kwok, and then the namespace itself."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    pod = {"metadata": {"name": "p"}, "spec": POD | {"initContainers": [{"name": "i", "image": "x.invalid/y"}]}}
    assert workloads.ask("POST", pods, pod)[0] == 201
    workloads.wait(f"{pods}/p", lambda found: found["status"]["phase"] == "Running")
    assert workloads.ask("DELETE", f"/api/v1/namespaces/{namespace}")[0] == 200
    gone = wait_until(
        lambda: workloads.ask("GET", f"/api/v1/namespaces/{namespace}")[0] == 404 or None, Deadline(60), interval=0.1
    )
    assert gone


def test_a_token_of_a_service_account_is_believed_with_its_rights_only(workloads: Running, namespace: str) -> None:
    """RBAC is real: a service account is known, and may do nothing that nobody allowed."""
    token = service_account_token(workloads, namespace)
    assert workloads.ask("GET", f"/api/v1/namespaces/{namespace}/pods", token=token)[0] == 403
    assert workloads.ask("GET", f"/api/v1/namespaces/{namespace}/pods", token="nonsense")[0] == 401


def service_account_token(cluster: Running, namespace: str) -> str:
    """A token for the namespace's default service account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    status, answer = cluster.ask("POST", path, request)
    assert status == 201
    return str(answer["status"]["token"])


# ---- reset

RESET = """
import json, sys
from pathlib import Path
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import TimingRecorder
name, directory, lock, spec = sys.argv[1:]
place = Place(name=name, directory=Path(directory), slot_lock=Path(lock), tidy=("/bin/true",))
provider = EmbeddedProvider()
provider.reset(ClusterSpec.from_json(json.loads(spec)), place, TimingRecorder(run="r", worker="w").bind(), 120)
provider.adopt(place)
"""


def test_a_reset_ends_simulations(new: Callable[[str], Running]) -> None:
    """What nobody has withdrawn is gone with the rest: pods run, and the file of stages is empty."""
    cluster = new("workloads").create()
    Kwok(cluster.place.directory).add("forgotten", failing([], "ErrImagePull"), COMMON["Pod"])
    cluster.provider.reset(cluster.spec, cluster.place, cluster.recorder.bind(cluster=cluster.place.name), 120)
    assert (cluster.place.directory / STAGES_FILE).read_text() == ""
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "example.invalid/i:1"}]}}
    assert cluster.ask("POST", "/api/v1/namespaces/default/pods", pod)[0] == 201
    cluster.wait("/api/v1/namespaces/default/pods/a", lambda item: item["status"].get("phase") == "Running")


def test_a_reset_by_another_process_leaves_nothing_of_before(new: Callable[[str], Running], tmp_path: Path) -> None:
    """The idle helper knows the place and the spec only: afterwards data, certificates, tokens and ports are others'."""
    cluster = new("workloads").create()
    port = credentials.api_port(cluster.place.directory / "kubeconfig")
    admin, jane = tmp_path / "admin.pem", tmp_path / "jane.pem"
    admin.write_bytes((cluster.pki / "kina-admin.pem").read_bytes())
    jane.write_bytes(issue_client(cluster.place.directory, "jane", ["system:masters"]))
    token = service_account_token(cluster, "default")
    assert cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "left"}})[0] == 201
    assert cluster.ask("DELETE", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt")[0] == 200

    place = cluster.place
    arguments = [place.name, str(place.directory), str(place.slot_lock), json.dumps(cluster.spec.to_json())]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KINA_", "KUBEBUILDER"))}
    subprocess.run([sys.executable, "-c", RESET, *arguments], check=True, timeout=120, env=environment)

    assert cluster.provider.check(place) is None
    assert cluster.ask("GET", "/api/v1/namespaces/left")[0] == 404
    assert cluster.ask("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt")[0] == 200
    assert len(cluster.ask("GET", "/api/v1/nodes")[1]["items"]) == 3
    assert credentials.api_port(place.directory / "kubeconfig") != port
    assert cluster.ask("GET", "/api/v1/namespaces", token=token)[0] == 401
    assert [cluster.ask("GET", "/api/v1/namespaces", pem=stale)[0] for stale in (admin, jane)] == [401, 401]


# ---- bad days


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize(("size", "said"), [("40k", "No space left on device"), ("1m", "no space left on device")])
def test_a_full_disk_is_named_and_leaves_nothing(new: Callable[[str], Running], size: str, said: str) -> None:
    """Whether our keys or etcd's log found no room: the error says so, and nothing is left running."""
    cluster = new("api")
    directory = str(cluster.place.directory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", directory], check=True)
    try:
        with pytest.raises(ProvisionError, match=said):
            cluster.create()
        assert cluster.place.name not in processes.marked().values()
        cluster.provider.delete(cluster.place)
    finally:
        subprocess.run(["umount", directory], check=True)


# ---- deaths


@pytest.mark.parametrize(
    ("rung", "victim"),
    [
        ("the API server answers TLS", "etcd"),
        ("/readyz is ok", "kube-apiserver"),
        ("/readyz is ok", "kwok"),
        ("namespaces get their service account and the cluster's root certificate", "kube-controller-manager"),
        ("all nodes are ready", "kube-scheduler"),
    ],
)
def test_a_real_component_killed_at_a_rung_is_named(
    new: Callable[[str], Running], monkeypatch: pytest.MonkeyPatch, rung: str, victim: str
) -> None:
    """The real component that dies on the way is named with its signal, and its own log is shown."""
    cluster = new("workloads")
    check = Ladder.check_components

    def kill_first(ladder: Ladder, current: str) -> None:
        if current == rung and not ladder._link.exits():
            os.kill(component(cluster, victim), signal.SIGKILL)
            assert wait_until(ladder._link.exits, Deadline(10), interval=0.005)
        check(ladder, current)

    monkeypatch.setattr(Ladder, "check_components", kill_first)
    with pytest.raises(NotReadyError) as caught:
        cluster.create()
    assert f"{rung}: {victim} was killed by signal 9" in str(caught.value)
    assert cluster.place.name not in processes.marked().values()


def component(cluster: Running, name: str) -> int:
    """The pid of one of the cluster's components."""
    return next(
        pid
        for pid, owner in processes.marked().items()
        if owner == cluster.place.name
        and Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(name.encode())
    )


@pytest.mark.parametrize("victim", ["etcd", "kube-apiserver", "supervisor"])
def test_a_cluster_that_dies_later_says_so(new: Callable[[str], Running], victim: str) -> None:
    """Whoever of an adopted cluster is killed: everything ends, and ``check`` gives the reason."""
    cluster = new("api").create()
    pid = processes.supervisor(cluster.place.directory / "supervisor.json", cluster.place.name)
    assert pid is not None
    os.kill(pid if victim == "supervisor" else component(cluster, victim), signal.SIGKILL)
    gone = wait_until(lambda: cluster.place.name not in processes.marked().values(), Deadline(10), interval=0.01)
    assert gone
    expected = "its supervisor is not running" if victim == "supervisor" else f"{victim} was killed by signal 9"
    assert cluster.provider.check(cluster.place) == expected
