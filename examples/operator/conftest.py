"""Fixtures of the operator's suite: its type, its identity, and the process itself."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kina import Cluster, Namespace

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def greetings(kina_cluster: Cluster) -> Cluster:
    """A cluster that knows the type ``Greeting``."""
    kina_cluster.apply(HERE / "crd.yaml")
    return kina_cluster


@pytest.fixture
def identity(greetings: Cluster, kina_namespace: Namespace, tmp_path: Path) -> Path:
    """A kubeconfig with a token of the operator's own ServiceAccount."""
    kina_namespace.apply(HERE / "rbac.yaml")
    kina_namespace.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "greeter"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "greeter"},
            "subjects": [{"kind": "ServiceAccount", "name": "greeter", "namespace": kina_namespace.name}],
        }
    )
    accounts = greetings.dynamic.resources.get(api_version="v1", kind="ServiceAccount")
    answer = accounts.subresources["token"].create(
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        name="greeter",
        namespace=kina_namespace.name,
    )
    document = json.loads(greetings.kubeconfig.read_text())
    document["users"] = [{"name": user["name"], "user": {"token": answer.status.token}} for user in document["users"]]
    path = tmp_path / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))
    return path


class Operator:
    """The operator as a process that can be started and killed."""

    def __init__(self, kubeconfig: Path, namespace: str, log: Path) -> None:
        self._argv = [sys.executable, str(HERE / "greeter.py"), str(kubeconfig), namespace]
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it watches."""
        with self._log.open("a") as log:
            # What its Kubernetes client writes to the temporary directory stays there when it is killed.
            env = {**os.environ, "TMPDIR": str(self._log.parent)}
            self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, stderr=log, text=True, env=env)
        line = self._process.stdout.readline()
        assert line == "watching\n", f"the operator did not start:\n{self._log.read_text()}"

    def kill(self) -> None:
        """SIGKILL: an operator must survive the worst end of its predecessor."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture
def operator(identity: Path, kina_namespace: Namespace, tmp_path: Path) -> Iterator[Operator]:
    """The running operator."""
    operator = Operator(identity, kina_namespace.name, tmp_path / "operator.log")
    operator.start()
    yield operator
    operator.kill()
