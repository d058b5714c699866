"""What is left in a real cluster outside of namespaces, and how a run reports it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cluster import Cluster
from pytest_kina.cluster.leaks import Baseline, Leak, read, shared_baseline, write
from pytest_kina.spec import ClusterSpec
from tests.e2e.conftest import embedded_cluster
from tests.support.runs import Home, write_project

pytestmark = pytest.mark.real_control_plane

LEAKING = """
import pytest

def role(name, verb="get"):
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}

def test_tidy(kina_cluster, kina_namespace):
    kina_namespace.as_user("jane", role="view")
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    kina_cluster.apply(role("passing"))
    kina_cluster.delete("clusterrole/passing")

@pytest.mark.parametrize("number", range(2))
def test_shared(kina_cluster, number):
    kina_cluster.apply(role(f"shared-{number}"), field_manager="somebody")

@pytest.mark.parametrize("name", ["alone"])
@pytest.mark.kina_cluster(isolation="exclusive")
def test_exclusive(kina_cluster, name):
    kina_cluster.apply(role(name))
    kina_cluster.delete("clusterrole/view")
"""

INSTALLING = """
def pytest_kina_cluster_ready(cluster):
    metadata = {"name": "installed", "labels": {"by": "hook"}}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of this module's own: other tests leave things on theirs."""
    with embedded_cluster(tmp_path_factory.mktemp("leaks"), ClusterSpec(simulated_nodes=1)) as made:
        yield made


def role(name: str, verb: str = "get") -> dict[str, Any]:
    """A ClusterRole."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]
    head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    return {**head, "metadata": {"name": name}, "rules": rules}


def found(cluster: Cluster, baseline: Baseline) -> set[tuple[str, str, str]]:
    """Kind, name and change of what was left."""
    return {
        (leak.kind.partition(".")[0], leak.name, leak.change)
        for leak in baseline.leaks(cluster.connection, cluster="c")
    }


@pytest.mark.parametrize("whole", [False, True])
def test_a_used_cluster_without_leaks_has_none(cluster: Cluster, whole: bool) -> None:
    """Workloads, users, volumes and what the controllers do with them in the background are no leaks."""
    baseline = Baseline.take(cluster.connection, whole=whole)
    namespace = cluster.create_namespace("tidy", {"pytest-kina/test": "tidy"})
    with namespace.simulate.bind_claims(), cluster.simulate.nodes(1):
        pod = {"spec": {"containers": [{"name": "c", "image": "example.invalid/i:1"}]}}
        namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **pod})
        namespace.wait("pod/a")
        cluster.as_user("jane", role="view")
    namespace.delete()
    assert found(cluster, baseline) == set()


@pytest.mark.parametrize("whole", [False, True])
def test_added_and_changed_objects_are_found_with_their_managers(cluster: Cluster, whole: bool) -> None:
    """Of whatever type, also custom ones; status written by controllers does not count."""
    cluster.apply([role("old"), role("untouched")])
    baseline = Baseline.take(cluster.connection, whole=whole)
    suffix = "whole" if whole else "plain"
    names = {"plural": f"{suffix}things", "singular": f"{suffix}thing", "kind": f"{suffix.title()}Thing"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{suffix}things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    thing = {"apiVersion": "example.com/v1", "kind": names["kind"], "metadata": {"name": "t"}}
    cluster.apply([definition, thing, role(f"new-{suffix}")], field_manager="me")
    cluster.apply(role("old", "list" if whole else "watch"))
    own = cluster.create_namespace("forgotten")
    expected = {
        ("customresourcedefinitions", f"{suffix}things.example.com", "added"),
        (f"{suffix}things", "t", "added"),
        ("clusterroles", f"new-{suffix}", "added"),
        ("namespaces", own.name, "added"),
    }
    left = found(cluster, baseline)
    assert expected - left == set()
    assert left - expected <= {("clusterroles", "old", "changed"), ("clusterroles", "old", "added")}
    assert ("clusterroles", "old", "changed" if whole else next(c for _, n, c in left if n == "old")) in left
    (leak,) = [leak for leak in baseline.leaks(cluster.connection, cluster="c") if leak.name == f"new-{suffix}"]
    assert leak.managers == ("me",)
    own.delete()


def test_removed_objects_are_found_where_everything_was_listed(cluster: Cluster) -> None:
    """One that was there and is not: removed. One that was replaced by another of its name: added."""
    cluster.apply([role("going"), role("replaced")])
    baseline = Baseline.take(cluster.connection, whole=True)
    for name in ("going", "replaced"):
        cluster.delete("clusterrole", name)
    cluster.apply(role("replaced"))
    assert found(cluster, baseline) == {("clusterroles", "going", "removed"), ("clusterroles", "replaced", "added")}


def test_a_run_reports_what_its_shared_clusters_keep(home: Home) -> None:
    """Both xdist workers' leaks, each once, with who wrote it; what a hook installs and what is tidied is not there."""
    write_project(home.project, {"test_it.py": LEAKING, "conftest.py": INSTALLING})
    ended = home.run("-n2", "-k", "not exclusive", ci=True)
    assert ended.outcomes["passed"] == 3, ended.output
    section = ended.output.partition("kina: left behind")[2].partition("====")[2].partition("More with")[0]
    lines = [line.partition(": ")[2] for line in section.splitlines() if "kina-" in line]
    kind = "clusterroles.rbac.authorization.k8s.io"
    assert sorted(lines) == [f"{kind}/shared-{number} added by somebody" for number in range(2)]


def test_a_searched_run_names_the_test(home: Home) -> None:
    """With --kina-find-leaks exclusive clusters are searched, and a bootstrap role that a test removes is found."""
    write_project(home.project, {"test_it.py": LEAKING})
    ended = home.run("--kina-find-leaks", "-k", "exclusive or tidy", ci=True)
    assert ended.outcomes["passed"] == 2, ended.output
    section = ended.output.partition("kina: left behind")[2]
    assert "/alone added by pytest-kina in test_it.py::test_exclusive[alone]" in section
    assert "/view removed in test_it.py::test_exclusive[alone]" in section
    assert section.count("clusterroles") == 2
    assert "More with" not in section


def test_of_a_shared_cluster_the_latest_search_counts(tmp_path: Path) -> None:
    """What an earlier search of another process saw may have been in use; exclusive clusters are searched once each."""
    used = Leak(cluster="c", kind="nodes", name="in-use", change="added")
    left = Leak(cluster="c", kind="nodes", name="left", change="added", managers=("m",))
    alone = Leak(cluster="c", kind="nodes", name="alone", change="added", test="t.py::t")
    write(tmp_path, "gw0", cluster="c", began=1.0, leaks=[used, left])
    write(tmp_path, "gw1", cluster="c", began=2.0, leaks=[left])
    write(tmp_path, "gw1", cluster="d", began=1.0, leaks=[alone])
    write(tmp_path, "gw1", cluster="d", began=3.0, leaks=[])
    with (tmp_path / "leaks" / "gw1.jsonl").open("a") as stream:
        stream.write('{"cluster": "c"')
    assert read(tmp_path) == [left, alone]


def test_processes_of_a_run_compare_with_the_same_moment(cluster: Cluster, tmp_path: Path) -> None:
    """Whoever joins later gets the first one's baseline, with the objects if they were listed."""
    for whole in (False, True):
        run = tmp_path / str(whole)
        run.mkdir()
        first = shared_baseline(run, cluster.connection, "c", whole=whole)
        cluster.apply(role(f"between-{whole}".lower()))
        assert shared_baseline(run, cluster.connection, "c", whole=whole) == first
        assert (first.objects is not None) is whole


def test_a_leak_reads_as_a_sentence() -> None:
    """Cluster, object, change; who and in which test, as far as known."""
    whole = Leak(cluster="c", kind="nodes", name="n", change="added", managers=("a", "b"), test="t.py::t")
    assert str(whole) == "c: nodes/n added by a, b in t.py::t"
    assert str(Leak(cluster="c", kind="nodes", name="n", change="removed")) == "c: nodes/n removed"
