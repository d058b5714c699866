"""Templates with the real control plane: what a cluster made of one is, and what becomes of a bad one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.certificates import issue_client
from pytest_kina.cli import main
from pytest_kina.errors import NotReadyError
from pytest_kina.providers.embedded import processes, sparse, templates
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import Phase, TimingEvent
from tests.e2e.test_embedded import POD, SPECS, Running, service_account_token

pytestmark = pytest.mark.real_control_plane

READY = [Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where clusters and templates of one test are."""
    return tmp_path


@pytest.fixture
def new(folder: Path) -> Iterator[Callable[..., Running]]:
    """Makes clusters of one root that are not started yet; they are gone after the test, and that is proven."""
    made: list[Running] = []

    def make(profile: str = "api", spec: ClusterSpec | None = None) -> Running:
        made.append(
            Running(folder / f"kina-{os.urandom(3).hex()}-0-{os.urandom(4).hex()}", SPECS[profile], folder / "root")
        )
        made[-1].spec = spec or SPECS[profile]
        return made[-1]

    yield make
    for cluster in made:
        cluster.provider.delete(cluster.place)
        assert cluster.place.name not in processes.marked().values()


def only_template(folder: Path) -> templates.Template:
    """The one template below the test's root."""
    (kept,) = templates.found(folder / "root" / "templates")
    return kept


def recorded(cluster: Running) -> list[TimingEvent]:
    """What the cluster's phases were since the last call."""
    return cluster.recorder.drain()


def starts(events: list[TimingEvent]) -> set[str]:
    """How the clusters of some events came about."""
    return {event.start for event in events}


@pytest.mark.parametrize("profile", ["api", "workloads"])
def test_the_first_cluster_leaves_a_template_for_the_second(
    new: Callable[..., Running], folder: Path, profile: str
) -> None:
    """The second one starts from it, is told apart by its events, is healthy at once, and shows nothing of the proofs."""
    first, second = new(profile), new(profile)
    events = recorded(first.create())
    assert [event.phase for event in events] == [*READY, Phase.TEMPLATE]
    assert starts(events) == {"fresh"}
    assert only_template(folder).spec == first.spec.to_json()
    second.create()
    assert second.provider.check(second.place) is None
    events = recorded(second)
    assert [event.phase for event in events] == READY
    assert starts(events) == {"template"}
    for cluster in (first, second):  # made by the API server in its own time, which is over
        assert cluster.ask("GET", "/api/v1/namespaces/default/services/kubernetes")[0] == 200
    for path in ("/api/v1/pods", "/api/v1/configmaps"):
        assert "kina-canary" not in [item["metadata"]["name"] for item in second.ask("GET", path)[1]["items"]]
    assert not (second.place.directory / "template").exists()


def test_a_cluster_from_a_template_does_real_work(new: Callable[..., Running], folder: Path) -> None:
    """Controllers, scheduler and kwok work on new objects, and a Deployment becomes available."""
    new("workloads").create()
    cluster = new("workloads").create()
    assert starts(recorded(cluster)) == {"template"}
    labels = {"app": "web"}
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": POD},
    }
    assert cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "mine"}})[0] == 201
    cluster.wait("/api/v1/namespaces/mine/serviceaccounts/default", lambda _: True)
    deployments = "/apis/apps/v1/namespaces/mine/deployments"
    assert cluster.ask("POST", deployments, {"metadata": {"name": "web"}, "spec": spec})[0] == 201
    cluster.wait(f"{deployments}/web", lambda found: found["status"].get("availableReplicas") == 3)


def test_nobody_of_a_cluster_is_believed_by_another_of_its_template(
    new: Callable[..., Running], folder: Path, tmp_path: Path
) -> None:
    """They share the server's authority, but certificates, users and tokens of the one are refused by the other."""
    first, second = new("workloads").create(), new("workloads").create()
    assert starts(recorded(second)) == {"template"}
    assert (first.pki / "serving-ca.crt").read_bytes() == (second.pki / "serving-ca.crt").read_bytes()
    jane = tmp_path / "jane.pem"
    jane.write_bytes(issue_client(first.place.directory, "jane", ["system:masters"]))
    token = service_account_token(first, "default")
    assert first.ask("GET", "/api/v1/namespaces", pem=jane)[0] == 200
    assert first.ask("GET", "/api/v1/namespaces", token=token)[0] == 403
    assert [second.ask("GET", "/api/v1/namespaces", pem=pem)[0] for pem in (first.pki / "kina-admin.pem", jane)] == [
        401
    ] * 2
    assert second.ask("GET", "/api/v1/namespaces", token=token)[0] == 401


def test_a_reset_is_a_start_from_the_template(new: Callable[..., Running], folder: Path, tmp_path: Path) -> None:
    """Objects and credentials of the former holder are worthless afterwards, and the template was what it came from."""
    cluster = new("workloads").create()
    kept = only_template(folder)
    os.utime(kept.directory / "template.json", (1.0, 1.0))
    old = tmp_path / "admin.pem"
    old.write_bytes((cluster.pki / "kina-admin.pem").read_bytes())
    token = service_account_token(cluster, "default")
    assert cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "left"}})[0] == 201
    recorded(cluster)
    stopwatch = cluster.recorder.bind(cluster=cluster.place.name, start="reused")
    cluster.provider.reset(cluster.spec, cluster.place, stopwatch, 60)
    cluster.provider.adopt(cluster.place)
    (event,) = recorded(cluster)
    assert (event.phase, event.start) == (Phase.RESET, "reused")
    assert kept.used > 1.0
    assert cluster.provider.check(cluster.place) is None
    assert cluster.ask("GET", "/api/v1/namespaces/left")[0] == 404
    assert cluster.ask("GET", "/api/v1/namespaces", pem=old)[0] == 401
    assert cluster.ask("GET", "/api/v1/namespaces", token=token)[0] == 401


def test_a_damaged_template_is_made_anew(new: Callable[..., Running], folder: Path) -> None:
    """One changed byte in what etcd would read: the cluster is made without it, and leaves a good one."""
    new().create()
    kept = only_template(folder)
    database = kept.directory / "content/etcd/member/snap/db"
    content = bytearray(database.read_bytes())
    content[len(content) // 2] ^= 1
    database.write_bytes(content)
    second, third = new().create(), new().create()
    assert [event.phase for event in recorded(second)] == [*READY, Phase.TEMPLATE]
    assert only_template(folder).created > kept.created
    assert starts(recorded(third)) == {"template"}


def test_a_template_that_etcd_cannot_start_from_is_given_up(new: Callable[..., Running], folder: Path) -> None:
    """Intact, but of no use: the start from it fails, the same call makes the cluster anew and another template."""
    new().create()
    kept = only_template(folder)
    rewritten(kept, folder, lambda content: (content / "etcd/member/snap/db").write_bytes(os.urandom(300_000)))
    cluster = new().create()
    events = recorded(cluster)
    assert [(event.phase, event.ok, event.start) for event in events[:2]] == [
        (Phase.CREATE, False, "template"),
        (Phase.CREATE, True, "fresh"),
    ]
    assert cluster.provider.check(cluster.place) is None
    assert only_template(folder).created > kept.created


def test_a_store_that_is_not_the_templates_is_noticed(new: Callable[..., Running], folder: Path) -> None:
    """Without its log etcd begins with an empty store: a cluster gets ready, but it is not the one that was asked for."""
    new().create()
    kept = only_template(folder)
    rewritten(kept, folder, lambda content: shutil.rmtree(content / "etcd/member"))
    cluster = new().create()
    events = recorded(cluster)
    assert [(event.phase, event.ok) for event in events[:3]] == [
        (Phase.CREATE, True),
        (Phase.STARTUP, False),
        (Phase.CREATE, True),
    ]
    assert only_template(folder).uid != kept.uid


def rewritten(kept: templates.Template, folder: Path, change: Callable[[Path], object]) -> None:
    """Change a template's content and make its description agree, as only a mistake of ours could."""
    content = kept.directory / "content"
    change(content)
    about = json.loads((kept.directory / "template.json").read_text())
    about["digest"] = sparse.copy_tree(content, folder / "copy")
    (kept.directory / "template.json").write_text(json.dumps(about))


def test_a_cluster_that_cannot_be_kept_as_template_is_handed_out(
    new: Callable[..., Running], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing ``etcdutl`` costs the template only: the event says so, and no half of one is left anywhere."""
    cluster = new()
    utility = folder / "etcdutl"
    utility.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    utility.chmod(0o700)
    monkeypatch.setattr("pytest_kina.providers.embedded.recipe.Recipe.etcdutl", utility)
    cluster.create()
    assert [(event.phase, event.ok) for event in recorded(cluster)][-1] == (Phase.TEMPLATE, False)
    assert cluster.provider.check(cluster.place) is None
    assert templates.found(folder / "root" / "templates") == []
    assert not (cluster.place.directory / "template").exists()


KILLED = """
import sys
from pathlib import Path
from pytest_kina.progress import silent
from pytest_kina.providers import Place
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.spec import ClusterSpec
from pytest_kina.timing import TimingRecorder
directory, root = map(Path, sys.argv[1:])
place = Place(name=directory.name, directory=directory, slot_lock=directory.with_suffix(".lock"), tidy=("/bin/true",))
provider, spec = EmbeddedProvider(root), ClusterSpec(profile="api", simulated_nodes=0)
provider.prepare(spec, silent)
provider.create(spec, place, TimingRecorder(run="r", worker="w").bind(), 60)
"""


@pytest.mark.parametrize(
    "point", ["template.snapshot.after", "template.restore.after", "template.publish.before", "template.publish.after"]
)
def test_who_is_killed_while_making_a_template_leaves_a_whole_one_or_none(
    new: Callable[..., Running], folder: Path, point: str
) -> None:
    """What is half made is in the cluster's directory, the next start there clears it, and gets a template."""
    cluster = new()
    arguments = [str(cluster.place.directory), str(folder / "root")]
    env = {**os.environ, "KINA_CRASH": f"{point}:exit"}
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=60, check=False, env=env)
    assert killed.returncode == 137
    published = point == "template.publish.after"
    assert len(templates.found(folder / "root" / "templates")) == published
    assert (cluster.place.directory / "template").exists()
    cluster.create()
    assert starts(recorded(cluster)) == {"template" if published else "fresh"}
    assert only_template(folder).unpack(unpacked(folder))
    assert not (cluster.place.directory / "template").exists()


def unpacked(folder: Path) -> Layout:
    """An empty cluster directory to unpack a template into."""
    layout = Layout(folder / "unpacked")
    layout.directory.mkdir()
    layout.make()
    return layout


def test_a_full_disk_while_a_template_is_made_costs_the_template_only(
    new: Callable[..., Running], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is ready and handed out; nothing of the template is left."""
    cluster = new()
    cluster.provider.prepare(cluster.spec, lambda *_: None)
    monkeypatch.setenv("KINA_CRASH", "template.publish.before:enospc")
    cluster.create()
    assert cluster.provider.check(cluster.place) is None
    assert templates.found(folder / "root" / "templates") == []
    assert not (cluster.place.directory / "template").exists()


def test_a_cluster_that_never_gets_ready_fails_once_time_is_up(new: Callable[..., Running], folder: Path) -> None:
    """With a template and without time the error is the one of the first attempt, and nothing is left running."""
    new().create()
    cluster = new()
    cluster.provider.prepare(cluster.spec, lambda *_: None)
    began = time.monotonic()
    with pytest.raises(NotReadyError, match=r"within 0\.05 s"):
        cluster.provider.create(cluster.spec, cluster.place, cluster.recorder.bind(), 0.05)
    assert time.monotonic() - began < 30
    assert cluster.place.name not in processes.marked().values()


# ---- the command


def command(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document of ``pytest-kina templates``."""
    code = main(["--home", str(folder / "root"), "templates", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_templates_are_built_listed_and_removed_by_command(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building leaves no cluster, is done once, and the next cluster starts from it; removing is by name or all."""
    monkeypatch.chdir(folder)
    api = ("--profile=api", "--simulated-nodes=0", "--ttl=15m")
    assert command(capsys, folder, "list") == (0, {"templates": []})
    code, built = command(capsys, folder, "build", *api)
    assert (code, built["made"], built["profile"], built["nodes"]) == (0, True, "api", 0)
    assert list((folder / "root" / "clusters").iterdir()) == []
    assert command(capsys, folder, "build", *api)[1]["made"] is False
    (listed,) = command(capsys, folder, "list")[1]["templates"]
    assert listed == {name: value for name, value in built.items() if name != "made"}
    assert listed["bytes"] > 100_000
    assert main(["--home", str(folder / "root"), "up", *api, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["start"] == "template"
    assert main(["--home", str(folder / "root"), "down"]) == 0
    assert main(["--home", str(folder / "root"), "templates", "list"]) == 0
    assert "KUBERNETES" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["templates", "build", "--help"])
    assert "Make the template of a kind of cluster" in " ".join(capsys.readouterr().out.split())
    assert command(capsys, folder, "remove")[0] == 2
    assert command(capsys, folder, "remove", "0000")[0] == 1
    assert command(capsys, folder, "remove", built["key"]) == (0, {"removed": [built["key"]]})
    assert command(capsys, folder, "list") == (0, {"templates": []})


def test_a_template_needs_an_empty_slot(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made of a new cluster, and no other goes for it."""
    monkeypatch.chdir(folder)
    api = ("--profile=api", "--simulated-nodes=0", "--ttl=15m", "--pool-size=1")
    assert main(["--home", str(folder / "root"), "up", *api]) == 0
    capsys.readouterr()
    command(capsys, folder, "remove", "--all")
    code, said = command(capsys, folder, "build", *api)
    assert (code, "no slot is empty" in said["error"]) == (1, True)
    assert main(["--home", str(folder / "root"), "down"]) == 0
