"""What a test gets in its hands: a cluster, a namespace of it, and kubectl for it."""

from __future__ import annotations

from pytest_kina.cluster.cluster import Cluster
from pytest_kina.cluster.kubectl import Kubectl
from pytest_kina.cluster.namespace import Namespace, namespace_name

__all__ = ["Cluster", "Kubectl", "Namespace", "namespace_name"]
