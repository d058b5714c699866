"""One test on two Kubernetes versions.

The older version is skipped where its binaries are not on this machine yet; ``pytest-kina binaries get --version 1.35``
fetches or builds them once.
"""

import pytest

from pytest_kina import Cluster, Namespace
from pytest_kina.binaries import why_missing

MISSING = why_missing("1.35")
NEWEST = {"version": "1.36"}
OLDER = pytest.param(
    {"version": "1.35"},
    id="1.35",
    marks=pytest.mark.skipif(bool(MISSING), reason=str(MISSING)),
)


@pytest.mark.parametrize("kina_cluster", [pytest.param(NEWEST, id="1.36"), OLDER], indirect=True)
def test_job_completes_on_each_version(kina_cluster: Cluster, kina_namespace: Namespace) -> None:
    """The same Job completes on both versions, and the API says which one it is.

    Where both versions are there anyway, ``@pytest.mark.kina_cluster(versions=["1.36", "1.35"])`` says the same.
    """
    kina_namespace.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "once"},
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "once", "image": "example.com/once:1"}]}
                }
            },
        }
    )
    kina_namespace.wait("job/once", condition="Complete", timeout=30)
    assert kina_cluster.version.startswith(f"v{kina_cluster.spec.version}.")
