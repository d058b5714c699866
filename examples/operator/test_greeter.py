"""The suite of a small operator: reconcile, restart, conflict, and what it must not be allowed to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kubernetes import config, dynamic
from kubernetes.dynamic.exceptions import ForbiddenError

from pytest_kina import Namespace

if TYPE_CHECKING:
    from conftest import Operator


def greeting(name: str, who: str) -> dict:
    """A Greeting for ``who``."""
    return {"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": {"name": name}, "spec": {"who": who}}


def is_ready(who: str) -> Callable[[dict], bool]:
    """True for a Greeting whose status says that ``who`` was greeted in its latest generation."""

    def check(item: dict) -> bool:
        status = item.get("status", {})
        return (
            status.get("message") == f"Hello, {who}!" and status["observedGeneration"] == item["metadata"]["generation"]
        )

    return check


@pytest.mark.usefixtures("operator")
def test_reconciles_what_is_created_and_changed(kina_namespace: Namespace) -> None:
    """A new Greeting gets its ConfigMap, a changed one gets the new text."""
    kina_namespace.apply(greeting("first", "World"))
    kina_namespace.wait("greeting/first", until=is_ready("World"), timeout=15)
    assert kina_namespace.get("configmap/first")["data"] == {"text": "Hello, World!"}

    kina_namespace.apply(greeting("first", "Moon"))
    kina_namespace.wait("greeting/first", until=is_ready("Moon"), timeout=15)
    assert kina_namespace.get("configmap/first")["data"] == {"text": "Hello, Moon!"}


@pytest.mark.usefixtures("operator")
def test_config_map_belongs_to_its_greeting(kina_namespace: Namespace) -> None:
    """The owner reference leads back: the garbage collector cleans up, and the operator need not be able to delete."""
    kina_namespace.apply(greeting("owner", "World"))
    owner = kina_namespace.wait("greeting/owner", until=is_ready("World"), timeout=15)
    (reference,) = kina_namespace.get("configmap/owner")["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"]) == ("Greeting", owner["metadata"]["uid"])


def test_catches_up_after_a_crash(kina_namespace: Namespace, operator: "Operator") -> None:
    """What changed while the operator was dead is reconciled when it is back."""
    kina_namespace.apply(greeting("early", "World"))
    kina_namespace.wait("greeting/early", until=is_ready("World"), timeout=15)
    operator.kill()
    kina_namespace.apply(greeting("early", "Moon"))
    kina_namespace.apply(greeting("late", "Mars"))

    operator.start()
    kina_namespace.wait("greeting/early", until=is_ready("Moon"), timeout=15)
    kina_namespace.wait("greeting/late", until=is_ready("Mars"), timeout=15)


@pytest.mark.usefixtures("operator")
def test_leaves_a_field_that_somebody_else_owns(kina_namespace: Namespace) -> None:
    """Server-side apply refuses to take a field from another manager: the operator reports it, overwrites nothing."""
    kina_namespace.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "taken"}, "data": {"text": "mine"}},
        field_manager="a-person",
    )
    kina_namespace.apply(greeting("taken", "World"))
    kina_namespace.wait(
        "greeting/taken", until=lambda item: item.get("status", {}).get("phase") == "Conflict", timeout=15
    )
    assert kina_namespace.get("configmap/taken")["data"] == {"text": "mine"}


@pytest.mark.parametrize(("kind", "verb"), [("Secret", "get"), ("ConfigMap", "delete")])
def test_may_do_no_more_than_its_role(kina_namespace: Namespace, identity: Path, kind: str, verb: str) -> None:
    """The operator's own token is refused what its role does not list."""
    api = config.new_client_from_config_dict(json.loads(identity.read_text()))
    client = dynamic.DynamicClient(api, cache_file=str(identity.with_name("types.json")))
    resource = client.resources.get(api_version="v1", kind=kind)
    with pytest.raises(ForbiddenError, match=r"system:serviceaccount:.*:greeter"):
        getattr(resource, verb)(name="any", namespace=kina_namespace.name)
