"""What the handles send to an API server, and what they make of its answers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from scripted_api import APPS, Answer, FakeApi, group, items, ok, resource, status, thing

from pytest_kina.cluster import Cluster
from pytest_kina.errors import ApiError, Conflict, Forbidden, KinaError, ManifestError, NotFound, StateError
from pytest_kina.retries import drain

MAPS = "/api/v1/namespaces/default/configmaps"
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def test_opening_a_cluster_says_who_it_is(fake_cluster: Cluster) -> None:
    """Name, provider, version and profile come from the description, without asking anybody."""
    facts = (fake_cluster.name, fake_cluster.provider, fake_cluster.version, fake_cluster.profile)
    assert facts == ("c1", "kind", "v1.36.3", "workloads")
    assert repr(fake_cluster) == "<Cluster c1 kind v1.36.3 workloads>"
    assert fake_cluster.kubeconfig == fake_cluster.directory / "kubeconfig"
    assert fake_cluster.spec.simulated_nodes == 1
    assert repr(fake_cluster.namespace("n")) == "<Namespace n on c1>"


def test_opening_a_cluster_that_is_gone_is_an_error(fake_cluster: Cluster) -> None:
    """The message names the file and the command that lists what exists."""
    (fake_cluster.directory / "cluster.json").unlink()
    with pytest.raises(StateError, match=r"cluster\.json is missing.*\n.*pytest-kina status"):
        Cluster.open(fake_cluster.directory)


@pytest.mark.parametrize("word", ["configmap/a", "configmaps/a", "ConfigMap/a", "cm/a"])
def test_kind_may_be_spelt_in_four_ways(fake_api: FakeApi, fake_cluster: Cluster, word: str) -> None:
    """Singular, plural, Kind and short name mean the same; the namespace is `default` unless given."""
    fake_api.on("GET", f"{MAPS}/a", ok(thing("a", data={"k": "v"})))
    assert fake_cluster.get(word)["data"] == {"k": "v"}


def test_kind_and_name_may_be_two_arguments(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """`get(kind, name, api_version=, namespace=)` is the long form."""
    fake_api.on("GET", "/apis/apps/v1/namespaces/n/deployments/web", ok(thing("web")))
    assert (
        fake_cluster.get("deployments.apps", "web", api_version="apps/v1", namespace="n")["metadata"]["name"] == "web"
    )


def test_user_s_credentials_are_sent(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """The kubeconfig's token goes with each request, also with those of the official clients."""
    fake_api.on("GET", f"{MAPS}/a", ok(thing("a")))
    fake_cluster.get("cm/a")
    assert fake_api.asked("GET", f"{MAPS}/a")[0]["headers"]["Authorization"] == "Bearer secret-token"
    assert fake_cluster.user == "boss"
    assert fake_cluster.client().configuration.host == fake_api.url


@pytest.mark.parametrize("target", ["cm", "", "/a", "cm/", "cm/a/b", "cm/../x", "cm/a?b", "cm/%2e"])
def test_target_that_is_no_kind_and_name_is_refused(fake_cluster: Cluster, target: str) -> None:
    """A typing error never becomes a strange path on the server."""
    with pytest.raises(ValueError, match="expected"):
        fake_cluster.get(target)


def test_unknown_kind_names_the_custom_groups(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A missing CRD is the usual reason, so the message says which there are."""
    fake_api.groups = [group("example.com", resource("widgets", "Widget"))]
    with pytest.raises(NotFound, match=r"no type called 'gadget'.*\n.*example\.com"):
        fake_cluster.get("gadget/a")


def test_built_in_kind_wins_over_a_custom_one(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Installing a CRD cannot change what `deployment` means."""
    fake_api.groups = [group("acme.io", resource("deployments", "Deployment", "cm")), APPS]
    fake_api.on("GET", "/apis/apps/v1/deployments", items())
    fake_api.on("GET", "/api/v1/configmaps", items())
    assert fake_cluster.list("deployment") == []
    assert fake_cluster.list("cm") == []


def test_kind_in_two_custom_groups_must_be_named_with_its_group(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Two candidates are an error that names both; with the group it is clear."""
    fake_api.groups = [group("b.io", resource("widgets", "Widget")), group("a.io", resource("widgets", "Widget"))]
    fake_api.on("GET", "/apis/a.io/v1/widgets", items(thing("w"), kind="a.io/v1/WidgetList"))
    with pytest.raises(ApiError, match=r"any of widgets\.a\.io, widgets\.b\.io"):
        fake_cluster.list("widget")
    assert fake_cluster.list("widgets.a.io")[0]["kind"] == "Widget"


def test_type_that_appears_later_is_found(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A CRD that another program installs needs no new handle."""
    fake_api.on("GET", "/apis/a.io/v1/widgets", items())
    with pytest.raises(NotFound):
        fake_cluster.list("widget")
    fake_api.groups = [group("a.io", resource("widgets", "Widget"))]
    assert fake_cluster.list("widget") == []


def test_type_that_moves_to_another_version_is_found_again(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A path that the server does not know (a 404 without a Status) makes us ask what it serves."""
    fake_api.groups = [group("a.io", resource("widgets", "Widget"), version="v1alpha1")]
    fake_api.on("GET", "/apis/a.io/v1alpha1/widgets", items(), (404, {"Content-Type": "text/plain"}, [b"404 page\n"]))
    fake_api.on("GET", "/apis/a.io/v1/widgets", items(thing("new"), kind="a.io/v1/WidgetList"))
    assert fake_cluster.list("widget") == []
    fake_api.groups = [group("a.io", resource("widgets", "Widget"))]
    assert [item["apiVersion"] for item in fake_cluster.list("widget")] == ["a.io/v1"]


def test_server_without_aggregated_discovery_is_refused(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Kubernetes before 1.27 answers something else; the message says so."""
    original = fake_api.answer
    fake_api.answer = lambda request: ok({"kind": "APIVersions"}) if request["path"] == "/api" else original(request)  # type: ignore[method-assign]
    with pytest.raises(ApiError, match=r"APIVersions.*\n.*1\.27"):
        fake_cluster.get("cm/a")


def test_list_selects_and_completes(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Selectors are sent, and each item says its kind, which lists of the server leave out."""
    fake_api.on("GET", "/api/v1/namespaces/n/pods", items(thing("p")))
    found = fake_cluster.namespace("n").list("pods", selector="app=web", fields="status.phase=Running")
    assert (found[0]["apiVersion"], found[0]["kind"]) == ("v1", "Pod")
    query = fake_api.asked("GET", "/api/v1/namespaces/n/pods")[0]["query"]
    assert query == {"labelSelector": "app=web", "fieldSelector": "status.phase=Running"}


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", Conflict),
        (422, "Invalid", ApiError),
        (500, "InternalError", ApiError),
    ],
)
def test_refusal_says_verb_object_namespace_user_and_why(
    fake_api: FakeApi, fake_cluster: Cluster, code: int, reason: str, kind: type[ApiError]
) -> None:
    """Each code has its class; the message has everything one needs, and survives the way from an xdist worker."""
    fake_api.on("GET", f"{MAPS}/a", status(code, reason, "the server's own words"))
    with pytest.raises(ApiError) as caught:
        fake_cluster.get("cm/a")
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is kind
    assert (error.status, error.reason) == (code, reason)
    for word in ("get configmaps/a", "namespace default", "as boss", "cluster c1", "the server's own words"):
        assert word in str(error)


def test_field_conflict_names_the_fields(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Another field manager's fields are listed, as attribute too, with the way out."""
    cause = {"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": 'conflict with "hpa"'}
    fake_api.on("PATCH", f"{MAPS}/a", status(409, "Conflict", "Apply failed", causes=[cause]))
    with pytest.raises(Conflict, match=r"\.spec\.replicas: conflict with \"hpa\"(.|\n)*force=True") as caught:
        fake_cluster.apply(MAP)
    assert caught.value.fields == (".spec.replicas",)


def test_invalid_field_is_not_taken_for_a_conflict(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Only fields that another manager owns can be had by force."""
    cause = {"reason": "FieldValueInvalid", "field": "data", "message": "must be text"}
    fake_api.on("PATCH", f"{MAPS}/a", status(422, "Invalid", "data: must be text", causes=[cause]))
    with pytest.raises(ApiError, match=r"must be text \(422\)") as caught:
        fake_cluster.apply(MAP)
    assert caught.value.fields == ()
    assert "force" not in str(caught.value)


def test_dead_server_is_an_api_error(make_cluster: Callable[..., Cluster]) -> None:
    """Nothing listens: the error says what was asked of which cluster, not a stack of connection classes."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        cluster = make_cluster(f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(ApiError, match=r"cannot discover /api as boss on cluster c1: .* did not answer") as caught:
            cluster.get("cm/a")
    assert caught.value.status == 0


def test_overloaded_server_is_asked_again(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """429 and 503 with Retry-After are retried for every verb, since nothing has been done."""
    busy = [status(code, "Busy", "storage is (re)initializing", {"Retry-After": "0"}) for code in (429, 503)]
    fake_api.on("PATCH", f"{MAPS}/a", *busy, ok(thing("a")))
    drain()
    assert fake_cluster.apply(MAP)[0]["metadata"]["name"] == "a"
    assert len(fake_api.asked("PATCH", f"{MAPS}/a")) == 3
    said = drain()
    assert [code in sentence for code, sentence in zip(("(429)", "(503)"), said, strict=True)] == [True, True]


@pytest.mark.parametrize(("headers", "attempts"), [({"Retry-After": "0"}, 6), ({}, 1)], ids=["asks", "does not ask"])
def test_patience_with_an_overloaded_server_ends(
    fake_api: FakeApi, fake_cluster: Cluster, headers: dict[str, str], attempts: int
) -> None:
    """After five retries, and at once without Retry-After, the refusal is passed on."""
    fake_api.on("GET", f"{MAPS}/a", status(429, "TooManyRequests", "slow down", headers))
    drain()
    with pytest.raises(ApiError, match=r"slow down \(429\)"):
        fake_cluster.get("cm/a")
    assert len(fake_api.asked("GET", f"{MAPS}/a")) == attempts
    assert len(drain()) == attempts - 1


def test_retry_after_is_believed_within_reason(fake_cluster: Cluster) -> None:
    """A server that asks for an hour is asked again after five seconds."""
    from urllib3 import HTTPResponse

    patience = fake_cluster.client().configuration.retries
    assert patience.get_retry_after(HTTPResponse(headers={"Retry-After": "3600"})) == 5
    assert patience.get_retry_after(HTTPResponse(headers={"Retry-After": "2"})) == 2
    assert patience.get_retry_after(HTTPResponse()) is None


def test_apply_is_server_side(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """The object is sent once, as it is, with the field manager and without force unless asked for."""
    fake_api.on("PATCH", f"{MAPS}/a", ok(thing("a")))
    fake_cluster.apply(MAP)
    fake_cluster.apply(MAP, field_manager="me", force=True)
    first, second = fake_api.asked("PATCH", f"{MAPS}/a")
    assert first["headers"]["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(first["body"]) == MAP
    assert first["query"] == {"fieldManager": "pytest-kina", "force": "false"}
    assert second["query"] == {"fieldManager": "me", "force": "true"}


def test_namespaces_go_first_and_are_ready_for_pods(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """What follows a namespace is sent when its ServiceAccount and CA exist; the answer keeps the given order."""
    path = "/api/v1/namespaces/n"
    fake_api.on("PATCH", f"{path}/configmaps/a", ok(thing("a")))
    fake_api.on("PATCH", path, ok(thing("n")))
    fake_api.on("GET", f"{path}/serviceaccounts", items(version="1"))
    fake_api.on("WATCH", f"{path}/serviceaccounts", ok({"type": "ADDED", "object": thing("default", "2")}))
    fake_api.on("GET", f"{path}/configmaps", items(thing("kube-root-ca.crt")))
    in_n = {**MAP, "metadata": {"name": "a", "namespace": "n"}}
    applied = fake_cluster.apply([in_n, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}])
    assert [item["metadata"]["name"] for item in applied] == ["a", "n"]
    sent = [(request["method"], request["path"]) for request in fake_api.requests]
    assert sent.index(("PATCH", path)) < sent.index(("WATCH", f"{path}/serviceaccounts"))
    assert sent[-1] == ("PATCH", f"{path}/configmaps/a")


def test_manifest_of_an_unknown_kind_is_named_with_its_place(fake_cluster: Cluster) -> None:
    """The message says which document it was."""
    with pytest.raises(NotFound, match=r"the text, document 1: the server serves no Widget in a\.io/v1"):
        fake_cluster.apply("apiVersion: a.io/v1\nkind: Widget\nmetadata: {name: w}\n")


def test_namespace_s_handle_never_leaves_it(fake_cluster: Cluster) -> None:
    """A manifest or an argument with another namespace is an error that names both."""
    handle = fake_cluster.namespace("mine")
    other = {**MAP, "metadata": {"name": "a", "namespace": "other"}}
    for misuse in (lambda: handle.apply(other), lambda: handle.get("cm/a", namespace="other")):
        with pytest.raises(ManifestError, match=r"'other'.*'mine'"):
            misuse()


def test_cluster_scoped_object_stays_so_in_a_namespace_s_handle(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Applying it through the namespace is allowed, and puts it nowhere but where it belongs."""
    fake_api.groups = [group("a.io", resource("zones", "Zone", namespaced=False))]
    fake_api.on("PATCH", "/apis/a.io/v1/zones/z", ok(thing("z")))
    zone = {"apiVersion": "a.io/v1", "kind": "Zone", "metadata": {"name": "z"}}
    assert fake_cluster.namespace("mine").apply(zone)[0]["metadata"]["name"] == "z"


def test_deleting_is_in_the_background(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Owned objects go too: some kinds would orphan them by default."""
    fake_api.on("DELETE", f"{MAPS}/a", ok({}))
    fake_cluster.delete("cm/a")
    assert fake_api.asked("DELETE", f"{MAPS}/a")[0]["query"] == {"propagationPolicy": "Background"}


@pytest.mark.parametrize("provider", ["kind", "embedded"])
def test_logs_come_from_the_api_unless_pods_are_simulated(
    fake_api: FakeApi, make_cluster: Callable[..., Cluster], provider: str
) -> None:
    """Real nodes are asked; of simulated ones it is said that nothing ever ran, without asking for a log."""
    path = "/api/v1/namespaces/default/pods/p"
    printed: Answer = (200, {"Content-Type": "text/plain"}, [b"one\ntwo\n"])
    fake_api.on("GET", f"{path}/log", printed)
    fake_api.on("GET", path, ok(thing("p")))
    cluster = make_cluster(fake_api.url, provider=provider)
    if provider == "kind":
        for name in ("pod/p", "p"):  # as kubectl takes it
            assert cluster.logs(name, container="c", tail=2) == "one\ntwo\n"
        assert fake_api.asked("GET", f"{path}/log")[0]["query"] == {"container": "c", "tailLines": "2"}
    else:
        with pytest.raises(KinaError, match=r"pod/p has no logs: its node is simulated"):
            cluster.logs("pod/p")
        assert not fake_api.asked("GET", f"{path}/log")


def test_logs_are_those_of_pods(fake_cluster: Cluster) -> None:
    """A Deployment has none of its own."""
    with pytest.raises(ValueError, match="only pods have logs"):
        fake_cluster.logs("deployment/web")


def test_users_need_a_ca_of_ours(fake_cluster: Cluster) -> None:
    """Where we do not own the client CA, the error says so and what to use instead."""
    with pytest.raises(KinaError, match=r"c1 \(kind\) has no client CA.*\n.*ServiceAccount"):
        fake_cluster.as_user("jane")


def test_connection_is_made_once_per_process(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is cached, and a forked child gets one of its own instead of its parent's sockets."""
    import os

    mine: Any = fake_cluster.client()
    assert fake_cluster.client() is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert fake_cluster.client() is not mine


def test_wait_for_what_is_no_function_is_refused(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A condition's name given as ``until`` is an error at once that shows the right keyword, not a wait in vain."""
    with pytest.raises(ValueError, match="for a condition: condition='Complete'"):
        fake_cluster.wait("job/j", namespace="n", until="Complete")  # type: ignore[arg-type]
    assert fake_api.requests == []
