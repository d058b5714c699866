"""Simulations on a real control plane: their effect and its end, as anybody sees them through the API."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_kina.cluster import Cluster, Namespace
from pytest_kina.errors import KinaError, NotFound, WaitTimeoutError

pytestmark = pytest.mark.real_control_plane


def pod(name: str, app: str = "web", **spec: Any) -> dict[str, Any]:
    """A pod with two containers and a label."""
    containers = [{"name": each, "image": "example.invalid/image:1"} for each in ("main", "side")]
    metadata = {"name": name, "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, **spec}}


def claim(name: str, storage_class: str) -> dict[str, Any]:
    """A claim for a gibibyte."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def waiting(item: dict[str, Any]) -> set[str]:
    """Why its containers wait."""
    states = [one["state"] for one in item["status"].get("containerStatuses", ())]
    return {state["waiting"]["reason"] for state in states if "waiting" in state}


def condition(item: dict[str, Any], kind: str) -> str:
    """The status of one of its conditions."""
    return next((one["status"] for one in item["status"].get("conditions", ()) if one["type"] == kind), "")


def taints(node: dict[str, Any]) -> set[str]:
    """The keys of a node's taints."""
    return {taint["key"] for taint in node["spec"].get("taints", ())}


def restarts(item: dict[str, Any]) -> int:
    """How often its containers were started again, together."""
    return sum(one["restartCount"] for one in item["status"].get("containerStatuses", ()))


def test_pods_fail_until_withdrawal(namespace: Namespace) -> None:
    """The chosen pod waits for its image, another one runs, and after withdrawal the chosen one runs, too."""
    with namespace.simulate.fail_pods("app=web"):
        namespace.apply([pod("a"), pod("b", "db")])
        failed = namespace.wait("pod/a", until=lambda item: waiting(item) == {"ImagePullBackOff"})
        assert failed["status"]["phase"] == "Pending"
        assert (condition(failed, "Ready"), condition(failed, "PodScheduled")) == ("False", "True")
        assert namespace.wait("pod/b")["status"]["phase"] == "Running"
        with pytest.raises(WaitTimeoutError):
            namespace.wait("pod/a", timeout=1)
    assert condition(namespace.wait("pod/a"), "Ready") == "True"


def test_failing_pods_make_a_rollout_stuck(namespace: Namespace) -> None:
    """Controllers see what they would see of a real cluster: a Deployment whose pods cannot start is unavailable."""
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    simulation = namespace.simulate.fail_pods("app in (web, db), !canary", reason="CreateContainerConfigError")
    namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
    namespace.wait("pods", until=lambda item: waiting(item) == {"CreateContainerConfigError"}, count=2)
    assert namespace.get("deployment/web")["status"]["unavailableReplicas"] == 2
    simulation.withdraw()
    assert namespace.wait("deployment/web")["status"]["availableReplicas"] == 2


def test_a_simulation_of_a_namespace_stays_in_it(namespace: Namespace, real_cluster: Cluster) -> None:
    """The same label in another namespace is not concerned; from the cluster's handle all namespaces are."""
    other = real_cluster.create_namespace("other")
    with namespace.simulate.fail_pods("app=web"):
        namespace.apply(pod("a"))
        other.apply(pod("a"))
        namespace.wait("pod/a", until=lambda item: waiting(item) == {"ImagePullBackOff"})
        other.wait("pod/a")
    with real_cluster.simulate.fail_pods("app=web", reason="ErrImagePull"):
        other.apply(pod("b"))
        other.wait("pod/b", until=lambda item: waiting(item) == {"ErrImagePull"})
    other.delete()


def test_pods_start_slowly_until_withdrawal(namespace: Namespace) -> None:
    """A slow pod is in ContainerCreating first and Ready after its time; one that waits at withdrawal starts at once."""
    with namespace.simulate.slow_start("app=web", 2):
        namespace.apply(pod("a"))
        created = namespace.wait("pod/a", until=lambda item: waiting(item) == {"ContainerCreating"})
        assert condition(created, "Ready") == "False"
        ready = namespace.wait("pod/a")
        assert (
            ready["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] >= created["status"]["startTime"]
        )
    with namespace.simulate.slow_start("app=web", 3600):
        namespace.apply(pod("b"))
        namespace.wait("pod/b", until=lambda item: waiting(item) == {"ContainerCreating"})
        with pytest.raises(WaitTimeoutError):
            namespace.wait("pod/b", timeout=1)
    namespace.wait("pod/b")


def test_pods_crash_until_withdrawal(namespace: Namespace) -> None:
    """Also a pod that ran already crashes again and again; after withdrawal it runs, and keeps its history."""
    namespace.apply(pod("a"))
    namespace.wait("pod/a")
    with namespace.simulate.crash_loop("app=web", backoff=0.2, exit_code=137):
        namespace.apply(pod("b"))
        for name in ("pod/a", "pod/b"):
            crashed = namespace.wait(
                name, until=lambda item: restarts(item) >= 6 and waiting(item) == {"CrashLoopBackOff"}
            )
            assert crashed["status"]["phase"] == "Running"
            last = crashed["status"]["containerStatuses"][1]["lastState"]["terminated"]
            assert (last["exitCode"], last["reason"]) == (137, "Error")
    running = namespace.wait("pod/a")
    namespace.wait("pod/b")
    assert waiting(running) == set()
    assert restarts(running) >= 6
    assert restarts(namespace.get("pod/a")) == restarts(running)


def test_a_crash_loop_ends_from_within_its_back_off(namespace: Namespace) -> None:
    """A pod that waits to be restarted at withdrawal does not wait any longer."""
    with namespace.simulate.crash_loop("app=web", backoff=3600):
        namespace.apply(pod("a"))
        namespace.wait("pod/a", until=lambda item: waiting(item) == {"CrashLoopBackOff"})
    namespace.wait("pod/a")


def test_a_node_is_not_ready_until_withdrawal(real_cluster: Cluster) -> None:
    """The node's condition changes, the controllers taint it, and both end."""
    with real_cluster.simulate.nodes(1) as added, real_cluster.simulate.node_not_ready(added.names[0]):
        node = f"node/{added.names[0]}"
        real_cluster.wait(node, condition="Ready=False")
        real_cluster.wait(node, until=lambda item: "node.kubernetes.io/not-ready" in taints(item))
        assert condition(real_cluster.get("node/node-0"), "Ready") == "True"
    with real_cluster.simulate.nodes(1) as added:
        node = f"node/{added.names[0]}"
        simulation = real_cluster.simulate.node_not_ready(added.names[0])
        real_cluster.wait(node, until=lambda item: "node.kubernetes.io/not-ready" in taints(item))
        simulation.withdraw()
        simulation.withdraw()
        real_cluster.wait(node, condition="Ready")
        real_cluster.wait(node, until=lambda item: not taints(item))


def test_an_unknown_node_cannot_break(real_cluster: Cluster) -> None:
    """A misspelt name is an error at once, not a simulation of nothing."""
    with pytest.raises(NotFound, match="node-99"):
        real_cluster.simulate.node_not_ready("node-99")


def test_nodes_come_with_what_they_have_and_go_with_their_pods(real_cluster: Cluster, namespace: Namespace) -> None:
    """Labels, taints and capacity decide where pods go; withdrawal deletes the nodes and the pods on them."""
    gpu = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    before = len(real_cluster.list("nodes"))
    with real_cluster.simulate.nodes(
        20, labels={"pool": "gpu"}, taints=[gpu], capacity={"example.com/gpu": "1"}
    ) as added:
        assert len(real_cluster.list("nodes")) == before + 20
        found = real_cluster.list("nodes", selector="pool=gpu")
        assert {node["metadata"]["name"] for node in found} == set(added.names)
        assert {node["status"]["allocatable"]["example.com/gpu"] for node in found} == {"1"}
        assert all(condition(node, "Ready") == "True" and taints(node) == {"gpu"} for node in found)
        wish = pod("a", tolerations=[{"key": "gpu", "operator": "Exists"}])
        wish["spec"]["containers"][0]["resources"] = {"limits": {"example.com/gpu": "1"}}
        namespace.apply([wish, pod("b")])
        assert namespace.wait("pod/a")["spec"]["nodeName"] in added.names
        assert namespace.wait("pod/b")["spec"]["nodeName"] not in added.names
    assert len(real_cluster.list("nodes")) == before
    namespace.wait("pod/a", deleted=True)
    assert namespace.get("pod/b")["status"]["phase"] == "Running"


def test_10001_nodes_are_refused(real_cluster: Cluster) -> None:
    """Those that are there count; nothing is made."""
    before = len(real_cluster.list("nodes"))
    with pytest.raises(ValueError, match=rf"10000 nodes beside the {before} of .* more than 10,000"):
        real_cluster.simulate.nodes(10_000)
    assert len(real_cluster.list("nodes")) == before


def test_refused_nodes_leave_nothing(real_cluster: Cluster) -> None:
    """A label that the API server refuses is its error, and none of the nodes stays."""
    before = len(real_cluster.list("nodes"))
    with pytest.raises(KinaError, match="wrong label"):
        real_cluster.simulate.nodes(3, labels={"wrong label": "x"})
    assert len(real_cluster.list("nodes")) == before


def test_claims_are_bound_until_withdrawal(namespace: Namespace, real_cluster: Cluster) -> None:
    """Claims of the class get volumes of their own; other classes and later claims wait; volumes go with claims."""
    namespace.apply([claim("early", "fast"), claim("other", "slow")])
    with namespace.simulate.bind_claims(storage_class="fast"):
        namespace.apply(claim("a", "fast"))
        volumes = [namespace.wait(f"persistentvolumeclaim/{name}")["spec"]["volumeName"] for name in ("early", "a")]
        assert len(set(volumes)) == 2
        assert real_cluster.get("persistentvolume", volumes[0])["spec"]["capacity"] == {"storage": "1Gi"}
    namespace.apply(claim("late", "fast"))
    with pytest.raises(WaitTimeoutError):
        namespace.wait("pvc/late", timeout=1)
    assert namespace.get("pvc/other")["status"]["phase"] == "Pending"
    namespace.delete("pvc/a", wait=True)
    real_cluster.wait("persistentvolume", volumes[1], deleted=True)
    assert real_cluster.get("persistentvolume", volumes[0])["status"]["phase"] == "Bound"


def test_the_api_shows_no_trace_of_how_it_is_done(namespace: Namespace, real_cluster: Cluster) -> None:
    """No CustomResourceDefinition of kwok appears, and the stages of what is withdrawn are gone."""
    file = real_cluster.directory / "simulated.yaml"
    with namespace.simulate.bind_claims():
        assert '-provision"' in file.read_text()
        definitions = real_cluster.list("customresourcedefinitions")
        assert [one for one in definitions if "kwok" in one["spec"]["group"]] == []
    assert '-provision"' not in file.read_text()


def test_a_cluster_without_simulated_nodes_says_so(real_api_cluster: Cluster) -> None:
    """The error names provider and profile, and what to ask for."""
    with pytest.raises(KinaError, match=r"cannot simulate anything: provider 'embedded', profile 'api'") as caught:
        real_api_cluster.simulate  # noqa: B018 - the property raises
    assert "profile='workloads'" in str(caught.value)
