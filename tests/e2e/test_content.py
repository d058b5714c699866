"""Content of specs with the real control plane: installed once, there for every later cluster, refused when wrong."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.charts import Chart
from pytest_kina.cluster import Cluster
from pytest_kina.errors import ProvisionError
from pytest_kina.pool import Want
from pytest_kina.process import run_command
from pytest_kina.progress import silent
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.timing import Phase, read_spool
from pytest_kina.waiting import Deadline, wait_until
from tests.support.helm_program import CHART, REFUSED, RENDERED, StandIn, real_helm
from tests.support.pool_kit import Kit

pytestmark = pytest.mark.real_control_plane

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.kina.test"},
    "spec": {
        "group": "kina.test",
        "names": {"kind": "Widget", "plural": "widgets"},
        "scope": "Namespaced",
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}
WIDGET = {"apiVersion": "kina.test/v1", "kind": "Widget", "metadata": {"name": "one", "namespace": "default"}}
DENIAL = [
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "nobody-serves-this"},
        "webhooks": [
            {
                "name": "nobody.kina.test",
                "clientConfig": {"url": "https://127.0.0.1:1/deny"},
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
]
BOOTSTRAP = """
def install(cluster):
    for number in range(3):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{number}"}})
def fails(cluster):
    raise RuntimeError("the certificate could not be made")
def fails_once_more(cluster):
    with open("ran", "a") as file:
        file.write("x")
    raise OSError("address already in use")
def hangs(cluster):
    import time
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a CRD, an object of it, and functions that can be imported."""
    (tmp_path / "crd.json").write_text(json.dumps(CRD))
    (tmp_path / "invalid.json").write_text(json.dumps(CRD).replace('"object"', '"thing"'))
    (tmp_path / "widget.json").write_text(json.dumps(WIDGET))
    (tmp_path / "denial.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": DENIAL}))
    (tmp_path / "kina_setup_of_test.py").write_text(BOOTSTRAP)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


@pytest.fixture
def kit(folder: Path) -> Iterator[Kit]:
    """One process of a run that keeps nothing."""
    made = Kit(folder / "root", size=3, ttl=0.0, lease_timeout=60.0, start_timeout=60.0)
    yield made
    made.pool.retire()
    made.pool.close()


@pytest.fixture
def lease(folder: Path, kit: Kit) -> Callable[..., Any]:
    """Leases an exclusive `api` cluster with content; the handle and the phases of its start."""

    def leased(**content: Any) -> tuple[Cluster, dict[str, str]]:
        spec = ClusterSpec(profile="api", simulated_nodes=0, **content)
        want = Want.prepared(spec, "embedded", EmbeddedProvider(folder / "root"), silent)
        kit.recorder.drain()
        (made,) = kit.pool.lease([replace(want, isolation=Isolation.FRESH)], note="t")
        phases = {event.phase.value: event.start for event in kit.recorder.drain()}
        return Cluster.open(made.directory), phases

    return leased


def test_content_is_installed_once_and_there_ever_after(folder: Path, lease: Callable[..., Any]) -> None:
    """CRDs, their objects and what a function makes; the second cluster starts with all of it, and installs nothing."""
    bootstrap = ("kina_setup_of_test:install", "1")
    keys = {"crds": (str(folder / "crd.json"),), "manifests": (str(folder / "widget.json"),), "bootstrap": bootstrap}
    for expected in ("fresh", "template"):
        cluster, phases = lease(**keys)
        assert phases[Phase.CREATE] == expected
        assert (Phase.INSTALL in phases, Phase.TEMPLATE in phases) == (expected == "fresh",) * 2
        assert cluster.get("widgets.kina.test", "one", namespace="default")["kind"] == "Widget"
        assert {f"team-{number}" for number in range(3)} <= {
            each["metadata"]["name"] for each in cluster.list("namespaces")
        }


@pytest.fixture(params=["as recorded", pytest.param("real", marks=pytest.mark.long)])
def helm(folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """The helm that is found: what the real one was seen to answer, or the real one itself."""
    program = StandIn(folder / "bin").program if request.param == "as recorded" else real_helm()
    monkeypatch.setenv("KINA_ASSETS", os.pathsep.join([str(program.parent), os.environ["KINA_ASSETS"]]))
    return program


def test_a_chart_is_rendered_once_and_there_ever_after(helm: Path, lease: Callable[..., Any]) -> None:
    """Its CRD and an object of that, in a namespace that is made for it, and what it puts elsewhere; no hooks."""
    chart = Chart(path=str(CHART), release="shop", namespace="trade", values='{"colour": "blue"}')
    for expected in ("fresh", "template"):
        cluster, phases = lease(helm=(chart,))
        assert (phases[Phase.CREATE], Phase.INSTALL in phases) == (expected, expected == "fresh")
        assert cluster.get("tills.shop.test/shop", namespace="trade")["kind"] == "Till"
        assert cluster.get("configmap/shop-settings", namespace="trade")["data"]["colour"] == "blue"
        assert cluster.get("role/shop", namespace="kube-system")["rules"] is None
        assert cluster.list("pods") == []


@pytest.mark.long
def test_the_stand_in_for_helm_answers_as_the_real_one(folder: Path) -> None:
    """What is recorded of it is what it does: a chart that is rendered, and one that is not."""
    argv = [real_helm(), "template", "shop", CHART, "--namespace=trade", "--include-crds", "--no-hooks"]
    argv += ["--kube-version=1.36", "--values=-"]
    common = {"timeout": 60.0, "cwd": folder}
    done = run_command(argv, stdin='{"colour": "blue"}', **common)
    assert done.stdout == RENDERED
    failed = run_command(argv, stdin='{"colour": ""}', check=False, **common)
    assert (failed.returncode, failed.stderr.partition("\n\n")[0]) == (1, REFUSED.strip())


def test_changed_content_is_installed_into_the_template_without_it(folder: Path, lease: Callable[..., Any]) -> None:
    """The base is kept: only the installation is done again, and nothing of the old content is there."""
    lease()
    crd = folder / "crd.json"
    _, phases = lease(crds=(str(crd),))
    assert (phases[Phase.CREATE], Phase.INSTALL in phases) == ("template", True)
    crd.write_text(json.dumps(CRD).replace("widgets", "gadgets").replace("Widget", "Gadget"))
    cluster, phases = lease(crds=(str(crd),))
    assert (phases[Phase.CREATE], Phase.INSTALL in phases) == ("template", True)
    found = [each["metadata"]["name"] for each in cluster.list("customresourcedefinitions")]
    assert found == ["gadgets.kina.test"]


def test_content_that_refuses_objects_does_not_keep_its_clusters_from_starting(
    folder: Path, lease: Callable[..., Any]
) -> None:
    """A webhook that nobody serves refuses what would prove that objects can be written: that is what was asked for."""
    for expected in ("fresh", "template"):
        _, phases = lease(manifests=(str(folder / "denial.json"),))
        assert phases[Phase.CREATE] == expected


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"crds": "widget.json"}, r"crds: .*widget\.json.*: expected a CustomResourceDefinition, got a Widget"),
        ({"crds": "invalid.json"}, r"crds: .*invalid\.json.*Unsupported value: \"thing\": supported values:"),
        ({"manifests": "widget.json"}, r"manifests: .*widget\.json.*the server serves no Widget in kina\.test/v1"),
        (
            {"bootstrap": "fails"},
            r"bootstrap: kina_setup_of_test:fails: [\s\S]*RuntimeError: the certificate could not",
        ),
        ({"bootstrap": "missing"}, r"bootstrap: kina_setup_of_test:missing: [\s\S]*AttributeError"),
    ],
)
def test_content_that_cannot_be_installed_is_explained(
    folder: Path, kit: Kit, lease: Callable[..., Any], keys: dict[str, str], said: str
) -> None:
    """The file or function is named with the server's or its own words; no cluster and no template is left."""
    ((key, value),) = keys.items()
    asked = (f"kina_setup_of_test:{value}", "1") if key == "bootstrap" else (str(folder / value),)
    with pytest.raises(ProvisionError, match=said):
        lease(**{key: asked})
    assert kit.clusters() == []
    assert list((folder / "root" / "templates").iterdir()) == []


def test_content_that_cannot_be_installed_is_no_fault_of_the_template(
    folder: Path, kit: Kit, lease: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template without the content stays for others, and a function that fails is called once, whatever it says."""
    monkeypatch.chdir(folder)
    lease()
    (template,) = (folder / "root" / "templates").iterdir()
    with pytest.raises(ProvisionError, match="address already in use"):
        lease(bootstrap=("kina_setup_of_test:fails_once_more", "1"))
    assert list((folder / "root" / "templates").iterdir()) == [template]
    assert (folder / "ran").read_text() == "x"


def test_a_function_that_never_ends_is_ended(folder: Path, lease: Callable[..., Any], kit: Kit) -> None:
    """At the end of the start's time its process is killed, and the error says which function it was."""
    short = Kit(folder / "root", run=kit.run, ttl=0.0, start_timeout=20.0)
    spec = ClusterSpec(profile="api", simulated_nodes=0, bootstrap=("kina_setup_of_test:hangs", "1"))
    want = Want.prepared(spec, "embedded", EmbeddedProvider(folder / "root"), silent)
    with pytest.raises(ProvisionError, match=r"bootstrap: kina_setup_of_test:hangs: [\s\S]*did not finish within"):
        short.pool.lease([want], note="t")
    short.pool.close()
    assert kit.clusters() == []


def test_the_idle_helper_deletes_what_it_could_not_make_again(folder: Path, kit: Kit) -> None:
    """Without its template, and without the project's modules: at once, and not after attempts that must fail."""
    spec = ClusterSpec(profile="api", simulated_nodes=0, bootstrap=("kina_setup_of_test:install", "1"))
    want = Want.prepared(spec, "embedded", EmbeddedProvider(folder / "root"), silent)
    short = Kit(folder / "root", size=3, ttl=600.0, start_timeout=60.0)
    (leased,) = short.pool.lease([replace(want, isolation=Isolation.EXCLUSIVE)], note="t")
    (spool := kit.root.runs / short.run).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "root" / "templates")
    leased.release()
    short.pool.close()  # its run is over: nobody may want the cluster back at once
    assert wait_until(lambda: kit.record(leased.number) is None, Deadline(60.0), interval=0.05)
    assert kit.clusters() == []
    ended = [event.phase for path in spool.glob("idle-*.jsonl") for event in read_spool(path)]
    assert ended == [Phase.DELETE]  # and no reset was begun


def test_a_file_that_changes_after_it_was_asked_for_is_noticed(folder: Path, kit: Kit) -> None:
    """The cluster would be filed under content that it does not have."""
    spec = ClusterSpec(profile="api", simulated_nodes=0, crds=(str(folder / "crd.json"),))
    want = Want.prepared(spec, "embedded", EmbeddedProvider(folder / "root"), silent)
    (folder / "crd.json").write_text(json.dumps(CRD) + "\n")
    with pytest.raises(ProvisionError, match="a file of its spec has changed since"):
        kit.pool.lease([want], note="t")
