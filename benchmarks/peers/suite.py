"""Two projects with the same 40 tests: on clusters of the plugin, and on one envtest per xdist worker."""

from __future__ import annotations

import json
from pathlib import Path

_BODY = """
    for name in "abc":
        apply({{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {{"name": name}}, "data": {{"k": "v"}}}})
    assert len(listed()) == 3
"""

_TESTS = """
import pytest
{head}

@pytest.mark.parametrize("number", range(40))
def test_objects({fixture}, number):
{verbs}{body}"""

_PLUGIN = """    apply = kina_namespace.apply
    listed = lambda: kina_namespace.list("configmaps")
"""
_PEER = """    apply = namespace.apply
    listed = lambda: namespace.list("configmaps")
"""

_CONFTEST = """
import json, subprocess
import pytest
from pytest_kina.cluster import Cluster
from pytest_kina.spec import ClusterDescription, ClusterSpec

@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    process = subprocess.Popen([{program}], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={env})
    process.stdin.write("start\\n")
    process.stdin.flush()
    directory = tmp_path_factory.mktemp("envtest")
    (directory / "kubeconfig").write_text(json.loads(process.stdout.readline())["kubeconfig"])
    spec = ClusterSpec(profile="api", simulated_nodes=0)
    about = ClusterDescription(name="envtest", provider="envtest", fingerprint="", spec=spec)
    yield Cluster(about, directory, directory / "kubeconfig")
    process.stdin.close()
    process.wait()

@pytest.fixture
def namespace(cluster, request):
    made = cluster.create_namespace(request.node.name)
    yield made
    made.delete()
"""


def write(folder: Path, *, envtest: Path | None, assets: Path | None = None) -> Path:
    """The project in ``folder``; with ``envtest`` (a program) the peer's, whose binaries are in ``assets``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:hypothesispytest\n")
    body = _BODY.format()
    if envtest is None:
        head = 'pytestmark = pytest.mark.kina_cluster(profile="api")'
        test = _TESTS.format(head=head, fixture="kina_namespace", verbs=_PLUGIN, body=body)
    else:
        test = _TESTS.format(head="", fixture="namespace", verbs=_PEER, body=body)
        env = {"KUBEBUILDER_ASSETS": str(assets), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
        conftest = _CONFTEST.format(program=json.dumps(str(envtest)), env=json.dumps(env))
        (folder / "conftest.py").write_text(conftest)
    (folder / "test_objects.py").write_text(test)
    return folder
