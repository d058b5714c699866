"""The handles on a real control plane with controllers and a simulated node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from pytest_kina.binaries import obtain
from pytest_kina.cluster import Cluster, Kubectl, Namespace, evidence
from pytest_kina.errors import CommandError, Forbidden, KinaError, NotFound, WaitTimeoutError
from pytest_kina.progress import silent

pytestmark = pytest.mark.real_control_plane


def pod_template(**spec: Any) -> dict[str, Any]:
    """What a pod of these tests is made of."""
    return {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "example.invalid/image:1"}], **spec},
    }


def deployment(replicas: int, **spec: Any) -> dict[str, Any]:
    """A Deployment called web."""
    content = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod_template(**spec)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": content}


def job(**spec: Any) -> dict[str, Any]:
    """A Job called once."""
    content = {"template": pod_template(restartPolicy="Never"), **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": content}


def test_new_namespace_is_ready_for_pods(real_cluster: Cluster) -> None:
    """Its ServiceAccount and the cluster's CA are there when it is handed out, ten times out of ten."""
    for _ in range(10):
        made = real_cluster.create_namespace("ready")
        assert made.get("serviceaccount/default")["metadata"]["namespace"] == made.name
        assert "BEGIN CERTIFICATE" in made.get("configmap", "kube-root-ca.crt")["data"]["ca.crt"]
        made.delete()


def test_namespace_and_pods_in_one_apply(real_cluster: Cluster) -> None:
    """A pod in the same list as its namespace is not refused for lack of a ServiceAccount."""
    name = real_cluster.create_namespace("name").name + "-2"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": name}, **pod_template()}
    pod["metadata"] = {"name": "p", "namespace": name}
    real_cluster.apply([pod, space])
    assert real_cluster.wait("pod/p", namespace=name)["status"]["phase"] == "Running"
    real_cluster.delete("namespace", name)


def test_deployment_rolls_out(namespace: Namespace) -> None:
    """Waiting ends when all replicas are of the new template, for the first rollout and for the next."""
    namespace.apply(deployment(2))
    assert namespace.wait("deployment/web")["status"]["availableReplicas"] == 2
    namespace.apply(deployment(3, terminationGracePeriodSeconds=0))
    rolled = namespace.wait("deployment/web")
    counts = (rolled["status"]["updatedReplicas"], rolled["status"]["replicas"])
    assert (counts, rolled["status"]["observedGeneration"]) == ((3, 3), rolled["metadata"]["generation"])
    assert namespace.wait("deploy/web", condition="Available")["metadata"]["name"] == "web"
    ready = namespace.wait("pods", selector="app=web", count=3, condition="Ready")
    assert {pod["spec"]["terminationGracePeriodSeconds"] for pod in ready} == {0}


def test_stuck_rollout_is_explained(namespace: Namespace) -> None:
    """The time-out shows the Deployment's status, the pod that has no node, and the scheduler's reason."""
    namespace.apply(deployment(1, nodeSelector={"no": "such"}))
    namespace.wait("pods", condition="PodScheduled=False", count=1)
    with pytest.raises(WaitTimeoutError) as caught:
        namespace.wait("deployment/web", timeout=0.5)
    text = str(caught.value)
    for word in (
        "deployments.apps/web",
        "unavailableReplicas",
        "Pending on no node",
        "Unschedulable",
        "ScalingReplicaSet",
    ):
        assert word in text


def test_stopped_rollout_ends_the_wait_early(namespace: Namespace) -> None:
    """The deployment controller gives up after its own deadline; then waiting any longer is in vain."""
    stuck = deployment(1, nodeSelector={"no": "such"})
    stuck["spec"]["progressDeadlineSeconds"] = 1
    namespace.apply(stuck)
    with pytest.raises(WaitTimeoutError, match=r"the rollout has stopped: ProgressDeadlineExceeded"):
        namespace.wait("deployment/web", timeout=60)


def test_job_completes(namespace: Namespace) -> None:
    """A simulated Job ends by itself; both ways to wait for it agree."""
    namespace.apply(job())
    assert namespace.wait("job/once")["status"]["succeeded"] == 1
    assert namespace.wait("job/once", condition="Complete")["metadata"]["name"] == "once"


def test_failed_job_ends_the_wait_early(namespace: Namespace) -> None:
    """A Job that cannot complete any more is reported at once, with its reason."""
    namespace.apply(
        job(activeDeadlineSeconds=1, template=pod_template(restartPolicy="Never", nodeSelector={"no": "such"}))
    )
    with pytest.raises(WaitTimeoutError, match=r"the job has failed: DeadlineExceeded"):
        namespace.wait("job/once", timeout=60)


def test_deleted_deployment_takes_its_pods_along(namespace: Namespace) -> None:
    """Deletion is in the background and complete."""
    namespace.apply(deployment(2))
    namespace.wait("deployment/web")
    namespace.delete("deployment/web", wait=True)
    assert namespace.wait("pods", count=0) == []


def test_nodes_can_be_counted(real_cluster: Cluster) -> None:
    """The simulated node is Ready."""
    assert len(real_cluster.wait("nodes", condition="Ready", count=1)) == 1


def test_simulated_pod_has_no_logs(namespace: Namespace) -> None:
    """The error says why; a pod that does not exist is still not found."""
    namespace.apply({"apiVersion": "v1", "kind": "Pod", **pod_template(), "metadata": {"name": "p"}})
    namespace.wait("pod/p")
    with pytest.raises(KinaError, match=r"pod/p has no logs: its node is simulated"):
        namespace.logs("pod/p")
    with pytest.raises(NotFound):
        namespace.logs("pod/other")


def test_roles_are_the_real_ones(namespace: Namespace) -> None:
    """With controllers, the aggregated roles themselves are bound."""
    viewer = namespace.as_user("viewer", role="view")
    assert viewer.list("deployments") == []
    with pytest.raises(Forbidden, match=r"cannot delete configmaps/kube-root-ca\.crt in namespace .* as viewer"):
        viewer.delete("configmap", "kube-root-ca.crt")
    assert namespace.list("rolebindings")[0]["roleRef"]["name"] == "view"


def test_new_aggregated_role_is_granted_with_its_rules(real_cluster: Cluster, namespace: Namespace) -> None:
    """A ClusterRole that the controller has yet to fill is waited for, not granted empty."""
    group = "rbac.authorization.k8s.io/v1"
    label = {"aggregate": namespace.name}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    part = {"apiVersion": group, "kind": "ClusterRole", "metadata": {"name": f"{namespace.name}-part", "labels": label}}
    whole = {"apiVersion": group, "kind": "ClusterRole", "metadata": {"name": namespace.name}}
    selectors = {"clusterRoleSelectors": [{"matchLabels": label}]}
    real_cluster.apply([{**part, "rules": rules}, {**whole, "aggregationRule": selectors}])
    user = namespace.as_user(f"user-{namespace.name}", role=namespace.name)
    assert [item["metadata"]["name"] for item in user.list("configmaps")] == ["kube-root-ca.crt"]
    for name in (namespace.name, f"{namespace.name}-part"):
        real_cluster.delete("clusterrole", name)


def test_cluster_admin_may_do_everything(real_cluster: Cluster, namespace: Namespace) -> None:
    """The widest role has effect everywhere when the handle is returned."""
    root = real_cluster.as_user(f"root-{namespace.name}", role="cluster-admin")
    assert root.list("secrets") is not None
    made = root.create_namespace("by-root")
    made.delete()


def test_role_that_does_not_exist_is_an_error(namespace: Namespace) -> None:
    """A misspelt role is found, not bound to nothing."""
    with pytest.raises(NotFound, match=r"clusterroles\.rbac\.authorization\.k8s\.io/viewer"):
        namespace.as_user("jane", role="viewer")


def test_namespace_with_content_disappears(real_cluster: Cluster) -> None:
    """Deleting does not wait; the namespace controller finishes it."""
    doomed = real_cluster.create_namespace("doomed")
    doomed.apply([deployment(1), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}])
    doomed.delete()
    assert real_cluster.wait("namespace", doomed.name, deleted=True, timeout=60) is None


def test_evidence_shows_what_is_stuck(namespace: Namespace) -> None:
    """Events, the pod's reason and the logs of all five components are in it, within the limit."""
    namespace.apply(deployment(1, nodeSelector={"no": "such"}))
    namespace.wait("pods", condition="PodScheduled=False", count=1)
    namespace.wait("events", until=lambda event: event["reason"] == "FailedScheduling", count=1)
    text = evidence.collect(namespace.cluster, namespace.name, limit_bytes=30_000)
    assert len(text.encode()) <= 30_000
    for word in ("FailedScheduling", "Unschedulable", "[etcd]", "[kube-apiserver]", "[kube-scheduler]", "[kwok]"):
        assert word in text
    assert set(namespace.cluster.component_logs(lines=1)) >= {"etcd", "kube-apiserver", "kube-controller-manager"}


@pytest.fixture
def kubectl(namespace: Namespace) -> Kubectl:
    """The real kubectl for the test's namespace, obtained like the other binaries."""
    home = os.environ.get("KINA_HOME") or platformdirs.user_state_dir("pytest-kina")
    found = obtain("1.36", ["kubectl"], root=Path(home), offline=False, progress=silent)
    return Kubectl(namespace, found.paths["kubectl"])


def test_kubectl_acts_in_the_namespace(namespace: Namespace, kubectl: Kubectl) -> None:
    """Text, JSON, standard input and failure, with the real program."""
    kubectl("apply", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n")
    assert namespace.get("configmap/a")["data"] == {"k": "v"}
    assert kubectl("get", "configmap/a", json=True)["data"] == {"k": "v"}
    assert "kube-root-ca.crt" in kubectl("get", "configmaps")
    assert kubectl("get", "configmap/a", "-n", "default", "--ignore-not-found") == ""
    with pytest.raises(CommandError, match="NotFound"):
        kubectl("get", "configmap/none")


def test_kubectl_acts_as_the_user_of_its_handle(namespace: Namespace, kubectl: Kubectl) -> None:
    """A handle made with as_user gives kubectl that user's kubeconfig."""
    user = Kubectl(namespace.as_user("kubectl-user", ["dev"]), kubectl.binary)
    assert "kubectl-user" in user("auth", "whoami")
    assert user.run("auth", "can-i", "get", "pods", check=False).stdout.strip() == "no"
