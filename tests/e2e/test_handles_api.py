"""The handles on a real API server without controllers."""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cluster import Cluster, Namespace, evidence
from pytest_kina.errors import Conflict, Forbidden, NotFound, WaitTimeoutError
from pytest_kina.process import run_command
from pytest_kina.waiting import Deadline, wait_until

pytestmark = pytest.mark.real_control_plane

MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}


def crd(group: str, *versions: str, scope: str = "Namespaced") -> dict[str, Any]:
    """The definition of a Widget in a group."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {"name": name, "served": True, "storage": number == 0, "schema": schema}
                for number, name in enumerate(versions)
            ],
        },
    }


def test_object_lives_from_apply_to_delete(api_namespace: Namespace) -> None:
    """Apply makes, apply again changes, get and list show, delete removes."""
    assert api_namespace.apply(MAP)[0]["data"] == {"k": "v"}
    assert api_namespace.apply({**MAP, "data": {"k": "w"}})[0]["data"] == {"k": "w"}
    assert api_namespace.get("configmap/a")["metadata"]["namespace"] == api_namespace.name
    assert [item["metadata"]["name"] for item in api_namespace.list("cm")] == ["a"]
    api_namespace.delete("configmap/a", wait=True)
    with pytest.raises(NotFound, match='configmaps "a" not found'):
        api_namespace.get("configmap/a")


def test_namespace_says_which_test_it_is_for(real_api_cluster: Cluster) -> None:
    """The name begins with the test's, the full id is an annotation, and it is ready at once."""
    made = real_api_cluster.create_namespace("t.py::test_x[1]", {"pytest-kina.io/test": "t.py::test_x[1]"})
    found = real_api_cluster.get("namespace", made.name)
    assert made.name.startswith("test-x-1-")
    assert found["metadata"]["annotations"] == {"pytest-kina.io/test": "t.py::test_x[1]"}
    assert found["status"]["phase"] == "Active"
    made.delete()


def test_folder_with_crd_and_its_objects_is_applied_in_one_go(api_namespace: Namespace, tmp_path: Path) -> None:
    """The CRD is Established and served before its objects are sent, although the file names say otherwise."""
    import json

    widget = {"apiVersion": "folder.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
    (tmp_path / "1-widget.json").write_text(json.dumps(widget))
    (tmp_path / "2-crd.json").write_text(json.dumps(crd("folder.example", "v1")))
    applied = api_namespace.apply(tmp_path)
    assert [item["kind"] for item in applied] == ["Widget", "CustomResourceDefinition"]
    assert api_namespace.get("widgets.folder.example/w")["spec"] == {"size": 1}
    api_namespace.cluster.delete("crd", "widgets.folder.example", wait=True)


def test_crd_that_comes_back_in_another_version_is_followed(api_namespace: Namespace) -> None:
    """What another program changes about the served types is noticed, not remembered."""
    cluster, other = api_namespace.cluster, Cluster.open(api_namespace.cluster.directory)
    cluster.apply(crd("moving.example", "v1alpha1"))
    assert api_namespace.list("widgets.moving.example") == []
    other.delete("crd", "widgets.moving.example", wait=True)
    other.apply(crd("moving.example", "v1"))
    other.namespace(api_namespace.name).apply(
        {"apiVersion": "moving.example/v1", "kind": "Widget", "metadata": {"name": "w"}}
    )
    assert [item["apiVersion"] for item in api_namespace.list("widgets.moving.example")] == ["moving.example/v1"]
    other.delete("crd", "widgets.moving.example", wait=True)


def test_two_field_managers_cannot_both_own_a_field(api_namespace: Namespace) -> None:
    """The second one is told which field and whose; with force it takes it over."""
    api_namespace.apply(MAP)
    with pytest.raises(Conflict, match=r'conflict with "pytest-kina"') as caught:
        api_namespace.apply({**MAP, "data": {"k": "mine"}}, field_manager="operator")
    assert caught.value.fields == (".data.k",)
    forced = api_namespace.apply({**MAP, "data": {"k": "mine"}}, field_manager="operator", force=True)
    assert forced[0]["data"] == {"k": "mine"}


def test_official_clients_work_with_the_same_credentials(api_namespace: Namespace) -> None:
    """`client()` and `dynamic` are the official ones, and their files stay in the cluster's directory."""
    from kubernetes.client import CoreV1Api

    api_namespace.apply(MAP)
    typed = CoreV1Api(api_namespace.client()).read_namespaced_config_map("a", api_namespace.name)
    assert typed.data == {"k": "v"}
    maps = api_namespace.dynamic.resources.get(api_version="v1", kind="ConfigMap")
    assert maps.get(name="a", namespace=api_namespace.name).data.k == "v"
    assert list((api_namespace.cluster.directory / "client").glob("discovery-*.json"))


def test_wait_ends_when_somebody_else_changes_the_object(api_namespace: Namespace) -> None:
    """The change is seen by a watch, in the thread that waits."""
    api_namespace.apply(MAP)
    other = Cluster.open(api_namespace.cluster.directory).namespace(api_namespace.name)
    change = threading.Thread(target=lambda: other.apply({**MAP, "data": {"k": "changed"}}))
    seen: list[str] = []

    def changed(item: dict[str, Any]) -> bool:
        seen.append(item["data"]["k"])
        if len(seen) == 1:
            change.start()
        return bool(item["data"]["k"] == "changed")

    assert api_namespace.wait("configmap/a", until=changed)["data"] == {"k": "changed"}
    change.join()
    assert seen == ["v", "changed"]


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_role_in_a_namespace_stays_there(real_api_cluster: Cluster, api_namespace: Namespace, role: str) -> None:
    """The built-in roles work without the controller that fills them, at once, and in this namespace only."""
    api_namespace.apply(MAP)
    user = api_namespace.as_user(f"{role}-{api_namespace.name}", role=role)
    assert user.get("configmap/a")["data"] == {"k": "v"}
    may: dict[str, Callable[[], Any]] = {
        "edit": lambda: user.apply({**MAP, "metadata": {"name": "b"}}),
        "admin": lambda: user.list("rolebindings"),
    }
    levels = ["view", "edit", "admin"]
    for level, action in may.items():
        if levels.index(level) <= levels.index(role):
            action()
        else:
            with pytest.raises(Forbidden, match=f"as {role}-{api_namespace.name}"):
                action()
    with pytest.raises(Forbidden, match="in namespace default"):
        user.cluster.get("configmap/a")


def test_own_rules_are_granted_exactly(api_namespace: Namespace) -> None:
    """A list of rules becomes a Role: these verbs on these objects, and nothing else."""
    api_namespace.apply([MAP, {**MAP, "metadata": {"name": "b"}}])
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"]}]
    user = api_namespace.as_user(f"narrow-{api_namespace.name}", role=rules)
    assert user.get("configmap/a")["data"] == {"k": "v"}
    for refused in (lambda: user.get("configmap/b"), lambda: user.delete("configmap/a")):
        with pytest.raises(Forbidden):
            refused()


def test_role_in_the_cluster_and_groups(real_api_cluster: Cluster, api_namespace: Namespace) -> None:
    """A cluster's role counts everywhere; a user without any may do nothing; membership of a group counts."""
    reader = real_api_cluster.as_user(f"reader-{api_namespace.name}", role="view")
    assert isinstance(reader.list("configmaps"), list)
    nobody = real_api_cluster.as_user(f"nobody-{api_namespace.name}")
    with pytest.raises(Forbidden, match="cannot list configmaps as nobody"):
        nobody.list("configmaps")
    assert real_api_cluster.as_user("anybody", groups=["system:masters"]).list("secrets") is not None
    rules = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    assert real_api_cluster.as_user(f"metrics-{api_namespace.name}", role=rules).user.startswith("metrics-")


@pytest.mark.parametrize("where", ["cluster", "namespace"])
def test_role_that_does_not_exist_says_what_may_be_given(
    real_api_cluster: Cluster, api_namespace: Namespace, where: str
) -> None:
    """A misspelt role is an error with the roles that there are as its next step."""
    handle = real_api_cluster if where == "cluster" else api_namespace
    with pytest.raises(NotFound, match=r'"veiw" not found(.|\n)*Next step: role is view, edit, admin, cluster-admin'):
        handle.as_user("jane", role="veiw")


def test_kubeconfig_for_a_user_is_private(real_api_cluster: Cluster) -> None:
    """It is ours only, lies in the cluster's directory, and names the user."""
    path = real_api_cluster.kubeconfig_for("jane@example.com", ["dev"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.is_relative_to(real_api_cluster.directory)
    assert real_api_cluster.as_user("jane@example.com", ["dev"]).user == "jane@example.com"


def test_namespace_with_content_is_gone_when_delete_returns(api_namespace: Namespace) -> None:
    """No controller runs: contents of all types, custom ones too, go away, then the namespace, and for good."""
    cluster = api_namespace.cluster
    cluster.apply(crd("doomed.example", "v1"))
    doomed = cluster.create_namespace("doomed")
    job = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    doomed.apply(
        [
            MAP,
            {"apiVersion": "doomed.example/v1", "kind": "Widget", "metadata": {"name": "w"}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": job},
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": job}}},
        ]
    )
    doomed.delete(wait=True)
    with pytest.raises(NotFound):
        cluster.get("namespace", doomed.name)
    doomed.delete(wait=True)
    with pytest.raises(NotFound):
        cluster.delete("namespace", doomed.name)
    left = [item for kind in ("cm", "pods", "jobs", "widgets.doomed.example") for item in cluster.list(kind)]
    assert [item for item in left if item["metadata"].get("namespace") == doomed.name] == []
    cluster.delete("crd", "widgets.doomed.example", wait=True)


def test_deleting_a_namespace_waits_for_nobody(real_api_cluster: Cluster) -> None:
    """Without wait, what a finalizer holds stays behind in a Terminating namespace, and the test goes on."""
    held = real_api_cluster.create_namespace("held")
    held.apply({**MAP, "metadata": {"name": "a", "finalizers": ["example.com/hold"]}})
    held.delete()
    assert real_api_cluster.get("namespace", held.name)["status"]["phase"] == "Terminating"
    with pytest.raises(Forbidden, match="being terminated"):
        held.apply({**MAP, "metadata": {"name": "b"}})
    with pytest.raises(
        WaitTimeoutError, match=r"not empty after 0\.2 s:\n  configmaps: a \(finalizers: example\.com/hold\)"
    ):
        held.delete(wait=True, timeout=0.2)
    held.apply({**MAP, "metadata": {"name": "a", "finalizers": []}})
    real_api_cluster.delete(f"ns/{held.name}", wait=True)


def is_gone(cluster: Cluster, name: str) -> bool:
    """Whether there is no such namespace."""
    try:
        cluster.get("namespace", name)
    except NotFound:
        return True
    return False


def test_namespaces_that_nobody_waits_for_are_emptied_in_one_go(
    real_api_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Each type is listed once for all of them; what a finalizer holds keeps its own namespace, and no other."""
    made = [real_api_cluster.create_namespace("gone") for _ in range(5)]
    for namespace in made:
        namespace.apply([MAP, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}])
    held = real_api_cluster.create_namespace("held")
    held.apply({**MAP, "metadata": {"name": "a", "finalizers": ["example.com/hold"]}})
    bystander = real_api_cluster.create_namespace("stays")
    bystander.apply(MAP)
    with caplog.at_level(logging.DEBUG, logger="urllib3.connectionpool"):
        for namespace in (*made, held):
            namespace.delete()
        assert wait_until(
            lambda: all(is_gone(real_api_cluster, namespace.name) for namespace in made), Deadline(20), interval=0.05
        )
    assert sum('"GET /api/v1/secrets ' in message for message in caplog.messages) == 1
    assert real_api_cluster.get("namespace", held.name)["status"]["phase"] == "Terminating"
    assert bystander.get("configmap/a")["metadata"]["name"] == "a"
    held.apply({**MAP, "metadata": {"name": "a", "finalizers": []}})
    held.delete(wait=True)
    bystander.delete(wait=True)


def test_who_deletes_a_namespace_and_ends_leaves_none(real_api_cluster: Cluster) -> None:
    """A process that ends at once does not take a second for it, and a fork of it has nothing to do."""
    script = f"""
import os, time
from pathlib import Path
from pytest_kina.cluster import Cluster
cluster = Cluster.open(Path({str(real_api_cluster.directory)!r}))
namespace = cluster.create_namespace("brief")
namespace.apply({MAP!r})
namespace.delete()
if (child := os.fork()) == 0:
    raise SystemExit
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(namespace.name)
"""
    name = run_command([sys.executable, "-W", "error", "-c", script], timeout=60).stdout.strip()
    assert is_gone(real_api_cluster, name)


def test_evidence_of_a_real_cluster_has_no_secrets(api_namespace: Namespace) -> None:
    """Logs of the real components are there; keys, tokens and the data of Secrets are not."""
    api_namespace.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    )
    text = evidence.collect(api_namespace.cluster, api_namespace.name, limit_bytes=20_000)
    assert "[kube-apiserver]" in text
    assert "hunter2" not in text
    assert "PRIVATE KEY" not in text


def test_forked_child_uses_connections_of_its_own(api_namespace: Namespace) -> None:
    """Parent and child ask at the same time and each gets its own answers."""
    api_namespace.apply(MAP)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for _ in range(20):
                assert api_namespace.get("configmap/a")["data"] == {"k": "v"}
            code = 0
        finally:
            os.write(writer, b"done")
            os._exit(code)
    for _ in range(20):
        assert api_namespace.get("configmap/a")["kind"] == "ConfigMap"
    assert os.read(reader, 4) == b"done"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reader)
    os.close(writer)
