"""``needs`` chooses a provider, or skips the test with the reason; what only a spec implies is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.conftest import Project

NEEDY = """
import pytest

@pytest.mark.kina_cluster(needs={"pods", "loadbalancer"})
def test_needy(kina_cluster): pass

@pytest.mark.kina_cluster(needs=["simulated-nodes"], simulated_nodes=3)
def test_modest(kina_cluster): pass

def test_plain(kina_cluster): pass
"""


def test_a_test_is_skipped_where_its_needs_cannot_be_met(project: Project) -> None:
    """The reason names the capability and the provider; the other tests run, and nothing is prepared for it."""
    project.order(capabilities=["pods", "simulated-nodes"])
    project.write(test_a=NEEDY)
    result = project.run("-rs", "-v")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * needs loadbalancer; provider fake has not"])
    result.stdout.fnmatch_lines(["*test_needy[[]loadbalancer-pods[]]*SKIPPED*"])
    assert project.calls()["create"] == 2


def test_the_plan_leaves_out_what_is_skipped(project: Project) -> None:
    """No cluster is expected for a test that will not run; how many these are is said."""
    project.order(capabilities=["pods", "simulated-nodes"])
    project.write(test_a=NEEDY)
    result = project.run("--kina-plan")
    result.stdout.fnmatch_lines(
        ["expected: 2 clusters created at most*", "skipped: 1 test, by a mark or because of its needs"]
    )


def test_all_needs_met_is_no_skip(project: Project) -> None:
    """Whoever claims everything runs everything, also in xdist's workers."""
    project.write(test_a=NEEDY)
    project.run_apart("-n", "2").assert_outcomes(passed=3)


def test_auto_says_of_each_candidate_why_not(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With ``auto`` the reason goes through all candidates; implied capabilities are an error instead of a skip."""
    monkeypatch.setenv("PATH", str(tmp_path))
    project.write(test_a=NEEDY.replace("simulated_nodes=3", 'simulated_nodes=3)\n@pytest.mark.skip(reason="only here"'))
    result = project.run("--kina-provider=auto", "-rs", "-k", "needy or modest")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        [
            "SKIPPED * needs loadbalancer, pods; kina: `container` and `kina` are not on PATH; embedded: it has no loadbalancer, pods; *"
        ]
    )
    project.write(test_a="import pytest\n@pytest.mark.kina_cluster(images=['a:1'])\ndef test_it(kina_cluster): pass")
    refused = project.run("--kina-provider=auto")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*test_a.py::test_it*: provider 'embedded' cannot do what the test asks for:"])
    refused.stderr.fnmatch_lines(["Other candidates of auto: kina: *"])


def test_a_provider_that_is_not_alone_refuses_isolation(project: Project) -> None:
    """Where others use the cluster too, exclusive and fresh leases are a usage error that names the tests."""
    project.order(capabilities=["reset"])
    project.write(
        test_a="""
        import pytest

        @pytest.mark.parametrize("kina_cluster", [{}], indirect=True)
        @pytest.mark.kina_cluster(isolation="exclusive")
        def test_alone(kina_cluster): pass

        def test_plain(kina_cluster): pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "\n".join(result.errlines)
    assert "test_a.py::test_alone" in message
    assert "isolation: the cluster can be one test's alone" in message
    assert "test_plain" not in message
    assert not project.home.exists()


def test_an_unknown_provider_of_a_needy_test_is_a_usage_error(project: Project) -> None:
    """Nobody can say what a provider that does not exist can do."""
    project.write(
        test_a="import pytest\n@pytest.mark.kina_cluster(provider='nonsense', needs=['pods'])\ndef test_it(kina_cluster): pass"
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_a.py::test_it*no provider called 'nonsense'*"])


def test_the_header_leaves_open_what_only_asking_could_tell(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where kina's programs are there, nobody is asked before a test needs a cluster; ``-v`` asks."""
    for program in ("container", "kina"):
        (tmp_path / program).write_text("#!/bin/sh\necho not what you think\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    project.write(test_a="def test_it(): pass")
    project.run("--kina-provider=auto").stdout.fnmatch_lines(["kina: provider kina, else embedded (auto), *"])
    asked = project.run("--kina-provider=auto", "-v")
    asked.stdout.fnmatch_lines(["kina: not kina: *", "kina: taken embedded"])
    asked.stdout.no_fnmatch_line("*not on PATH")
