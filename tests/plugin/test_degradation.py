"""Without an optional library or program exactly one thing is missing, and one sentence says which; the rest works."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.plugin.conftest import FAKE, Project

TESTS = """
import pytest

def test_cluster(kina_cluster): pass

@pytest.mark.kina_cluster(isolation="exclusive")
def test_alone(kina_cluster, kina_timings): assert kina_timings.events

def test_none(): pass
"""


def run_without(project: Project, *hidden: str, arguments: tuple[str, ...] = ()) -> pytest.RunResult:
    """Run pytest as if these modules were not installed: they cannot be imported, nor their plugins be loaded."""
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in hidden)
    project.write(hide=f"import sys\n{blocked}")
    alone = ("-p", "hide", "-p", "kina", "-p", "no:cacheprovider")
    return project.pytester.runpytest_subprocess(*alone, *arguments, timeout=120)


@pytest.fixture(autouse=True)
def no_plugins_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is named is loaded, as where nothing else is installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.mark.parametrize("hidden", ["xdist", "pytest_benchmark", "psutil", "cryptography"])
def test_tests_run_without_it(project: Project, hidden: str) -> None:
    """Whatever does not need it: leases, timings, the report, and the file of timings."""
    project.write(test_a=TESTS)
    result = run_without(project, hidden, arguments=(FAKE, "--kina-bench-json=timings.json", "-W", "error"))
    result.assert_outcomes(passed=3)
    assert (project.pytester.path / "timings.json").exists()


def test_without_cryptography_there_is_no_embedded_provider(project: Project) -> None:
    """The tests that need it fail at set-up with the sentence, which also stands in the verbose header."""
    project.write(test_a=TESTS)
    result = run_without(project, "cryptography", arguments=("--kina-provider=auto", "-v"))
    result.assert_outcomes(errors=2, passed=1)
    sentence = "embedded: cryptography cannot be imported: pip install 'pytest-kina[[]embedded[]]'"
    result.stdout.fnmatch_lines([f"kina: not {sentence}", "kina: nobody can make the default cluster here"])
    result.stdout.fnmatch_lines(["*no provider on this machine can make such a cluster:", f"*{sentence}"])


@pytest.mark.real_control_plane
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="elsewhere psutil tells which processes are a cluster's")
def test_without_psutil_the_embedded_provider_works_where_there_is_proc(project: Project) -> None:
    """Clusters are made, checked and deleted by what the kernel tells."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster(profile="api")
        def test_real(kina_cluster): assert kina_cluster.list("namespaces")
        """
    )
    result = run_without(project, "psutil", arguments=("--kina-provider=embedded", "--kina-ttl=0"))
    result.assert_outcomes(passed=1)
    assert list((project.home / "clusters").iterdir()) == []


def test_without_kubectl_only_its_fixture_fails(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where one was looked for, and how to get one; the tests beside it pass."""
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("KINA_ASSETS", raising=False)
    project.write(test_a=f"{TESTS}\ndef test_kubectl(kina_kubectl): kina_kubectl('get', 'pods')")
    result = run_without(project, arguments=(FAKE,))
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["*BinaryError: there is no kubectl*", "*Next step: run `pytest-kina binaries get kubectl`"]
    )
