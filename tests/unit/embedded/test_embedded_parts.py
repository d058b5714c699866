"""The parts of the embedded provider that need no process: flags, kubeconfigs, logs, nodes, identity."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from pytest_kina import binaries
from pytest_kina.errors import NotReadyError, ProvisionError, SpecError
from pytest_kina.process import run_command
from pytest_kina.progress import silent
from pytest_kina.providers import Provider, find
from pytest_kina.providers.embedded import (
    EmbeddedProvider,
    assets,
    components,
    credentials,
    nodes,
    processes,
    provider,
    readiness,
)
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.link import Link
from pytest_kina.providers.embedded.recipe import Recipe
from pytest_kina.spec import ClusterSpec
from pytest_kina.waiting import Deadline, Probe

API = ClusterSpec(profile="api", simulated_nodes=0)
LAYOUT = Layout(Path("/c"))


def flags(component: components.Component) -> dict[str, str]:
    """The flags by name; none is given twice."""
    assert len(dict(component.flags)) == len(component.flags)
    return dict(component.flags)


# ---- flags


def test_a_command_line_is_program_and_flags() -> None:
    """Each flag is one argument, so that no value can be taken for another flag."""
    argv = components.scheduler(ClusterSpec(), LAYOUT).argv(Path("/bin/kube-scheduler"))
    assert argv[0] == "/bin/kube-scheduler"
    assert "--kubeconfig=/c/pki/kube-scheduler.kubeconfig" in argv
    assert all(argument.startswith("--") and "=" in argument for argument in argv[1:])


def test_etcd_listens_in_the_clusters_directory_only() -> None:
    """No port: clients and peers find sockets in the directory where the programs run, and nobody else can enter it."""
    found = flags(components.etcd(LAYOUT))
    assert (found["listen-client-urls"], found["listen-peer-urls"]) == ("unix://etcd.sock", "unix://etcd-peer.sock")
    assert flags(components.api_server(API, LAYOUT, 1))["etcd-servers"] == found["listen-client-urls"]
    assert LAYOUT.etcd_socket == LAYOUT.directory / "etcd.sock"


def test_the_api_profile_asks_for_no_service_accounts() -> None:
    """Without a controller-manager nobody makes them; with one the admission stays on."""
    assert flags(components.api_server(API, LAYOUT, 1))["disable-admission-plugins"] == "ServiceAccount"
    assert "disable-admission-plugins" not in flags(components.api_server(ClusterSpec(), LAYOUT, 1))


def test_user_arguments_are_added_and_replace_defaults() -> None:
    """What is ours by default only, the user may set, with or without the dashes."""
    spec = ClusterSpec(api_server_args=(("--max-requests-inflight", "5"), ("audit-policy-file", "/p")))
    found = flags(components.api_server(spec, LAYOUT, 1))
    assert (found["max-requests-inflight"], found["audit-policy-file"]) == ("5", "/p")


@pytest.mark.parametrize(
    "name", ["etcd-servers", "etcd-cafile", "secure-port", "client-ca-file", "feature-gates", "--bind-address"]
)
def test_arguments_that_are_ours_are_refused_by_name(name: str) -> None:
    """A cluster would not work with another value: the error names the argument."""
    with pytest.raises(SpecError, match=rf"may not set {name.lstrip('-')}"):
        components.api_server(ClusterSpec(api_server_args=((name, "x"),)), LAYOUT, 1)


def test_feature_gates_reach_all_kubernetes_components() -> None:
    """A gate is switched for server, controllers and scheduler alike."""
    spec = ClusterSpec(feature_gates=(("A", True), ("B", False)))
    made = (
        components.api_server(spec, LAYOUT, 1),
        components.controller_manager(spec, LAYOUT),
        components.scheduler(spec, LAYOUT),
    )
    assert {flags(component)["feature-gates"] for component in made} == {"A=true,B=false"}
    assert "feature-gates" not in flags(components.scheduler(ClusterSpec(), LAYOUT))


def test_all_files_named_in_flags_are_the_clusters_own() -> None:
    """No component reads or writes outside its cluster's directory, kwok's stages excepted."""
    spec = ClusterSpec()
    made = [
        components.etcd(LAYOUT),
        components.api_server(spec, LAYOUT, 1),
        components.controller_manager(spec, LAYOUT),
        components.scheduler(spec, LAYOUT),
        components.kwok(LAYOUT),
    ]
    assert [component.name for component in made] == list(components.PROFILES["workloads"])
    values = [part.strip('"') for component in made for _, value in component.flags for part in value.split(",")]
    paths = {value for value in values if value.startswith("/")}
    assert {path for path in paths if not path.startswith("/c/")} == {str(components.STAGES)}


def test_stages_are_the_five_that_are_needed() -> None:
    """The package's own stages are there, parse as YAML, and cover nodes and pods."""
    documents = list(yaml.safe_load_all(components.STAGES.read_text()))
    assert documents[0]["kind"] == "KwokConfiguration"
    stages = {stage["metadata"]["name"]: stage["spec"]["resourceRef"]["kind"] for stage in documents[1:]}
    assert stages == {
        "node-init": "Node",
        "node-heartbeat": "Node",
        "pod-ready": "Pod",
        "pod-complete": "Pod",
        "pod-delete": "Pod",
    }


# ---- keys and kubeconfigs


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The folders of a cluster with all keys in them."""
    made = Layout(tmp_path)
    made.make()
    credentials.create(made)
    return made


def test_every_file_that_flags_name_exists(layout: Layout) -> None:
    """Flags and credentials agree on the names of keys and certificates."""
    for component in (
        components.etcd(layout),
        components.api_server(ClusterSpec(), layout, 1),
        components.controller_manager(ClusterSpec(), layout),
    ):
        named = [Path(value) for _, value in component.flags if value.startswith(str(layout.pki))]
        missing = [path.name for path in named if not path.exists() and path.suffix != ".kubeconfig"]
        assert missing == []


def test_a_kubeconfig_is_complete_in_itself(layout: Layout) -> None:
    """It is private, valid YAML, named after the cluster, and holds its data instead of paths."""
    credentials.write_kubeconfig(layout.kubeconfig, layout, "kina-abcdef-0-1", credentials.ADMIN, 6443)
    document = yaml.safe_load(layout.kubeconfig.read_text())
    assert document["current-context"] == "kina-abcdef-0-1"
    assert document["contexts"][0]["context"] == {"cluster": "kina-abcdef-0-1", "user": "kina-admin"}
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    user = document["users"][0]["user"]
    assert base64.b64decode(user["client-certificate-data"]) == (layout.pki / "kina-admin.crt").read_bytes()
    assert str(layout.directory) not in layout.kubeconfig.read_text()
    assert stat.S_IMODE(layout.kubeconfig.stat().st_mode) == 0o600


def test_the_port_is_read_from_the_kubeconfig(layout: Layout) -> None:
    """What was written is what is read."""
    credentials.write_kubeconfig(layout.kubeconfig, layout, "c", credentials.ADMIN, 40123)
    assert credentials.api_port(layout.kubeconfig) == 40123


@pytest.mark.parametrize("content", ["{}", "[]", "torn {", '{"clusters": []}'])
def test_a_damaged_kubeconfig_is_a_value_error(tmp_path: Path, content: str) -> None:
    """A kubeconfig that somebody has damaged fails the check, and is no traceback."""
    (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(ValueError, match=r"kubeconfig|Expecting"):
        credentials.api_port(tmp_path / "kubeconfig")


def test_wiping_leaves_what_a_reset_needs(layout: Layout) -> None:
    """Data, keys and logs go; what says which binaries run, and files of others, stay."""
    kept = Recipe(
        paths={"etcd": Path("/bin/etcd")}, versions={"etcd": "v3"}, template=Path("/t/0123"), base=Path("/t/0")
    )
    kept.remember(layout)
    (layout.directory / "cluster.json").touch()
    layout.stop.touch()
    for order in layout.restart:
        order.touch()
    assert layout.simulated.read_text() == ""
    layout.wipe()
    assert sorted(path.name for path in layout.directory.iterdir()) == ["assets.json", "cluster.json"]
    assert Recipe.recall(layout, "c") == kept


# ---- what the API server says


class Answers:
    """Stands for a probe: gives the answers in turn and remembers the requests."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, Any]] = []

    def get(self, path: str) -> tuple[int, bytes]:
        """The next answer."""
        return self.request("GET", path)

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The next answer."""
        self.requests.append((method, path, json.loads(body) if body else None))
        status, document = self.answers.pop(0)
        return status, json.dumps(document).encode()


def as_probe(*answers: tuple[int, Any]) -> Probe:
    """The answers as a probe."""
    return cast("Probe", Answers(*answers))


def node(ready: str = "True", taints: tuple[str, ...] = ()) -> dict[str, Any]:
    """A node as the API server shows it."""
    return {
        "metadata": {"name": "node-0"},
        "spec": {"taints": [{"key": key} for key in taints]} if taints else {},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


@pytest.mark.parametrize(
    ("found", "problems"),
    [
        ([], []),
        ([node()], []),
        ([node(ready="Unknown"), node()], ["node-0 is not Ready"]),
        ([node(taints=("node.kubernetes.io/not-ready",))], ["node-0 has the taints node.kubernetes.io/not-ready"]),
        ([{"metadata": {"name": "node-0"}, "spec": {}}], ["node-0 is not Ready"]),
    ],
)
def test_nodes_are_ready_when_pods_can_be_scheduled(found: list[Any], problems: list[str]) -> None:
    """Ready, and free of the taint that the controller-manager takes away last."""
    assert readiness.unready_nodes(as_probe((200, {"items": found})), len(found)) == problems


def test_a_node_that_is_missing_is_a_problem() -> None:
    """A cluster with fewer nodes than were asked for is not ready, although all that are there are."""
    said = readiness.unready_nodes(as_probe((200, {"items": [node()]})), 2)
    assert said == ["there are 1 nodes instead of 2"]


def test_nodes_get_names_and_addresses_of_their_own() -> None:
    """Each node has another address, none of them loopback, which no EndpointSlice may hold."""
    answers = Answers(*[(201, {})] * 300)
    nodes.create(cast("Probe", answers), "c", 300)
    bodies = [body for _, _, body in answers.requests]
    assert [body["metadata"]["name"] for body in bodies] == [f"node-{number}" for number in range(300)]
    addresses = {body["status"]["addresses"][0]["address"] for body in bodies}
    assert len(addresses) == 300
    assert all(address.startswith("10.") for address in addresses)


def test_a_node_that_is_refused_is_an_error() -> None:
    """The server's words are in the message."""
    with pytest.raises(ProvisionError, match=r"node-0 was refused with 409: .*taken"):
        nodes.create(as_probe((409, "taken")), "c", 1)


# ---- the provider itself


def test_it_is_a_provider() -> None:
    """It is found by its name and has every method of the protocol."""
    found = find("embedded")
    assert isinstance(found, Provider)
    assert found.info.name == "embedded"
    assert found.unavailable() is None


def test_another_platform_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no POSIX processes the reason is the platform."""
    monkeypatch.setattr(sys, "platform", "win32")
    assert EmbeddedProvider().unavailable() == "the embedded provider runs on Linux and macOS, not on win32"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cryptography the sentence says what to install."""
    monkeypatch.setattr(provider, "find_spec", lambda name: None if name == "cryptography" else object())
    said = EmbeddedProvider().unavailable()
    assert said == "cryptography cannot be imported: pip install 'pytest-kina[embedded]'"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ClusterSpec(profile="api", simulated_nodes=2), "simulated_nodes=2 contradicts profile='api'"),
        (ClusterSpec(profile=cast("Any", "tiny")), "profile 'tiny' is not known"),
        (ClusterSpec(api_server_args=(("secure-port", "1"),)), "may not set secure-port"),
    ],
)
def test_a_spec_that_cannot_be_fulfilled_is_refused_before_anything_is_obtained(spec: ClusterSpec, said: str) -> None:
    """The refusal comes from ``prepare``, without a look at binaries."""
    with pytest.raises(SpecError, match=said):
        EmbeddedProvider(Path("/nonexistent"), offline=True).prepare(spec, silent)


def test_identity_is_versions_and_digests() -> None:
    """Clusters of other binaries must not stand in for each other."""
    made = assets.Programs({}, {"kubernetes": "v1.36.3"}, {"etcd": "sha256:1"})
    assert made.identity() == {"kubernetes": "v1.36.3", "digest etcd": "sha256:1"}


def test_importing_the_provider_is_cheap() -> None:
    """None of the heavy libraries is loaded by finding the provider and asking whether it can run."""
    code = (
        "import sys\n"
        "from pytest_kina.providers import find\n"
        "find('embedded').unavailable()\n"
        "heavy = {'cryptography', 'psutil', 'ssl', 'kubernetes', 'yaml', 'filelock', 'asyncio', 'platformdirs'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    assert run_command([sys.executable, "-c", code], timeout=30).stdout == "[]\n"


def test_the_source_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, offline and mirror come from ``KINA_*`` unless given."""
    asked: list[dict[str, Any]] = []

    def obtain(version: str, names: tuple[str, ...], **keywords: Any) -> binaries.Assets:
        asked.append({"version": version, "names": names, **keywords})
        return binaries.Assets(paths={}, versions={"kubernetes": "v1.36.3"}, digests={}, sources={})

    monkeypatch.setattr(binaries, "obtain", obtain)
    monkeypatch.setenv("KINA_HOME", str(tmp_path))
    monkeypatch.setenv("KINA_OFFLINE", "1")
    monkeypatch.setenv("KINA_MIRROR", "https://mirror.invalid")
    asking = EmbeddedProvider()
    assert asking.prepare(API, silent)["kubernetes"] == "v1.36.3"
    asking.prepare(API, silent)
    assert len(asked) == 1
    assert (asked[0]["root"], asked[0]["offline"], asked[0]["mirror"]) == (tmp_path, True, "https://mirror.invalid")
    assert asked[0]["names"] == ("etcd", "kube-apiserver")
    EmbeddedProvider(Path("/other"), offline=False, mirror="file:///m").prepare(API, silent)
    assert (asked[1]["root"], asked[1]["offline"], asked[1]["mirror"]) == (Path("/other"), False, "file:///m")


def test_our_own_process_carries_no_mark() -> None:
    """The mark is for a cluster's processes; the test run is none of them."""
    assert os.getpid() not in processes.marked()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"[+]ping ok\n[-]informer-sync failed: reason withheld\n[+]etcd ok\n[-]a failed\nreadyz check failed\n",
         "informer-sync failed: reason withheld, a failed"),
        (b"no such luck \xff\n", "no such luck \ufffd"),
    ],
)  # fmt: skip
def test_a_refusal_of_readyz_is_one_line(body: bytes, told: str) -> None:
    """Only the checks that failed are named; what has none is shown as it is."""
    assert readiness.refusal(500, body) == f"/readyz was answered with 500: {told}"


def test_the_log_is_the_time_line_of_a_start(caplog: pytest.LogCaptureFixture) -> None:
    """Every rung is logged when it was reached, in seconds since the start; one that was not is not."""
    link = cast("Link", SimpleNamespace(exits=list))
    ladder = readiness.Ladder("kina-a", LAYOUT, link, Deadline(0.05, clock=itertools.count(0.0, 0.01).__next__))
    with caplog.at_level(logging.DEBUG, readiness.__name__):
        ladder.climb("a pod runs", components.SCHEDULER, lambda: True)
        with ladder.step("nodes are made", components.API_SERVER):
            pass
        with pytest.raises(NotReadyError):
            ladder.climb("never", components.KWOK, lambda: False)
    assert [record.getMessage() for record in caplog.records] == [
        "kina-a: a pod runs after 0.010 s",
        "kina-a: nodes are made after 0.020 s",
    ]


def test_only_the_api_server_collects_garbage_otherwise_and_only_while_it_starts() -> None:
    """All others run with Go's own settings."""
    spec = ClusterSpec()
    servers = (components.etcd(LAYOUT), components.controller_manager(spec, LAYOUT), components.scheduler(spec, LAYOUT))
    assert [dict(one.environment) for one in servers] == [{}, {}, {}]
    started = dict(components.api_server(spec, LAYOUT, 1).environment)
    assert started == {"GOGC": "400", "KINA_SETTLE_AFTER": "700ms"}
