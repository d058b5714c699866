"""Three things everybody tests first: an object, a rollout, a permission."""

import pytest

from pytest_kina import Namespace
from pytest_kina.errors import Forbidden


def test_config_map(kina_namespace: Namespace) -> None:
    """Objects are applied and read back; each test has a namespace of its own."""
    kina_namespace.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "blue"}}
    )
    assert kina_namespace.get("configmap/settings")["data"] == {"colour": "blue"}


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: example.com/web:1}]
"""


def test_deployment_rolls_out(kina_namespace: Namespace) -> None:
    """The real controllers and scheduler are at work; the nodes are simulated, so no image is pulled."""
    kina_namespace.apply(DEPLOYMENT)
    kina_namespace.wait("deployment/web", condition="Available", timeout=30)
    pods = kina_namespace.list("pods", selector="app=web")
    assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 3


def test_viewer_may_look_but_not_touch(kina_namespace: Namespace) -> None:
    """RBAC is real: a user is a client certificate and a role."""
    kina_namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}})
    viewer = kina_namespace.as_user("victoria", role="view")
    assert viewer.get("configmap/settings")["metadata"]["name"] == "settings"
    with pytest.raises(Forbidden, match="victoria"):
        viewer.delete("configmap/settings")
