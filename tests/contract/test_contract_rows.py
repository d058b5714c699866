"""The simulated tools obey the contract of the real ones: each row is named by a test, and nothing else is accepted."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import yaml

from tests.contract.contract_rows import INVOCATIONS, ROWS
from tests.support.simulators import HERE, Host

Test = TypeVar("Test", bound=Callable[..., None])
Done = subprocess.CompletedProcess[str]

KIND = {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4"}
COVERED: set[str] = set()
GONE = 'internalError: "failed to delete container" (cause: "notFound: container with ID a-control-plane not found")'
FAST = ("--wait", "1", "--skip-csr-approval")


def row(*names: str) -> Callable[[Test], Test]:
    """The test is about these rows of the contract."""
    COVERED.update(names)
    return lambda test: test


def kubeconfig(host: Host, name: str = "config") -> dict[str, object]:
    """A file in the user's ``~/.kube``."""
    document = yaml.safe_load((host.home / ".kube" / name).read_text())
    assert isinstance(document, dict)
    return document


class Shell:
    """A user's shell on a host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def __call__(self, line: str, code: int = 0, stdin: bytes = b"", **environment: str) -> Done:
        """Run a line (words separated by blanks), whose exit code is checked."""
        return self.run(line.split(), code, stdin, **environment)

    def run(self, words: list[str], code: int = 0, stdin: bytes = b"", **environment: str) -> Done:
        """Run an argument list."""
        env = self.host.environment(NO_COLOR="1", **environment)
        done = subprocess.run(
            [str(self.host.bin / words[0]), *words[1:]], input=stdin, env=env, capture_output=True, check=False
        )
        text = Done(words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        assert text.returncode == code, text
        return text


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[..., Shell]]:
    """Makes a host with settings."""
    made: list[Host] = []

    def make(**settings: object) -> Shell:
        made.append(Host(tmp_path / "host", **settings))  # type: ignore[arg-type]
        return Shell(made[-1])

    yield make
    for host in made:
        host.close()


@pytest.fixture
def sh(new: Callable[..., Shell]) -> Shell:
    """A shell on a host without clusters."""
    return new()


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell on a host with the cluster ``a``, for tests that leave it as it is."""
    host = Host(tmp_path_factory.mktemp("lived-in"))
    shell = Shell(host)
    shell.run(["kina", "-q", "create", "a", *FAST])
    yield shell
    host.close()


def test_every_row_is_named_by_a_test() -> None:
    """Neither a row without a test, nor a test of a row that is not written down."""
    assert set(ROWS) == COVERED


def test_every_accepted_invocation_has_an_id(lived_in: Shell) -> None:
    """What the tools accept is recorded under an id of the list, which names nothing that they do not accept."""
    assert {call["row"] for call in lived_in.host.calls()} <= set(INVOCATIONS)
    ids = {found for path in HERE.glob("*.py") for found in re.findall(r'"([A-Z]\d+)"', path.read_text())}
    assert ids == set(INVOCATIONS)


@row("L1", "L2", "L5", "L6", "L7")
@pytest.mark.parametrize(
    "line",
    [
        "get kubeconfig x",
        "get nodes x",
        "get clusters x",
        "load app:test --cluster x",
        "install traefik --cluster x",
        "approve-csr x",
        "kubeconfig x",
    ],
)
def test_unknown_cluster_is_a_sentence_and_success(lived_in: Shell, line: str) -> None:
    """On stdout, with the clusters that exist, and exit code 0."""
    done = lived_in(f"kina -q {line}")
    assert done.stdout.startswith("Cluster 'x' does not exist.\n\nAvailable clusters: a")
    assert done.stderr == ""


@row("L9")
@pytest.mark.parametrize(
    "line", ["get kubeconfig x", "get nodes", "load i --cluster x", "kubeconfig x", "get clusters"]
)
def test_no_clusters_at_all_is_a_sentence_and_success(sh: Shell, line: str) -> None:
    """The same for every command."""
    assert sh(f"kina -q {line}").stdout.startswith("No clusters found.\n\nTo create a new cluster, run:")


@row("L3")
def test_export_of_an_unknown_cluster_writes_no_file(lived_in: Shell, tmp_path: Path) -> None:
    """Success, and nothing there."""
    lived_in(f"kina -q export x -o {tmp_path}/f")
    assert not (tmp_path / "f").exists()


@row("L4")
def test_export_of_the_configuration_is_not_implemented(lived_in: Shell) -> None:
    """A warning, if anybody looks, and exit code 0."""
    done = lived_in("kina export a --format config")
    assert (done.stdout, "not yet implemented" in done.stderr) == ("", True)


@row("L8")
def test_failed_approval_is_reported_as_approved(new: Callable[..., Shell]) -> None:
    """Certificates stay pending, and kina says that it approved them."""
    sh = new()
    sh.run(["kina", "-q", "create", "a", *FAST])
    sh.host.inject(approve={"times": 1})
    assert sh("kina -q approve-csr a").stdout == "✅ Kubelet CSRs approved\n"
    assert json.loads((sh.host.state / "api-a-control-plane.json").read_text())["approved"] == []
    sh("kina -q approve-csr a")
    assert json.loads((sh.host.state / "api-a-control-plane.json").read_text())["approved"] == ["a-control-plane"]


@row("L10")
def test_deleting_an_unknown_cluster_is_success(sh: Shell) -> None:
    """A check mark on stdout, a warning on stderr."""
    done = sh("kina delete x")
    assert done.stdout == "✅ Cluster 'x' deleted successfully\n"
    assert "WARN" in done.stderr


@row("L11", "D3")
def test_failed_deletions_are_success_when_all_were_meant(sh: Shell) -> None:
    """One cluster: Apple's words are an error, the other nodes stay. ``--all``: exit code 0 all the same."""
    sh.run(["kina", "-q", "create", "a", "--workers", "1", *FAST])
    sh.host.inject(**{"stop": {"text": "no"}, "stop --signal SIGKILL": {"text": "no"}})
    done = sh("kina -q delete a", code=1)
    assert "container a-control-plane is running and can not be deleted" in done.stderr
    assert sh("kina delete --all").stdout == "✅ All clusters deleted successfully\n"
    assert list(sh.host.machines()) == ["a-control-plane", "a-worker"]
    assert not any("--force" in call["argv"] for call in sh.host.calls("container"))


@row("L12", "S1")
def test_list_and_status_without_clusters(sh: Shell) -> None:
    """Text, even where JSON was asked for."""
    assert sh("kina -q list").stdout == "No clusters found\n"
    assert sh("kina -q status --output json").stdout.startswith("No clusters found.")


@row("L13", "H7")
def test_restarted_machine_gets_a_kubeconfig_that_leads_nowhere(sh: Shell) -> None:
    """The address is the new one; the certificate there is not valid for it."""
    sh.run(["kina", "-q", "create", "a", *FAST])
    address = sh.host.reboot("a-control-plane")
    assert sh("kina -q kubeconfig a").stdout == "Kubeconfig for 'a' updated.\n"
    assert f"server: https://{address}:6443" in (sh.host.home / ".kube" / "a").read_text()
    import ssl

    context = ssl.create_default_context(cafile=str(sh.host.state / "pki" / "ca.crt"))
    with socket.create_connection((address, 6443)) as plain, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(plain, server_hostname=address)


@row("L14")
def test_creation_succeeds_when_the_api_cannot_be_reached(new: Callable[..., Shell]) -> None:
    """Only a warning."""
    sh = new(deaf=True)
    done = sh.run(["kina", "create", "a", *FAST])
    assert "✅ Cluster 'a' created successfully" in done.stdout
    assert "cannot be reached from the host" in done.stderr
    assert sh.host.sleeps() == [2, 1, 1, 1, 1]


@row("L15")
def test_export_without_the_saved_file_is_empty(new: Callable[..., Shell]) -> None:
    """And the emptiness is saved."""
    sh = new()
    sh.run(["kina", "-q", "create", "a", *FAST])
    (sh.host.home / ".kube" / "a").unlink()
    assert yaml.safe_load(sh("kina -q export a").stdout)["clusters"] is None
    assert kubeconfig(sh.host, "a")["users"] is None


@row("L16", "S4", "X1")
@pytest.mark.parametrize(
    ("version", "reason"),
    [("0.12.3", "is too old"), ("1.0-dev", "Invalid minor version number"), ("x", "Could not determine")],
)
def test_unfit_runtime_is_an_error_except_for_version(new: Callable[..., Shell], version: str, reason: str) -> None:
    """``version`` and no command tell it, and exit 0; all others exit 1."""
    sh = new(container=version)
    for line in ("kina version", "kina"):
        assert f"Apple Container: not available ({reason}" in sh(line).stdout or reason in sh(line).stdout
    assert reason in sh("kina -q list", code=1).stderr


@row("X1")
def test_errors_exit_with_one(lived_in: Shell, sh: Shell) -> None:
    """An unknown cluster's status, an existing name, verifying nothing."""
    assert "Cluster 'x' does not exist" in lived_in("kina -q status x", code=1).stderr
    assert "Cluster 'a' already exists" in lived_in("kina -q create a", code=1).stderr
    assert "No clusters found" in sh("kina -q verify", code=1).stderr


@row("X2", "Z1")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("kina frobnicate", 2),
        ("kina create a b", 2),
        ("kina create a --nodes 3", 2),
        ("kina delete a --all", 2),
        ("container run a", 64),
        ("container list", 64),
        ("container build .", 64),
        ("container k8s start", 64),
        ("docker run x", 125),
        ("k3d cluster start x", 1),
        ("kubectl get pods", 1),
    ],
)
def test_what_is_not_listed_is_refused(new: Callable[..., Shell], line: str, code: int) -> None:
    """With the exit code of a usage error, and a note for whoever tests."""
    sh = new(container="1.2.2")
    sh(line, code=code)
    assert [f"{call['tool']} {' '.join(call['argv'])}".strip() for call in sh.host.refused()] == [line]


@row("X3")
def test_backtraces_are_long(lived_in: Shell) -> None:
    """Forty lines where one is meant."""
    assert len(lived_in("kina -q status x", code=1, RUST_BACKTRACE="1").stderr.splitlines()) > 40


@row("N1")
def test_cluster_called_config_destroys_the_users_kubeconfig(sh: Shell) -> None:
    """Created over it, then deleted with it."""
    own = sh.host.home / ".kube" / "config"
    own.write_text("apiVersion: v1\nkind: Config\ncurrent-context: work\n")
    sh.run(["kina", "-q", "create", "config", *FAST])
    assert kubeconfig(sh.host)["current-context"] == "config"
    sh("kina -q delete config")
    assert not own.exists()


@row("N2")
def test_cluster_called_cache_collides_with_kubectl(sh: Shell) -> None:
    """Its file cannot be written where a directory is."""
    (sh.host.home / ".kube" / "cache").mkdir()
    sh.run(["kina", "-q", "create", "cache", *FAST], code=1)
    assert list(sh.host.machines()) == ["cache-control-plane"]


@row("N3")
@pytest.mark.parametrize("name", ["a/b", ""])
def test_names_are_not_checked(sh: Shell, name: str) -> None:
    """The runtime refuses them, when kina has begun already."""
    assert "invalid container name" in sh.run(["kina", "-q", "create", name, *FAST], code=1).stderr


@row("C5")
def test_image_does_not_choose_the_version(sh: Shell) -> None:
    """Whatever it is, kubeadm is told the same."""
    sh.run(["kina", "-q", "create", "a", "--image", "kindest/node:v1.35.5", *FAST])
    (told,) = [call["argv"] for call in sh.host.calls("container") if call["row"] == "C6"]
    assert "kubernetesVersion: v1.36.1" in told[-1]
    assert sh.host.machines()["a-control-plane"]["image"] == "kindest/node:v1.35.5"


@row("H9")
def test_directories_are_made_in_home(sh: Shell) -> None:
    """By a command that only looks."""
    sh("kina -q list")
    made = {str(path.relative_to(sh.host.home)) for path in sh.host.home.rglob("*")}
    assert {".config/kina/kubeconfig", ".local/share/kina"} <= made


@row("H10")
def test_kubeconfig_without_a_saved_file_keeps_the_nodes_context(sh: Shell) -> None:
    """And leads to the machine all the same."""
    sh.run(["kina", "-q", "create", "a", *FAST])
    (sh.host.home / ".kube" / "a").unlink()
    sh("kina -q kubeconfig a")
    assert kubeconfig(sh.host, "a")["current-context"] == "kubernetes-admin@a"


@row("D4")
def test_machine_that_has_gone_is_an_error(sh: Shell) -> None:
    """Somebody else was quicker; the other nodes and the kubeconfig stay."""
    sh.run(["kina", "-q", "create", "a", "--workers", "1", *FAST])
    sh.host.inject(delete={"text": GONE, "times": 1})
    assert "container with ID a-control-plane not found" in sh("kina -q delete a", code=1).stderr
    assert "a-worker" in sh.host.machines()
    assert (sh.host.home / ".kube" / "a").exists()


@row("S5")
def test_status_of_several_clusters_needs_a_name(sh: Shell) -> None:
    """Nobody can be asked which one is meant."""
    for name in ("a", "b"):
        sh.run(["kina", "-q", "create", name, *FAST])
    sh("kina -q status --output json", code=1)
    assert json.loads(sh("kina -q status b --output json").stdout)["name"] == "b"


SINGLE = ["A1", "A2", "A4", "A2", "A2", "C6", "C7", "C8", "C9", "C10", "C12", "C13", "C14", "A2"]


@row("C0")
def test_single_node_is_created_by_this_sequence(sh: Shell) -> None:
    """The invocations of ``container`` and ``kubectl``, in their order."""
    sh.run(["kina", "-q", "create", "a", *FAST])
    assert sh.host.rows()[1:] == SINGLE
    labels = sh.host.machines()["a-control-plane"]["labels"]
    assert labels == {
        "io.kina.cluster": "a",
        "io.kina.role": "control-plane,worker",
        "io.kina.primary": "true",
        "io.kina.single-node": "true",
        "io.kina.image": "kindest/node:v1.36.1",
    }


@row("C1")
def test_workers_join_one_after_the_other(sh: Shell) -> None:
    """The taint stays; each worker is booted, joined, configured."""
    sh.run(["kina", "-q", "create", "a", "--workers", "2", *FAST])
    worker = ["A4", "A2", "A2", "C17", "C18", "C13", "C14"]
    assert sh.host.rows()[1:] == [*SINGLE[:10], "C13", "C14", *worker, *worker, "C19", "C20", "C21", "A2"]
    assert list(sh.host.machines()) == ["a-control-plane", "a-worker", "a-worker-2"]
    assert json.loads((sh.host.state / "api-a-control-plane.json").read_text())["tainted"] is True


@row("C2")
def test_resources_are_passed_on(sh: Shell) -> None:
    """Processors, memory, kernel; memory only in kina's own form."""
    sh.run(["kina", "-q", "create", "a", "--cpus", "2", "--memory", "512m", "--kernel-path", "/k", *FAST])
    machine = sh.host.machines()["a-control-plane"]
    assert (machine["cpus"], machine["memory"], machine["kernel"]) == (2, "512m", "/k")
    assert "Invalid control-plane resource" in sh("kina -q create b --memory 4Gi", code=1).stderr


@row("C3")
@pytest.mark.parametrize(
    ("flags", "sleeps"),
    [
        ("", [2, 10, 15]),
        ("--wait 9", [2, 15]),
        ("--wait 9 --skip-csr-approval", [2]),
        ("--wait 9 --skip-csr-approval --workers 2", [2, 2, 2]),
    ],
)
def test_creation_sleeps_as_long_as_its_flags_say(sh: Shell, flags: str, sleeps: list[float]) -> None:
    """Fixed sleeps, whatever the cluster does meanwhile."""
    sh(f"kina -q create a {flags}")
    assert sh.host.sleeps() == sleeps


@row("C4")
@pytest.mark.parametrize(
    ("setting", "reason"),
    [({"never_running": True}, "failed to become ready within 60 seconds"), ({"no_address": True}, "No IP address")],
)
def test_machine_that_does_not_come_up(new: Callable[..., Shell], setting: dict[str, bool], reason: str) -> None:
    """An error, and the machine stays."""
    sh = new(**setting)
    assert reason in sh.run(["kina", "-q", "create", "a", *FAST], code=1).stderr
    assert len(sh.host.machines()) == 1
    assert sh.host.sleeps() == ([2] * 30 if "60" in reason else [2])


@row("W1")
def test_waiting_ends_before_the_cluster_is_ready(new: Callable[..., Shell]) -> None:
    """Kina is done, and neither CoreDNS nor the service account is there."""
    sh = new(after={"node": 1e9, "account": 1e9, "coredns": 1e9}, scale=1e-9)
    sh.host.set(scale=1.0, after={"node": 1e9, "account": 1e9, "coredns": 1e9})
    sh.run(["kina", "-q", "create", "a", "--wait", "300", "--skip-csr-approval"])
    address = sh.host.machines()["a-control-plane"]["ip"]
    from pytest_kina.waiting import Probe

    pki = sh.host.state / "pki"
    probe = Probe(address, 6443, ca=pki / "ca.crt", certificate=pki / "admin.pem")
    status, _ = probe.get("/api/v1/namespaces/default/serviceaccounts/default")
    nodes = json.loads(probe.get("/api/v1/nodes")[1])["items"]
    probe.close()
    assert (status, nodes[0]["status"]["conditions"][0]["status"]) == (404, "False")


@row("F1")
@pytest.mark.parametrize("flags", ["", "--retain"])
def test_failed_creation_cleans_up_nothing(sh: Shell, flags: str) -> None:
    """The machine runs on; the name is taken; deleting repairs it."""
    sh.host.inject(**{"kubeadm init": {"text": "timed out waiting for the condition", "times": 1}})
    assert "kubeadm init failed" in sh(f"kina -q create a {flags}", code=1).stderr
    assert sh.host.machines()["a-control-plane"]["state"] == "running"
    assert "already exists" in sh("kina -q create a", code=1).stderr
    sh("kina -q delete a")
    sh.run(["kina", "-q", "create", "a", *FAST])


@row("F2")
def test_killed_creation_leaves_its_machine(sh: Shell) -> None:
    """SIGTERM during kubeadm."""
    sh.host.inject(**{"kubeadm init": {"seconds": 20}})
    process = subprocess.Popen(
        [str(sh.host.bin / "kina"), "create", "a"],
        env=sh.host.environment(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 20
        while "C7" not in sh.host.rows():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        assert list(sh.host.machines()) == ["a-control-plane"]
    finally:  # the tool that runs kubeadm outlives its caller
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@row("F3")
@pytest.mark.parametrize("how", ["missing", "broken"])
def test_creation_needs_kubectl_and_a_sound_kubeconfig(new: Callable[..., Shell], how: str) -> None:
    """It fails after the machine was made."""
    sh = new(tools=("container", "kina", "kubectl") if how == "broken" else ("container", "kina"))
    (sh.host.home / ".kube" / "config").write_text("{broken")
    if how == "missing":
        for name in ("which", "sh", "env"):
            (sh.host.bin / name).symlink_to(f"/usr/bin/{name}")
    path = {"PATH": str(sh.host.bin)} if how == "missing" else {}
    done = sh.run(["kina", "-q", "create", "a", *FAST], code=1, **path)
    assert "kubectl config view failed" in done.stderr
    assert len(sh.host.machines()) == 1


@row("F4")
def test_configuration_is_kinas_own(sh: Shell, tmp_path: Path) -> None:
    """A kind configuration is refused."""
    config = tmp_path / "kind.yaml"
    config.write_text("kind: Cluster\n")
    assert "missing field `cluster`" in sh(f"kina -q create a --config {config}", code=1).stderr


@row("H1")
def test_stderr_is_noisy_and_coloured(lived_in: Shell) -> None:
    """Without -q there is always something; NO_COLOR is honoured."""
    assert "INFO" in lived_in("kina list").stderr
    assert "\x1b[" not in lived_in("kina list").stderr
    environment = {name: value for name, value in lived_in.host.environment().items() if name != "NO_COLOR"}
    loud = subprocess.run([str(lived_in.host.bin / "kina"), "list"], env=environment, capture_output=True, check=True)
    assert b"\x1b[" in loud.stderr
    assert lived_in("kina -q list").stderr == ""


@row("H2")
def test_admins_kubeconfig_is_readable_for_everybody(lived_in: Shell) -> None:
    """0644 under the usual umask."""
    umask = os.umask(0)
    os.umask(umask)
    assert (lived_in.host.home / ".kube" / "a").stat().st_mode & 0o777 == 0o666 & ~umask


@row("H3")
def test_users_kubeconfig_is_rewritten_and_left_dangling(sh: Shell) -> None:
    """Comments go, the current context changes, and still names the cluster when that is deleted."""
    own = sh.host.home / ".kube" / "config"
    own.write_text("# mine\napiVersion: v1\nkind: Config\ncurrent-context: work\ncontexts: []\n")
    sh.run(["kina", "-q", "create", "a", *FAST])
    assert "# mine" not in own.read_text()
    assert kubeconfig(sh.host)["current-context"] == "a"
    sh("kina -q delete a")
    assert (kubeconfig(sh.host)["current-context"], kubeconfig(sh.host)["contexts"]) == ("a", [])


@row("H4", "H5")
def test_stale_entries_win(sh: Shell) -> None:
    """KUBECONFIG was set while deleting: the entries stay, and the next cluster of the name does not replace them."""
    sh.run(["kina", "-q", "create", "a", *FAST])
    first = kubeconfig(sh.host)["clusters"]
    sh("kina -q delete a", KUBECONFIG=str(sh.host.directory / "other"))
    assert kubeconfig(sh.host)["clusters"] == first
    sh.host.set(network=sh.host.network.rpartition(".")[0] + ".250")
    sh.run(["kina", "-q", "create", "a", *FAST])
    assert kubeconfig(sh.host)["clusters"] == first
    assert kubeconfig(sh.host, "a")["clusters"] != first


@row("H6")
def test_entries_get_lost_between_two_creations(sh: Shell) -> None:
    """Both succeed and have files of their own; the merged one knows one of them."""
    sh.host.inject(**{"before the merged file is written": {"meet": 2}})
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda name: sh.run(["kina", "-q", "create", name, *FAST]), ("a", "b")))
    clusters = kubeconfig(sh.host)["clusters"]
    assert isinstance(clusters, list)
    assert len(clusters) == 1
    assert kubeconfig(sh.host, "a")["current-context"] == "a"
    assert kubeconfig(sh.host, "b")["current-context"] == "b"


@row("H8")
def test_flow_style_is_left_alone(sh: Shell) -> None:
    """And a block line is moved to port 6443, whatever it was."""
    sh.run(["kina", "-q", "create", "a", *FAST])
    path = sh.host.home / ".kube" / "a"
    path.write_text('clusters: [{cluster: {server: "https://127.0.0.9:1"}}]\nx:\n  server: https://127.0.0.9:1\n')
    sh("kina -q kubeconfig a")
    address = sh.host.machines()["a-control-plane"]["ip"]
    assert path.read_text() == (
        f'clusters: [{{cluster: {{server: "https://127.0.0.9:1"}}}}]\nx:\n  server: https://{address}:6443\n'
    )


@row("D1")
def test_deletion_stops_sleeps_and_deletes_node_by_node(sh: Shell) -> None:
    """Five seconds for each."""
    sh.run(["kina", "-q", "create", "a", "--workers", "1", *FAST])
    before = len(sh.host.rows())
    sh("kina -q delete a")
    assert sh.host.rows()[before:] == ["D0", "A1", "A2", "A2", "A6", "A7", "A6", "A7", "C9", "C9", "C9"]
    assert sh.host.sleeps()[2:] == [5, 5]
    assert not (sh.host.home / ".kube" / "a").exists()


@row("D2")
def test_stop_is_tried_again_with_kill(sh: Shell) -> None:
    """No sleep then."""
    sh.run(["kina", "-q", "create", "a", *FAST])
    sh.host.inject(stop={"text": "no", "times": 1})
    sh("kina -q delete a")
    stops = [call["argv"] for call in sh.host.calls("container") if call["row"] == "A6"]
    assert stops == [["stop", "a-control-plane"], ["stop", "--signal", "SIGKILL", "--time", "10", "a-control-plane"]]
    assert sh.host.sleeps() == [2]


@row("S2")
def test_status_as_json(lived_in: Shell) -> None:
    """The keys; without a name the first line is text."""
    document = json.loads(lived_in("kina -q status a --output json").stdout)
    assert (document["status"], document["nodes"][0]["role"]) == ("Running", "control-plane")
    assert (document["kubeconfig_path"], document["nodes"][0]["version"]) == (None, "unknown")
    assert lived_in("kina -q status --output json").stdout.startswith("Using cluster: a\n")


@row("S3")
def test_version_as_json(sh: Shell) -> None:
    """One object, with null for what is not known."""
    document = json.loads(sh("kina version --json").stdout)
    assert (document["version"], document["git_sha"]) == ("0.2.0", None)


@row("V1")
def test_verify_cannot_succeed(lived_in: Shell) -> None:
    """There are no Cilium pods."""
    assert lived_in("kina -q verify a", code=1).stdout.endswith("FAIL verify 'a'\n")


@row("I1", "I2")
def test_images_are_loaded_where_no_kubelet_looks(new: Callable[..., Shell], tmp_path: Path) -> None:
    """``kina load``: the wrong namespace. One platform into k8s.io: usable, also under another name."""
    sh = new()
    sh.run(["kina", "-q", "create", "a", *FAST])
    sh.host.images(**{"docker.io/library/app:test": f"sha256:{'1' * 64}"})
    sh("kina -q load app:test --cluster a", TMPDIR=str(tmp_path))
    machine = sh.host.machines()["a-control-plane"]
    assert machine["stores"] == {
        "default": {"docker.io/library/app:test": {"digest": f"sha256:{'1' * 64}", "index": True}}
    }
    assert "/tmp/image.tar" in machine["files"]
    line = "container exec -i a-control-plane ctr -n k8s.io images import -"
    sh(line, stdin=b"no archive", code=1)
    for flags in ("", "--platform linux/arm64 "):
        sh(f"container image save {flags}-o {tmp_path}/t.tar app:test")
        sh(line, stdin=(tmp_path / "t.tar").read_bytes())
        found = json.loads(sh("container exec a-control-plane crictl images -o json").stdout)["images"]
        assert [image["repoTags"] for image in found] == ([["docker.io/library/app:test"]] if flags else [])
    sh("container exec a-control-plane ctr -n k8s.io images tag docker.io/library/app:test app:new")
    sh("container exec a-control-plane ctr -n k8s.io images tag nothing app:new", code=1)


@row("A1", "A2", "A3", "A4", "A5", "A6", "E1")
def test_container_itself(sh: Shell) -> None:
    """What it says of machines that run, do not run, and are not there."""
    assert sh("container list --format json").stdout == "[]\n"
    assert "container not found: a" in sh("container inspect a", code=1).stderr
    assert "could not be pulled" in sh("container run -d --name a-1 nowhere:1 /sbin/init", code=1).stderr
    sh("container run -d --name a-1 kindest/node:v1.36.1 /sbin/init")
    assert (
        "container with id a-1 already exists"
        in sh("container run -d --name a-1 kindest/node:v1.36.1 /sbin/init", code=1).stderr
    )
    element = json.loads(sh("container inspect a-1").stdout)[0]
    assert element["status"]["networks"][0]["ipv4Address"].endswith("/24")
    assert "is running and can not be deleted" in sh("container delete a-1", code=1).stderr
    assert "kubelet" in sh("container exec a-1 journalctl --no-pager --unit kubelet --lines 5").stdout
    for _ in range(2):
        sh("container stop a-1")
    assert sh("container list --format json").stdout == "[]\n"
    assert json.loads(sh("container list --format json -a").stdout)[0]["status"] == {"networks": [], "state": "stopped"}
    assert "is not running" in sh("container exec a-1 cat /etc/kubernetes/admin.conf", code=1).stderr
    assert "not found" in sh("container stop b", code=1).stderr
    assert sh("container delete --force a-1").stdout == "a-1\n"
    assert "container with ID a-1 not found" in sh("container delete --force a-1", code=1).stderr


@row("A7", "A12")
def test_images_of_the_host(sh: Shell) -> None:
    """Only local ones can be saved or inspected; pulling makes them local."""
    assert "failed to save" in sh("container image save x", code=1).stderr
    sh("container image inspect kindest/node:v1.36.1", code=1)
    sh("container image pull kindest/node:v1.36.1")
    assert json.loads(sh("container image inspect kindest/node:v1.36.1").stdout)[0]["index"]["digest"].startswith(
        "sha256:"
    )
    assert "index.json" in sh("container image save kindest/node:v1.36.1").stdout
    assert "could not be pulled" in sh("container image pull nowhere:1", code=1).stderr


@row("A13")
def test_images_from_archives_and_plain_registries(sh: Shell, tmp_path: Path) -> None:
    """Loaded under the name in the archive; a new name is the same content; a flag for registries without TLS."""
    sh.host.images(**{"docker.io/library/app:test": f"sha256:{'1' * 64}"})
    sh(f"container image save -o {tmp_path}/a.tar app:test")
    sh("container image tag app:test me/app:2")
    assert "No such image" in sh("container image tag nothing me/app:2", code=1).stderr
    sh("container image load", code=64)
    sh("container image tag app:test", code=64)
    other = Shell(Host(tmp_path / "other"))
    assert other(f"container image load -i {tmp_path}/a.tar").stdout == "docker.io/library/app:test\n"
    assert "1111" in other("container image inspect app:test").stdout
    plain = "plain.example.com:5000/hub/library/app:1"
    assert "could not be pulled" in other(f"container image pull {plain}", code=1).stderr
    other(f"container image pull --scheme http {plain}")
    other.host.close()


@row("A8", "A9")
@pytest.mark.parametrize(("version", "key"), [("1.1.0", "apiServerVersion"), ("1.4.1", "server")])
def test_service_that_is_down(new: Callable[..., Shell], version: str, key: str) -> None:
    """JSON and exit code 1; everything else fails with Apple's words."""
    sh = new(container=version)
    assert key in json.loads(sh("container system status --format json").stdout)
    sh.host.set(daemon=False)
    assert json.loads(sh("container system status --format json", code=1).stdout) == {"status": "unregistered"}
    assert "XPC connection error" in sh("container list --format json", code=1).stderr


@row("A10")
@pytest.mark.parametrize(("version", "code"), [("1.1.0", 0), ("1.2.0", 1)])
def test_long_names(new: Callable[..., Shell], version: str, code: int) -> None:
    """Refused from 1.2.0 on."""
    new(container=version)(f"container run -d --name {'a' * 64} kindest/node:v1.36.1 /sbin/init", code=code)


@row("A11")
def test_dns_and_networks(sh: Shell) -> None:
    """One heading; and a flag that does not exist."""
    assert sh("container system dns list").stdout == "DOMAIN\n"
    sh("container network inspect x --format json", code=64)


@row("G1")
@pytest.mark.parametrize(("version", "code"), [("1.1.0", 0), ("1.2.0", 1), ("1.2.1", 1), ("1.5.0", 1)])
def test_kina_on_its_own_needs_an_old_runtime(new: Callable[..., Shell], version: str, code: int) -> None:
    """It passes the version gate, and kubeadm fails."""
    done = new(container=version).run(["kina", "-q", "create", "a", *FAST], code=code)
    assert ("Read-only file system" in done.stderr) == bool(code)


@row("G2")
@pytest.mark.parametrize(("version", "code"), [("1.2.0", 64), ("1.2.1", 0)])
def test_flags_against_masking(new: Callable[..., Shell], version: str, code: int) -> None:
    """Unknown in 1.2.0."""
    flags = "--masked-path NONE --read-only-path NONE"
    new(container=version)(f"container run {flags} -d --name a-1 kindest/node:v1.36.1 /sbin/init", code=code)


@row("P0")
@pytest.mark.parametrize(("version", "code"), [("1.2.0", 1), ("1.2.1", 1), ("1.2.2", 0)])
def test_k8s_plugin_comes_and_works_later(new: Callable[..., Shell], version: str, code: int) -> None:
    """Missing, then broken, then there."""
    new(container=version)("container k8s --help", code=code)


@row("P1", "P2", "P3")
def test_k8s_plugin(new: Callable[..., Shell], tmp_path: Path) -> None:
    """Its life of a cluster, with the warning that is no error."""
    sh, own = new(container="1.2.2"), tmp_path / "kubeconfig"
    sh.host.inject(**{"k8s kubeconfig": {"times": 1}})
    done = sh("container k8s create --name aa --node-image kindest/node:v1.36.1", KUBECONFIG=str(own))
    assert (done.stdout, "failed to write kubeconfig" in done.stderr, own.exists()) == ("aa\n", True, False)
    sh(f"container k8s write-config --name aa --kubeconfig {own}")
    assert yaml.safe_load(own.read_text())["current-context"] == ""
    assert sh("container k8s delete --name aa", KUBECONFIG=str(own)).stdout == "aa\n"
    assert "not found" in sh("container k8s delete --name aa", code=1, KUBECONFIG=str(own)).stderr
    sh("container k8s create --name bb --node-image kindest/node:v1.36.1", KUBECONFIG=str(own))
    assert yaml.safe_load(own.read_text())["current-context"] == "bb"
    sh("container run -d --name foreign kindest/node:v1.36.1 /sbin/init")
    assert "is not a k8s cluster" in sh("container k8s delete --name foreign", code=1, KUBECONFIG=str(own)).stderr


@row("P4", "P5")
def test_failed_creation_of_the_k8s_plugin(new: Callable[..., Shell]) -> None:
    """The machine stays and the name is taken; what succeeds writes where KUBECONFIG says, or the user's file."""
    sh = new(container="1.2.2")
    sh.host.inject(**{"k8s create, booted": {"text": "bind: Address already in use", "times": 1}})
    line = "container k8s create --name aa --node-image kindest/node:v1.36.1"
    assert "Address already in use" in sh(line, code=1).stderr
    assert list(sh.host.machines()) == ["aa"]
    assert "already exists" in sh(line, code=1).stderr
    sh("container delete --force aa")
    sh(line)
    assert kubeconfig(sh.host)["current-context"] == "aa"


@row("B1")
def test_other_kina(new: Callable[..., Shell]) -> None:
    """Its usage, whatever was asked."""
    assert new(kina="AkihiroSuda")("kina version --json", code=1).stdout.startswith("Usage:")


@row("K1", "K2")
def test_kind(sh: Shell, tmp_path: Path) -> None:
    """Names that exist, and names that do not."""
    config, own = tmp_path / "c.json", tmp_path / "kubeconfig"
    config.write_text(json.dumps({**KIND, "nodes": [{"role": "control-plane"}]}))
    line = f"kind create cluster --name a --image kindest/node:v1.36.1 --config {config} --kubeconfig {own} --wait 0s"
    sh(line, KIND_EXPERIMENTAL_PROVIDER="docker")
    assert yaml.safe_load(own.read_text())["current-context"] == "kind-a"
    assert "already exist" in sh(line, code=1, KIND_EXPERIMENTAL_PROVIDER="docker").stderr
    assert "could not locate" in sh("kind get kubeconfig --name x", code=1, KIND_EXPERIMENTAL_PROVIDER="docker").stderr
    for _ in range(2):
        sh(f"kind delete cluster --name a --kubeconfig {own}", KIND_EXPERIMENTAL_PROVIDER="docker")


@row("R1", "R2")
def test_k3d(sh: Shell) -> None:
    """It edits the user's kubeconfig when it deletes."""
    create = "k3d cluster create {} --image rancher/k3s:v1.36.1-k3s1 --agents 0 --api-port 127.0.0.1:random"
    sh(create.format("a"))
    sh(create.format("a" * 33), code=1)
    assert "k3d-a" in sh("k3d kubeconfig get a").stdout
    own = sh.host.home / ".kube" / "config"
    own.write_text("# mine\n")
    sh("k3d cluster delete a")
    assert own.read_text() != "# mine\n"
    assert "No clusters found" in sh("k3d cluster delete a").stderr


@row("K3")
def test_kinds_configuration(sh: Shell, tmp_path: Path) -> None:
    """Nodes, gates and mounts are those of the file; a field or version that it does not know is an error."""
    config, mounted = tmp_path / "c.json", tmp_path / "certs.d" / "docker.io"
    mounted.mkdir(parents=True)
    (mounted / "hosts.toml").write_text("of the user")
    mount = {"hostPath": str(mounted.parent), "containerPath": "/etc/containerd/certs.d"}
    line = f"kind create cluster --name a --image kindest/node:v1.36.1 --config {config} --kubeconfig {tmp_path / 'k'}"
    for wrong in (
        {"nodez": []},
        {"apiVersion": "v1"},
        {"nodes": [{"role": "worker"}]},
        {"nodes": [{"rôle": "worker"}]},
    ):
        config.write_text(json.dumps({**KIND, **wrong}))
        sh(line, 1, KIND_EXPERIMENTAL_PROVIDER="docker")
    heads = [{"role": "control-plane", "extraMounts": [mount]}, {"role": "control-plane"}]
    config.write_text(json.dumps({**KIND, "featureGates": {"A": True}, "nodes": heads}))
    sh(line, KIND_EXPERIMENTAL_PROVIDER="docker")
    machines = sh.host.machines()
    assert set(machines) == {"a-control-plane", "a-control-plane2", "a-external-load-balancer"}
    assert machines["a-control-plane"]["mirrors"] == {"docker.io": "of the user"}
    assert machines["a-control-plane2"]["mirrors"] == {}
    assert machines["a-control-plane2"]["feature_gates"] == {"A": True}


@row("R3", "R4")
def test_k3ds_configuration(sh: Shell, tmp_path: Path) -> None:
    """A flag decides over the file, whose ending and schema matter; helper images are named by variables."""
    document = {"kind": "Simple", "apiVersion": "k3d.io/v1alpha5", "servers": 2, "agents": 3}
    right, ending, registries = tmp_path / "c.yaml", tmp_path / "c.json", tmp_path / "registries.yaml"
    line = f"k3d cluster create a --image rancher/k3s:v1.36.1-k3s1 --api-port 127.0.0.1:random --config {right}"
    for wrong in ({**document, "nodes": 3}, {**document, "kind": "Cluster"}):
        right.write_text(json.dumps(wrong))
        sh(line, 1)
    for path in (right, ending):
        path.write_text(json.dumps(document))
    registries.write_text('{"mirrors": {}}')
    sh(line.replace(str(right), str(ending)), 1)
    sh(f"{line} --agents 1 --registry-config {registries}", K3D_IMAGE_LOADBALANCER="kindest/node:v1.36.1")
    machines = sh.host.machines()
    nodes = [f"k3d-a-{role}" for role in ("server-0", "server-1", "agent-0")]
    assert set(machines) == {*nodes, "k3d-a-serverlb"}
    assert [machines[node]["mirrors"] for node in nodes] == [{"mirrors": {}}] * 3
    assert machines["k3d-a-serverlb"]["image"] == "kindest/node:v1.36.1"


@row("R5")
@pytest.mark.parametrize("bridged", [True, False])
def test_address_of_a_k3d_node(new: Callable[..., Shell], bridged: bool) -> None:
    """The API server answers there, or nobody does."""
    sh = new(bridged=bridged)
    sh("k3d cluster create a --image rancher/k3s:v1.36.1-k3s1 --agents 0 --api-port 127.0.0.1:random")
    with socket.socket() as client:
        client.settimeout(5)
        refused = client.connect_ex((sh.host.machines()["k3d-a-server-0"]["ip"], 6443))
    assert bool(refused) is not bridged


@row("O2", "O3")
@pytest.mark.parametrize("engine", ["docker", "podman", "nerdctl"])
def test_images_of_an_engine(new: Callable[..., Shell], tmp_path: Path, engine: str) -> None:
    """Archives, names, and registries without TLS."""
    sh = new(tools=(engine,))
    sh.host.images(**{"docker.io/library/app:test": f"sha256:{'1' * 64}"})
    sh(f"{engine} save --output {tmp_path}/a.tar app:test")
    sh(f"{engine} tag app:test me/app:2")
    assert "No such image" in sh(f"{engine} tag nothing me/app:2", code=1).stderr
    assert sh(f"{engine} load --input {tmp_path}/a.tar").stdout == "Loaded image: docker.io/library/app:test\n"
    (tmp_path / "b.tar").write_text("garbage")
    sh(f"{engine} load --input {tmp_path}/b.tar", code=1)
    plain = "plain.example.com:5000/hub/library/app:1"
    assert "HTTP response to HTTPS client" in sh(f"{engine} pull {plain}", code=1).stderr
    told = {"podman": f"pull --tls-verify=false {plain}", "nerdctl": f"--insecure-registry pull {plain}"}
    for name, line in told.items():
        sh(f"{engine} {line}", code=0 if engine == name else 125)
    sh.host.set(insecure_registries=["plain.example.com:5000"])
    sh(f"{engine} pull {plain}")


@row("O1")
def test_docker(sh: Shell) -> None:
    """A daemon that is down, and a container that is not there."""
    sh("docker rm --force --volumes nothing")
    sh.host.set(daemon=False)
    assert "Cannot connect to the Docker daemon" in sh("docker info --format {{.ID}}", code=1).stderr
