"""How kubectl is found and what it is told, with a real program in its place that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.cluster import Cluster, Kubectl
from pytest_kina.errors import BinaryError, CommandError

PROGRAM = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "stdin": sys.stdin.read()}))
sys.exit(3 if "fail" in sys.argv else 0)
"""


def program(path: Path, text: str = PROGRAM) -> Path:
    """An executable file called kubectl."""
    path.mkdir(exist_ok=True)
    (path / "kubectl").write_text(text)
    (path / "kubectl").chmod(0o755)
    return path / "kubectl"


@pytest.fixture
def kubectl(fake_cluster: Cluster, tmp_path: Path) -> Kubectl:
    """Kubectl for a whole cluster."""
    return Kubectl(fake_cluster, program(tmp_path / "bin"))


def test_kubectl_sees_one_kubeconfig_and_no_other_secrets(
    kubectl: Kubectl, fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KUBECONFIG is the cluster's, home and cache are in its directory, and tokens of the shell stay there."""
    monkeypatch.setenv("KUBECONFIG", "/production")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen: Any = json.loads(kubectl("get", "pods"))
    assert seen["argv"] == ["get", "pods"]
    assert seen["env"]["KUBECONFIG"] == str(fake_cluster.kubeconfig)
    assert seen["env"]["HOME"] == str(fake_cluster.directory / "kubectl")
    assert seen["env"]["KUBECACHEDIR"].startswith(seen["env"]["HOME"])
    assert "AWS_SECRET_ACCESS_KEY" not in seen["env"]


def test_namespace_comes_before_the_arguments(kubectl: Kubectl, fake_cluster: Cluster) -> None:
    """So that a `-n other` of the test still wins, as kubectl takes the last one."""
    in_namespace = Kubectl(fake_cluster.namespace("mine"), kubectl.binary)
    assert json.loads(in_namespace("get", "pods"))["argv"] == ["--namespace=mine", "get", "pods"]


def test_json_is_asked_for_and_parsed(kubectl: Kubectl) -> None:
    """`json=True` adds the option and returns the document."""
    assert kubectl("get", "pods", json=True)["argv"] == ["get", "pods", "--output=json"]


def test_output_that_is_no_json_is_an_error(fake_cluster: Cluster, tmp_path: Path) -> None:
    """Some commands do not know the option; the error says so and keeps the output."""
    broken = Kubectl(fake_cluster, program(tmp_path / "bin", "#!/bin/sh\necho plain text\n"))
    with pytest.raises(CommandError, match="did not print one JSON document") as caught:
        broken("version", json=True)
    assert caught.value.details["stdout"] == "plain text\n"


def test_standard_input_is_passed_on(kubectl: Kubectl) -> None:
    """For `apply -f -`."""
    assert json.loads(kubectl("apply", "-f", "-", stdin="kind: Pod"))["stdin"] == "kind: Pod"


def test_failure_is_an_error_unless_it_is_asked_for(kubectl: Kubectl) -> None:
    """A call raises with all output; `run(check=False)` returns the exit code."""
    with pytest.raises(CommandError, match="exited with 3"):
        kubectl("fail")
    result = kubectl.run("fail", check=False)
    assert (result.returncode, json.loads(result.stdout)["argv"]) == (3, ["fail"])


def test_kubectl_is_found_in_the_assets_before_the_path(
    fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An explicit program wins over KINA_ASSETS, and that over PATH."""
    path, assets, given = (program(tmp_path / name) for name in ("path", "assets", "given"))
    monkeypatch.setenv("PATH", str(path.parent))
    monkeypatch.delenv("KINA_ASSETS", raising=False)
    assert Kubectl(fake_cluster).binary == path
    monkeypatch.setenv("KINA_ASSETS", str(assets.parent))
    assert Kubectl(fake_cluster).binary == assets
    assert Kubectl(fake_cluster, given).binary == given


def test_missing_kubectl_says_how_to_get_one(
    fake_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step is a command of ours."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KINA_ASSETS", str(tmp_path))
    with pytest.raises(BinaryError, match=r"pytest-kina binaries get kubectl"):
        Kubectl(fake_cluster)("get", "pods")
