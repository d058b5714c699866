"""Which requests count among the latencies of a cluster: all that were answered, whoever sent them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import dynamic, watch
from kubernetes.client.exceptions import ApiException
from scripted_api import FakeApi, items, ok, thing

from pytest_kina.cluster import Cluster, latency
from pytest_kina.errors import NotFound


@pytest.fixture
def cluster(fake_api: FakeApi, make_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    """A handle whose server lists and watches pods, and knows one API version."""
    fake_api.on("GET", "/api/v1/pods", items(thing("a")))
    fake_api.on("WATCH", "/api/v1/pods", ok({"type": "ADDED", "object": thing("b")}))
    made = make_cluster(fake_api.url)
    latency.take(made.name)
    yield made
    latency.take(made.name)


def _typed(cluster: Cluster) -> Any:
    return official.CoreV1Api(cluster.client())


@pytest.mark.parametrize(
    "ask",
    [
        lambda cluster: _typed(cluster).list_pod_for_all_namespaces(),
        lambda cluster: _typed(cluster).list_pod_for_all_namespaces(_preload_content=False),
        lambda cluster: cluster.client().rest_client.request(
            "GET", f"{cluster.client().configuration.host}/api/v1/pods"
        ),
        lambda cluster: dynamic.DynamicClient(cluster.client(), discoverer=lambda *_: None).request(
            "GET", "/api/v1/pods"
        ),
    ],
    ids=["typed", "raw", "rest", "dynamic"],
)
def test_every_way_of_the_official_client_is_counted(cluster: Cluster, ask: Callable[[Cluster], object]) -> None:
    """Typed models, raw answers and the dynamic client go through one place, and each request counts once."""
    ask(cluster)
    (seconds,) = latency.take(cluster.name)
    assert seconds > 0
    assert latency.take(cluster.name) == ()


def test_our_handles_are_counted_once(cluster: Cluster, fake_api: FakeApi) -> None:
    """What our own verbs ask, discovery included, is as many latencies as requests."""
    cluster.list("pods")
    assert len(latency.take(cluster.name)) == len(fake_api.requests) > 0


def test_a_refusal_is_an_answer(cluster: Cluster, fake_api: FakeApi) -> None:
    """404 took its time, too, whether the handle or the official client asked."""
    with pytest.raises(NotFound):
        cluster.get("pods", "none", namespace="default")
    handled = len(latency.take(cluster.name))
    assert handled == len(fake_api.requests)
    with pytest.raises(ApiException):
        _typed(cluster).read_namespaced_pod("none", "default")
    assert len(latency.take(cluster.name)) == 1


def test_a_watch_is_not_counted(cluster: Cluster, fake_api: FakeApi) -> None:
    """How long a watch lasts says nothing about the server."""
    stream = watch.Watch().stream(_typed(cluster).list_pod_for_all_namespaces, timeout_seconds=1)
    assert [event["type"] for event in stream] == ["ADDED"]
    assert [request["method"] for request in fake_api.requests][:1] == ["WATCH"]
    assert latency.take(cluster.name) == ()


def test_what_gets_no_answer_is_not_counted(cluster: Cluster) -> None:
    """A server that is not there has no latency, and the error passes through."""
    client = cluster.client()
    with pytest.raises(Exception, match=r"refused|Max retries"):
        client.rest_client.request("GET", "http://127.0.0.1:1/api/v1/pods", _request_timeout=(1, 1))
    assert latency.take(cluster.name) == ()


@pytest.mark.parametrize(("status", "expected"), [(403, 1), (None, 0)])
def test_releases_that_raise_refusals_in_the_transport_are_counted_alike(status: int | None, expected: int) -> None:
    """Before release 36 the transport itself raised, with a status for a refusal and without for a broken connection."""

    def refuse(*_: object, **__: object) -> None:
        raise ApiException(status=status)

    stub: Any = SimpleNamespace(rest_client=SimpleNamespace(request=refuse))
    client = latency.timed(stub, "stub")
    with pytest.raises(ApiException):
        client.rest_client.request("GET", "http://x/api/v1/pods", query_params=[("limit", "1")])
    assert len(latency.take("stub")) == expected


@pytest.mark.parametrize("query", [[("watch", True)], [("follow", "true")]])
def test_releases_that_pass_the_query_beside_the_url_are_understood(query: list[tuple[str, object]]) -> None:
    """Before release 36 the transport got the query apart from the URL."""
    stub: Any = SimpleNamespace(rest_client=SimpleNamespace(request=lambda *_, **__: "answer"))
    assert latency.timed(stub, "stub").rest_client.request("GET", "http://x", query_params=query) == "answer"
    assert latency.take("stub") == ()
