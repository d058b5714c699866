"""Waiting: watches that end, break or forget, and what is said when the time is over."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_api import FakeApi, items, ok, status, thing

from pytest_kina.cluster import Cluster
from pytest_kina.errors import ApiError, Forbidden, WaitTimeoutError

PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"


def pod(name: str, version: str, phase: str = "Pending", **more: Any) -> Any:
    """A pod that is Ready when it is Running."""
    ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
    return thing(name, version, kind="Pod", status={"phase": phase, "conditions": [ready]}, **more)


def change(kind: str, item: Any) -> Any:
    """A watch event."""
    return {"type": kind, "object": item}


def gone() -> Any:
    """The watch event that says that the version is forgotten."""
    return change("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


def test_what_is_true_already_needs_no_watch(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """One list is enough."""
    fake_api.on("GET", PODS, items(pod("p", "5", "Running")))
    assert fake_cluster.wait("pod/p")["status"]["phase"] == "Running"
    assert fake_api.asked("GET", PODS)[0]["query"] == {"fieldSelector": "metadata.name=p"}
    assert not fake_api.asked("WATCH", PODS)


def test_watch_that_ends_goes_on_from_the_last_version(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A closed watch is normal: the next one begins after the last change or bookmark, without a new list."""
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "30"}}}
    running = change("MODIFIED", pod("p", "31", "Running"))
    fake_api.on("GET", PODS, items(version="10"))
    fake_api.on("WATCH", PODS, ok(change("ADDED", pod("p", "20"))), ok(bookmark), ok(running))
    assert fake_cluster.wait("pod/p")["metadata"]["resourceVersion"] == "31"
    assert [request["query"]["resourceVersion"] for request in fake_api.asked("WATCH", PODS)] == ["10", "20", "30"]
    assert len(fake_api.asked("GET", PODS)) == 1


@pytest.mark.parametrize("form", [ok(gone()), status(410, "Gone", "too old")], ids=["event", "code"])
def test_forgotten_version_is_listed_again(fake_api: FakeApi, fake_cluster: Cluster, form: Any) -> None:
    """410 Gone in either form leads to a new list, which may already have what was waited for."""
    fake_api.on("GET", PODS, items(version="10"), items(pod("p", "50", "Running"), version="50"))
    fake_api.on("WATCH", PODS, form)
    assert fake_cluster.wait("pod/p")["status"]["phase"] == "Running"
    assert len(fake_api.asked("GET", PODS)) == 2


def test_object_that_vanished_between_two_lists_is_gone(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A new list replaces what was known: the deletion event was missed, not the deletion."""
    fake_api.on("GET", PODS, items(pod("p", "5")), items())
    fake_api.on("WATCH", PODS, ok(gone()))
    assert fake_cluster.wait("pod/p", deleted=True) is None


def test_missed_replacement_is_noticed(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """After a gap in the watch, an object of the same name with another uid is another one."""
    fake_api.on("GET", PODS, items(pod("p", "5", uid="old")), items(pod("p", "9", uid="new")))
    fake_api.on("WATCH", PODS, ok(gone()))
    assert fake_cluster.wait("pod/p", deleted=True, timeout=5) is None


def test_what_vanished_in_a_gap_is_not_counted(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A Ready pod that the new list does not have is not Ready any more."""
    fake_api.on("GET", PODS, items(pod("a", "1", "Running"), pod("b", "2", "Running")), items(pod("b", "2", "Running")))
    fake_api.on("WATCH", PODS, ok(gone()))
    found = fake_cluster.namespace("default").wait("pods", count=1, condition="Ready", timeout=5)
    assert [item["metadata"]["name"] for item in found] == ["b"]


def test_server_that_is_away_for_a_moment_is_outwaited(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """500 and a watch cut in the middle of a line end nothing but the watch."""
    fake_api.on("GET", PODS, status(500, "InternalError", "etcd is electing"), items(version="10"))
    fake_api.on("WATCH", PODS, status(503, "Unavailable", "closing"), ok(change("ADDED", pod("p", "11", "Running"))))
    assert fake_cluster.wait("pod/p")["metadata"]["name"] == "p"


def test_server_that_stays_away_is_reported_as_such(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Nothing could ever be listed: that is the server's error, not a condition that did not come true."""
    fake_api.on("GET", PODS, status(500, "InternalError", "etcd is electing"))
    with pytest.raises(ApiError, match="etcd is electing") as caught:
        fake_cluster.wait("pod/p", timeout=0.3)
    assert not isinstance(caught.value, WaitTimeoutError)


def test_refusal_ends_the_wait_at_once(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A user who may not list will not be allowed to by waiting."""
    fake_api.on("GET", PODS, status(403, "Forbidden", "no"))
    with pytest.raises(Forbidden, match="list pods/p"):
        fake_cluster.wait("pod/p", timeout=600)


def test_object_of_the_same_name_is_another_object(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Deleted means that the one that was there is gone, even if a controller has made a new one."""
    fake_api.on("GET", PODS, items(pod("p", "5", uid="old")))
    fake_api.on(
        "WATCH", PODS, ok(change("DELETED", pod("p", "6", uid="old")), change("ADDED", pod("p", "7", uid="new")))
    )
    assert fake_cluster.wait("pod/p", deleted=True) is None


def test_deleted_is_true_of_what_never_was(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Waiting for an absent object to be gone ends at once."""
    fake_api.on("GET", PODS, items())
    assert fake_cluster.wait("pod/p", deleted=True) is None


def test_count_is_exact(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Exactly so many objects must be as wanted; others may exist."""
    fake_api.on("GET", "/api/v1/pods", items(pod("a", "1", "Running"), pod("b", "2", "Running"), pod("c", "3")))
    fake_api.on("WATCH", "/api/v1/pods", ok(change("DELETED", pod("a", "4", "Running"))))
    found = fake_cluster.wait("pods", count=1, condition="Ready", selector="app=web")
    assert [item["metadata"]["name"] for item in found] == ["b"]
    assert fake_api.asked("WATCH", "/api/v1/pods")[0]["query"]["labelSelector"] == "app=web"


def test_count_alone_means_existence(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Zero objects are waited for in the same way as three."""
    fake_api.on("GET", PODS, items(pod("a", "1")))
    fake_api.on("WATCH", PODS, ok(change("DELETED", pod("a", "2"))))
    assert len(fake_cluster.wait("pods", count=1, namespace="default")) == 1
    assert fake_cluster.wait("pods", count=0, namespace="default") == []


def test_collection_without_count_means_all_of_at_least_one(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """Nothing is not everything: an empty collection is not ready yet."""
    fake_api.on("GET", PODS, items(version="1"))
    added = [change("ADDED", pod("a", "2")), change("ADDED", pod("b", "3", "Running"))]
    fake_api.on("WATCH", PODS, ok(*added, change("MODIFIED", pod("a", "4", "Running"))))
    assert len(fake_cluster.namespace("default").wait("pods")) == 2


def test_function_may_look_for_what_is_not_there_yet(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A missing key is 'not yet'; any other error of the function is the test's own and is passed on."""
    fake_api.on("GET", PODS, items(thing("p", "1", kind="Pod")))
    fake_api.on("WATCH", PODS, ok(change("MODIFIED", pod("p", "2", "Running"))))
    found = fake_cluster.wait("pod/p", until=lambda item: item["status"]["conditions"][0]["status"] == "True")
    assert found["metadata"]["resourceVersion"] == "2"
    with pytest.raises(AttributeError):
        fake_cluster.wait("pod/p", until=lambda item: item.status)


def test_time_out_tells_what_the_function_raised(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A function that can never work (a misspelt key, wrong arguments) is not taken for a slow object."""
    fake_api.on("GET", PODS, items(pod("p", "1")))
    fake_api.on("WATCH", PODS, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}}))
    with pytest.raises(
        WaitTimeoutError, match=r"to satisfy the function: .*the function raised KeyError\('statsu'\) last"
    ):
        fake_cluster.wait("pod/p", until=lambda item: item["statsu"], timeout=0.2)


def test_time_out_shows_status_events_and_pods(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """The message has the last status, the pods below the object, and the latest events of both, newest last."""
    base = "/apis/apps/v1/namespaces/default/deployments"
    metadata = {"name": "web", "namespace": "default", "uid": "d1", "resourceVersion": "1", "generation": 2}
    spec = {"selector": {"matchLabels": {"app": "web"}}}
    deployment = {"metadata": metadata, "spec": spec, "status": {"replicas": 1, "observedGeneration": 2}}
    fake_api.on("GET", base, items(deployment))
    fake_api.on("WATCH", base, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}}))
    child = pod("web-1", "1")
    child["metadata"]["labels"] = {"app": "web"}
    child["status"]["containerStatuses"] = [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}}
    ]
    fake_api.on("GET", PODS, items(child, pod("other", "1")))

    def event(reason: str, time: str, kind: str, name: str, **more: Any) -> Any:
        about = {"kind": kind, "name": name}
        return {
            "metadata": {},
            "type": "Warning",
            "reason": reason,
            "lastTimestamp": time,
            "involvedObject": about,
            **more,
        }

    late = event("FailedPull", "2026-01-01T00:00:09Z", "Pod", "web-1", message="not found", count=4)
    early = event("Scaled", "2026-01-01T00:00:01Z", "Deployment", "web", message="up")
    fake_api.on("GET", EVENTS, items(late, early, event("Noise", "2026-01-01T00:00:10Z", "Pod", "other")))
    with pytest.raises(WaitTimeoutError) as caught:
        fake_cluster.wait("deploy/web", timeout=0.3)
    text = str(caught.value)
    for word in (
        "waited for deployments.apps/web in namespace default to be ready: did not within 0.3 s",
        '"replicas": 1',
        "pod/web-1 Pending on no node: ImagePullBackOff no such",
        "FailedPull pod/web-1: not found (x4)",
    ):
        assert word in text
    assert text.index("Scaled") < text.index("FailedPull")
    assert "other" not in text
    assert caught.value.body["status"]["replicas"] == 1


def test_time_out_of_what_does_not_exist_says_so(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A misspelt name must not look like a slow object."""
    fake_api.on("GET", PODS, items())
    fake_api.on("WATCH", PODS, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}}))
    with pytest.raises(WaitTimeoutError, match="pods/p does not exist"):
        fake_cluster.wait("pod/p", timeout=0.2)


@pytest.mark.parametrize("looked", [False, True])
def test_time_out_says_when_no_controller_has_looked(fake_api: FakeApi, fake_cluster: Cluster, looked: bool) -> None:
    """In the profile ``api`` nobody rolls anything out, and only the profile explains that nothing moves."""
    base = "/apis/apps/v1/namespaces/default/deployments"
    item = thing("web", "1", kind="Deployment", spec={"selector": {}}, status={"replicas": 1} if looked else {})
    fake_api.on("GET", base, items(item))
    fake_api.on("WATCH", base, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}}))
    fake_api.on("GET", PODS, items())
    fake_api.on("GET", EVENTS, items())
    with pytest.raises(WaitTimeoutError) as caught:
        fake_cluster.wait("deployment/web", timeout=0.2)
    assert ("no controller or scheduler has looked at it" in str(caught.value)) is not looked


def test_time_out_says_when_no_scheduler_has_looked(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """The API server itself says that a new pod is Pending; its conditions are the scheduler's."""
    fake_api.on("GET", PODS, items(thing("p", "1", kind="Pod", status={"phase": "Pending"})))
    fake_api.on("WATCH", PODS, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "2"}}}))
    fake_api.on("GET", EVENTS, items())
    with pytest.raises(WaitTimeoutError, match="no controller or scheduler has looked at it; in the profile 'api'"):
        fake_cluster.wait("pod/p", timeout=0.2)


def test_time_out_of_a_collection_says_how_many(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """How many were there, how many were as wanted, and which were not."""
    fake_api.on("GET", PODS, items(pod("a", "1", "Running"), pod("b", "2")))
    fake_api.on("WATCH", PODS, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}}))
    fake_api.on("GET", EVENTS, status(403, "Forbidden", "no events for you"))
    with pytest.raises(
        WaitTimeoutError, match=r"waited for pods .* 3 to be Ready: .*1 of 2 have\nPod b(.|\n)*no events for"
    ):
        fake_cluster.wait("pods", count=3, condition="Ready", namespace="default", timeout=0.2)


@pytest.mark.parametrize(
    ("wish", "subject"),
    [({}, "pods"), ({"count": 3}, "pods"), ({"selector": "app=web"}, r"pods \(app=web\)")],
    ids=["ready", "count", "selector"],
)
def test_time_out_of_an_empty_collection_says_that_nothing_is_there(
    fake_api: FakeApi, fake_cluster: Cluster, wish: dict[str, Any], subject: str
) -> None:
    """No object of the kind is no object that could have a status: the message says so, and where."""
    fake_api.on("GET", PODS, items())
    fake_api.on("WATCH", PODS, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "30"}}}))
    with pytest.raises(WaitTimeoutError, match=rf"within 0.2 s\nthere are no {subject} in namespace default"):
        fake_cluster.wait("pods", namespace="default", timeout=0.2, **wish)


def test_time_out_with_too_many_objects_says_so(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """All objects are as wanted, and there are more than were waited for."""
    fake_api.on("GET", PODS, items(pod("a", "1", "Running"), pod("b", "1", "Running")))
    fake_api.on("WATCH", PODS, ok({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "30"}}}))
    with pytest.raises(WaitTimeoutError, match=r"2 of 2 have\neach of them is as wanted, but their number is not"):
        fake_cluster.wait("pods", count=1, condition="Ready", namespace="default", timeout=0.2)


def test_what_cannot_come_true_ends_the_wait(fake_api: FakeApi, fake_cluster: Cluster) -> None:
    """A pod that has ended will not become Ready; the wait does not use up its time."""
    fake_api.on("GET", PODS, items(pod("p", "1", "Failed")))
    fake_api.on("GET", EVENTS, items())
    with pytest.raises(WaitTimeoutError, match=r"the pod has ended \(Failed\)"):
        fake_cluster.wait("pod/p", timeout=600)


@pytest.mark.parametrize(
    "wishes",
    [
        {"condition": "Ready", "deleted": True},
        {"condition": "Ready", "until": bool},
        {"deleted": True, "count": 1},
        {"count": 1},
        {"selector": "a=b"},
    ],
)
def test_wishes_that_exclude_each_other_are_refused(fake_cluster: Cluster, wishes: dict[str, Any]) -> None:
    """A contradictory wait is an error of the test, found before anything is asked."""
    target = "pods" if wishes == {"deleted": True, "count": 1} else "pod/p"
    with pytest.raises(ValueError, match=r"give one of|count is for|choose from"):
        fake_cluster.wait(target, **wishes)
