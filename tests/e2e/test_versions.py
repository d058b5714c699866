"""One test on many Kubernetes versions, with the real control plane of each."""

from __future__ import annotations

import pytest

from pytest_kina.timing import Phase
from tests.support.runs import Home, write_project

VERSIONS = ("1.34", "1.35", "1.36")

TEST = """
import pytest

@pytest.mark.kina_cluster(versions=["1.34", "1.35", "1.36"], simulated_nodes=2)
def test_it(kina_cluster, kina_namespace, kina_load, request):
    answer = kina_cluster.connection.api.request("GET", "/version", kina_cluster.connection.api.call("get", "version"))
    assert answer["gitVersion"] == kina_cluster.version
    assert kina_cluster.version.removeprefix("v").startswith(request.node.callspec.id.partition("-")[0] + ".")
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "example.invalid/i:1"}]},
    }
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    with kina_namespace.simulate.fail_pods("app=web"):
        kina_namespace.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
        waiting = lambda pod: pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
        kina_namespace.wait("pods", until=waiting, count=3)
    kina_namespace.wait("deployment/web")
    with kina_namespace.simulate.crash_loop("app=web", backoff=0.2):
        kina_namespace.wait("pods", until=lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] > 1, count=3)
    with kina_cluster.simulate.node_not_ready("node-1"):
        kina_cluster.wait("node/node-1", condition="Ready=False")
    kina_cluster.wait("node/node-1", condition="Ready")
    template["spec"]["restartPolicy"] = "Never"
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": template}}
    kina_namespace.apply(job)
    kina_namespace.wait("job/job")
    kina_namespace.as_user("jane", role="view").list("pods")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    with kina_namespace.simulate.bind_claims():
        meta = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}}
        kina_namespace.apply({**meta, "spec": claim})
        kina_namespace.wait("pvc/c")
    assert kina_load(pods=30, custom_resources=10, churn=50, seconds=1).failed == 0
"""


@pytest.mark.long
@pytest.mark.real_control_plane(versions=VERSIONS)
def test_one_test_runs_on_three_versions(home: Home) -> None:
    """Each on a cluster of its own with the same flags and the same etcd: workloads, users, simulations and load."""
    write_project(home.project, {"test_it.py": TEST})
    ended = home.run("-v", ci=True)
    assert ended.outcomes == {"passed": 3}, ended.output
    made = {event.kubernetes.rpartition(".")[0] for event in home.events(Phase.CREATE)}
    assert made == {f"v{version}" for version in VERSIONS}
    home.assert_nothing_left()
