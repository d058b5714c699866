"""The kina provider against the simulated tools: what it asks of them, what it believes, and what it leaves."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from pytest_kina.errors import KinaError, NotReadyError, ProvisionError, SpecError
from pytest_kina.providers import Place
from pytest_kina.providers.containers import readiness
from pytest_kina.providers.containers.access import Access
from pytest_kina.providers.containers.mirrors import Mirrors
from pytest_kina.providers.kina import provider as kina_provider
from pytest_kina.providers.kina.order import Order
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase
from pytest_kina.waiting import Deadline
from tests.contract.conftest import User

NewUser = Callable[..., User]


def head(place: Place) -> str:
    """The machine of the control plane."""
    return f"{place.name}-control-plane"


def answer(place: Place, path: str) -> int:
    """The status of ``GET path`` as the cluster's administrator."""
    with closing(Access(place.directory).probe()) as probe:
        return probe.get(path)[0]


def test_cluster_lives_from_creation_to_deletion(user: User) -> None:
    """Created, ready in three phases, healthy, deleted without a trace, deleted again."""
    place, provider = user.place(), user.provider()
    user.create(place)
    assert [event.phase for event in user.recorder.drain()] == [Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY]
    assert provider.check(place) is None
    provider.delete(place)
    assert user.host.machines() == {}
    assert provider.check(place) == f"its node {head(place)} is gone"
    provider.delete(place)


def test_kubeconfig_is_private_and_names_only_this_cluster(user: User) -> None:
    """0600, one context of the cluster's name, at the machine's address."""
    place = user.place()
    user.create(place)
    path = place.directory / "kubeconfig"
    document = json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert document["current-context"] == place.name
    assert document["clusters"][0]["cluster"]["server"] == f"https://{user.host.machines()[head(place)]['ip']}:6443"


def test_kina_gets_a_home_of_its_own_and_no_cluster_of_the_users(user: User) -> None:
    """HOME and TMPDIR lie in the cluster's directory; neither KUBECONFIG nor RUST_BACKTRACE is passed on."""
    place = user.place()
    user.create(place)
    user.provider().delete(place)
    driven = [call["env"] for call in user.host.calls("kina") if call["argv"][1] in ("create", "delete")]
    assert len(driven) == 2
    for environment in driven:
        assert Path(environment["HOME"]).is_relative_to(place.directory)
        assert Path(environment["TMPDIR"]).is_relative_to(place.directory)
        assert environment["NO_COLOR"] == "1"
        assert not {"KUBECONFIG", "RUST_BACKTRACE"} & environment.keys()


def test_ready_means_more_than_exit_code_zero(new_user: NewUser) -> None:
    """The default ServiceAccount and CoreDNS come later than kina's success, and are waited for."""
    user = new_user(after={"node": 0.0, "account": 0.6, "coredns": 1.2}, scale=0.5)
    place = user.place()
    user.create(place)
    assert answer(place, "/api/v1/namespaces/default/serviceaccounts/default") == 200
    assert user.recorder.drain()[1].seconds > 0.1


def test_certificates_of_kubelets_are_approved_so_that_logs_work(user: User) -> None:
    """Without approval a pod's log is a TLS error."""
    place = user.place()
    user.create(place, workers=1)
    assert answer(place, "/api/v1/namespaces/default/pods/p/log") == 200


def test_spec_becomes_flags(user: User) -> None:
    """Workers, processors, memory, image and kernel are asked of kina, and it sleeps for none of it."""
    spec = ClusterSpec(
        workers=2, cpus=3, memory_mib=2048, provider_options=(("cni", "cilium"), ("kernel", "/k"), ("node_image", "i"))
    )
    line = " ".join(Order.of(spec, Mirrors()).flags())
    assert line == (
        "--wait 1 --skip-csr-approval --image i --cni cilium --workers 2 --kernel-path /k --cpus 3 --memory 2048m"
    )
    place = user.place()
    user.create(place, workers=2, cpus=3, memory_mib=2048)
    machines = user.host.machines()
    assert list(machines) == Order.of(ClusterSpec(workers=2), Mirrors()).nodes(place.name)
    assert {(machine["cpus"], machine["memory"]) for machine in machines.values()} == {(3, "2048m")}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (ClusterSpec(version="1.35"), "v1.36.1 only, not 1.35"),
        (ClusterSpec(version="1.36.2"), "v1.36.1 only"),
        (ClusterSpec(provider_options=(("cni", "flannel"),)), "one of ptp, cilium, not 'flannel'"),
        (ClusterSpec(provider_options=(("network", "x"),)), "has no network; it has cni"),
        (
            ClusterSpec(provider_options=(("node_image", "kindest/node:v1.35.5"),)),
            "node_image is of v1.35.5, but kina tells kubeadm v1.36.1",
        ),
    ],
)
def test_what_kina_cannot_do_is_refused_at_collection(user: User, spec: ClusterSpec, reason: str) -> None:
    """The key, and what is allowed; no tool is started for it."""
    with pytest.raises(SpecError, match=reason):
        user.provider().validate(spec)
    assert user.host.calls() == []


@pytest.mark.parametrize("name", ["config", "cache", "Upper", "a" * 50, "-a", "a/b", ""])
def test_harmful_names_never_reach_kina(user: User, name: str) -> None:
    """A cluster called config would delete the user's kubeconfig."""
    place = user.place()
    with pytest.raises(SpecError, match="no name for a kina cluster"):
        user.provider().create(
            ClusterSpec(),
            Place(name=name, directory=place.directory, slot_lock=place.slot_lock, tidy=()),
            user.recorder.bind(),
            9,
        )
    assert user.host.calls() == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"run": {"text": "no room", "times": 1}}, "container run failed"),
        ({"kubeadm init": {"text": "No space left on device", "times": 1}}, "No space left"),
        ({"list": {"text": "garbage", "after": 1}}, "Failed to parse container list"),
        ({"admin.conf": {"text": ""}}, "no usable kubeconfig"),
        ({"kina create": {"text": "thread panicked", "code": 101}}, "exited with 101"),
        ({"kubeadm init": {"seconds": 30}}, "did not finish within"),
        ({"run": {"seconds": 30}}, "did not finish within"),
    ],
)
def test_failed_creation_says_why_and_deletion_removes_the_rest(
    user: User, fault: dict[str, dict[str, object]], reason: str
) -> None:
    """Whatever step fails or hangs: an error with kina's words, and afterwards nothing is left."""
    user.host.inject(**fault)
    place = user.place()
    with pytest.raises(ProvisionError, match=reason):
        user.create(place, timeout=3 if "seconds" in str(fault) else 60)
    user.host.heal()
    user.provider().delete(place)
    assert user.host.machines() == {}
    again = user.place()
    user.create(again)


@pytest.mark.parametrize("setting", [{"never_running": True}, {"no_address": True}])
def test_machine_that_does_not_come_up_is_an_error(new_user: NewUser, setting: dict[str, bool]) -> None:
    """A node that never runs, and one without an address."""
    user = new_user(**setting)
    place = user.place()
    with pytest.raises(ProvisionError, match=r"failed to become ready|No IP address"):
        user.create(place)
    user.provider().delete(place)
    assert user.host.machines() == {}


def test_success_without_machines_is_not_believed(user: User) -> None:
    """Kina exits with 0, and the machine has gone meanwhile."""
    place = user.place()
    user.create(place)
    user.host.stop(head(place))
    with pytest.raises(ProvisionError, match="already exists"):
        user.create(place)


def test_cluster_that_never_gets_ready_names_the_rung(new_user: NewUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """CoreDNS stays away: the error says which step, and shows what the nodes say."""
    looks: list[str] = []
    look = readiness._unavailable
    monkeypatch.setattr(readiness, "_unavailable", lambda probe, path: looks.append(path) or look(probe, path))
    # The time is over with the third look, however slow this machine has been until then.
    clock = lambda: time.monotonic() + (1e6 if len(looks) >= 3 else 0.0)  # noqa: E731
    monkeypatch.setattr(kina_provider, "Deadline", partial(Deadline, clock=clock))
    user = new_user(after={"node": 0.0, "account": 0.0, "coredns": 1e9}, scale=1e-6)
    place = user.place()
    with pytest.raises(NotReadyError, match="step: CoreDNS is available: not reached within") as caught:
        user.create(place)
    assert looks == [readiness.DNS] * 3
    assert "nothing to complain about" in caught.value.message


def test_kubeconfig_is_taken_from_the_node_when_kina_has_none(user: User) -> None:
    """Kina's own file is empty: the node's is read and moved to the machine's address."""
    user.host.set(empty_kubeconfig=True)
    place = user.place()
    user.create(place)
    assert user.provider().check(place) is None


def test_cluster_is_found_where_its_machine_is_now(user: User) -> None:
    """The address has changed since kina wrote it down."""
    user.host.set(stale_kubeconfig=True)
    place = user.place()
    user.create(place)
    server = json.loads((place.directory / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
    assert server == f"https://{user.host.machines()[head(place)]['ip']}:6443"
    assert user.provider().check(place) is None


@pytest.mark.parametrize("how", ["stop", "reboot"])
def test_stopped_and_restarted_machines_are_lost(user: User, how: str) -> None:
    """Another address, or none: the cluster must not be handed out."""
    place = user.place()
    user.create(place)
    getattr(user.host, how)(head(place))
    why = user.provider().check(place)
    assert why is not None
    assert "stopped" in why if how == "stop" else "was restarted" in why
    user.provider().delete(place)
    assert user.host.machines() == {}


@pytest.mark.parametrize(
    "faults",
    [
        {"kina delete": {"text": "kina is out of order"}},
        {"stop": {"text": "cannot stop"}, "stop --signal SIGKILL": {"text": "cannot kill"}},
        {"delete": {"text": "busy"}},
        {
            "delete": {
                "text": 'internalError: "failed to delete container" (cause: "notFound: container with ID x not found")'
            }
        },
    ],
)
def test_deletion_falls_back_on_force(user: User, faults: dict[str, dict[str, str]]) -> None:
    """Kina cannot delete it; the machines go all the same, by their label."""
    place = user.place()
    user.create(place, workers=1)
    user.host.inject(**faults)
    user.provider().delete(place)
    assert user.host.machines() == {}


def test_deletion_that_fails_says_what_is_left(user: User) -> None:
    """Not even force helps: the error names the machine, and the command to try."""
    place = user.place()
    user.create(place)
    user.host.inject(**{"delete": {"text": "busy"}, "delete --force": {"text": "busy"}})
    with pytest.raises(ProvisionError, match=f"still there: {head(place)}") as caught:
        user.provider().delete(place)
    assert f"container delete --force {head(place)}" in str(caught.value)
    user.host.heal()
    user.provider().delete(place)


def test_foreign_clusters_are_left_alone(user: User) -> None:
    """Somebody else's cluster survives our deletion, and is no leftover of ours."""
    mine, other = user.place(), user.place("precious")
    for place in (mine, other):
        user.create(place)
    clusters = mine.directory.parent
    (clusters.parent / "pool.json").write_text('{"schema": 1, "id": "abcdef"}')
    assert user.provider().leftovers(clusters) == [mine.name]
    user.provider().delete(mine)
    assert list(user.host.machines()) == [head(other)]
    assert user.provider().leftovers(clusters) == []


def test_leftover_without_a_directory_is_deleted(user: User) -> None:
    """The creator was killed, and its directory is gone: the machine is found by its label."""
    place = user.place()
    user.create(place)
    bare = Place(name=place.name, directory=place.directory / "gone", slot_lock=place.slot_lock, tidy=())
    user.provider().delete(bare)
    assert user.host.machines() == {}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tools": ()}, "`container` is not on PATH"),
        ({"tools": ("container", "kubectl")}, "`kina` is not on PATH"),
        ({"container": "0.12.3"}, "0.12.3 is too old"),
        ({"container": "1.2.0"}, "1.2.0 makes /proc/sys read-only"),
        ({"container": "1.0-dev"}, "is not understood"),
        ({"daemon": False}, "the service of `container` is unregistered"),
        ({"kina": "AkihiroSuda"}, "another program of that name"),
        ({"kina": "0.1.9"}, "is 0.1.9; 0.2.0 is the oldest"),
    ],
)
def test_unfit_tools_turn_the_provider_off_with_the_reason(
    new_user: NewUser, settings: dict[str, object], reason: str
) -> None:
    """One sentence, and the next step."""
    why = new_user(**settings).provider().unavailable()
    assert why is not None
    assert reason in why


def test_missing_kubectl_turns_the_provider_off(new_user: NewUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kina needs it in the middle of create."""
    user = new_user(tools=("container", "kina"))
    monkeypatch.setenv("PATH", str(user.host.bin))
    assert "`kubectl` is not on PATH" in (user.provider().unavailable() or "")


def test_second_kina_on_path_is_used_when_the_first_is_another_program(
    new_user: NewUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs share the name; the one that can serve is found."""
    user = new_user()
    other = user.host.directory / "other"
    impostor = user.host.install("kina", other)
    impostor.write_text('#!/bin/sh\necho "Usage: kina COMMAND ARGS..."\nexit 1\n')
    monkeypatch.setenv("PATH", f"{other}:{user.host.environment()['PATH']}")
    assert user.provider().unavailable() is None
    place = user.place()
    user.create(place)


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.1", "1.2.2", "1.4.1", "1.5.0"])
def test_every_fit_container_makes_clusters(new_user: NewUser, version: str) -> None:
    """From 1.2.1 on through a shim that adds two flags; without it kubeadm cannot write to /proc/sys."""
    user = new_user(container=version)
    place = user.place()
    user.create(place)
    shimmed = version not in ("1.0.0", "1.1.0")
    booted = next(call["argv"] for call in user.host.calls("container") if call["row"] == "A4")
    assert (booted[1:5] == ["--masked-path", "NONE", "--read-only-path", "NONE"]) == shimmed
    user.provider().delete(place)


def test_four_clusters_at_once_do_not_disturb_each_other(user: User) -> None:
    """Each has its own home, so that nothing is lost where kina rewrites a file without a lock."""
    from concurrent.futures import ThreadPoolExecutor

    places = [user.place() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(user.create, places))
        assert [user.provider().check(place) for place in places] == [None] * 4
        list(threads.map(user.provider().delete, places))
    assert user.host.machines() == {}


def test_lists_that_are_garbage_do_not_pass_for_deleted(user: User) -> None:
    """When nobody can say what exists, deleting is an error and checking a reason."""
    place = user.place()
    user.create(place)
    user.host.inject(list={"text": "Zugriff verweigert \x1b[31mrot\x1b[0m"})
    with pytest.raises(KinaError, match="something else than machines"):
        user.provider().delete(place)
    assert "cannot be asked" in (user.provider().check(place) or "")
