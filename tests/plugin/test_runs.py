"""Whole runs: preparation, xdist, the end of a run, and runs that need no cluster."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_kina.timing import Phase
from tests.plugin.conftest import FAKE, Project

SHARED = """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_it(kina_cluster, number): assert kina_cluster.version == "v1.36.3"
"""


@pytest.mark.parametrize("how", [(), ("-n", "0"), ("-n", "2"), ("-n", "3", "--dist", "loadscope"), ("-p", "no:xdist")])
def test_run_shares_one_cluster(project: Project, how: tuple[str, ...]) -> None:
    """However the tests are distributed, the run makes one default cluster."""
    project.write(test_a=SHARED, test_b=SHARED)
    project.run_apart(*how).assert_outcomes(passed=12)
    assert project.calls()["create"] == 1
    assert len({event.run for event in project.events(Phase.LEASE_WAIT)}) == 1


def test_one_failed_creation_fails_the_tests_of_all_workers(project: Project) -> None:
    """The circuit breaker: nobody waits for the same failure again, and each test shows its cause."""
    pytest.importorskip("xdist")
    project.order(failures={"create": "etcd found no room"}, delays={"create": 0.2})
    project.write(test_a=SHARED, test_b=SHARED)
    result = project.run_apart("-n", "2")
    result.assert_outcomes(errors=12)
    assert project.calls()["create"] == 1
    assert result.stdout.str().count("could not be made: etcd found no room") >= 12
    result.stdout.fnmatch_lines(["*not tried again, because it has failed in this run: cluster kina-*"])


@pytest.mark.parametrize("how", [("-p", "no:cacheprovider"), ("--strict-markers", "--strict-config"), ("-x",)])
def test_run_works_with_options_of_pytest(project: Project, how: tuple[str, ...]) -> None:
    """Options that take parts of pytest away, or make it strict, change nothing."""
    project.write(test_a=SHARED)
    project.run(*how).assert_outcomes(passed=6)


def test_last_failed_leases_what_is_left(project: Project) -> None:
    """``--lf`` prepares and leases only what the tests need that run again."""
    project.write(
        test_a="""
        import pytest

        def test_good(kina_cluster): pass
        @pytest.mark.kina_cluster(version="1.35")
        def test_bad(): assert 0
        """
    )
    project.run().assert_outcomes(passed=1, failed=1)
    before = project.calls()
    project.run("--lf").assert_outcomes(failed=1)
    made = project.calls() - before
    assert (made["prepare"], made["create"]) == (1, 1)


def test_run_with_ttl_zero_deletes_its_clusters_at_the_end(project: Project) -> None:
    """With TTL 0 nothing is left, and the deletion is timed in the run and shown by its report."""
    project.write(test_a=SHARED)
    result = project.run("--kina-ttl=0")
    assert project.records() == []
    assert [event.ok for event in project.events(Phase.DELETE)] == [True]
    result.stdout.fnmatch_lines(["*kina timings*", "*delete *"])


def test_controller_deletes_what_the_workers_left(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI the xdist controller deletes after its workers have left, and the report shows it."""
    pytest.importorskip("xdist")
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("KINA_GATE_BUDGET", "0")  # in CI the gate would make further clusters
    project.write(test_a=SHARED)
    result = project.run_apart("-n", "2")
    result.stdout.fnmatch_lines(["*kina timings*", "*delete *"])
    assert project.records() == []
    assert [event.worker for event in project.events(Phase.DELETE)] == ["main"]


def test_cluster_that_could_not_be_deleted_is_told(project: Project) -> None:
    """With TTL 0 the report says what the run had to leave behind; deletions that went well are only in the timings."""
    project.write(test_a=SHARED)
    assert "kina: tidied" not in project.run("--kina-ttl=0").stdout.str()
    project.order(failures={"delete": "it would not go"})
    project.run("--kina-ttl=0").stdout.fnmatch_lines(["*= kina: tidied =*", "*kina-* failed: it would not go*"])
    assert len(project.records()) == 1


def test_what_a_worker_tidies_is_told(project: Project) -> None:
    """What a run deletes because it had been idle stands in the report, also when an xdist worker did it."""
    pytest.importorskip("xdist")
    project.write(test_a="def test_it(kina_cluster): pass")
    project.run("--kina-ttl=1ms").assert_outcomes(passed=1)
    result = project.run_apart("-n", "1")
    result.stdout.fnmatch_lines(["*= kina: tidied =*", "slot 0: deleted kina-* (idle for * of 0s)"])


def test_cluster_of_one_run_serves_the_next(project: Project) -> None:
    """Without CI a cluster stays, and the next run resets it instead of making another."""
    project.write(
        test_a="import pytest\n@pytest.mark.kina_cluster(isolation='exclusive')\ndef test_it(kina_cluster): pass"
    )
    project.run().assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)
    assert (project.calls()["create"], project.calls()["reset"]) == (1, 1)


def test_replaced_worker_belongs_to_the_run(project: Project) -> None:
    """A worker that replaces a dead one joins the run's cluster."""
    pytest.importorskip("xdist")
    project.write(
        test_a="""
        import os

        def test_1(kina_cluster): pass
        def test_2(kina_cluster): os._exit(3)
        def test_3(kina_cluster): pass
        def test_4(kina_cluster): pass
        """
    )
    project.run_apart("-n", "1").assert_outcomes(passed=3, failed=1)
    assert len({event.run for event in project.events(Phase.LEASE_WAIT)}) == 1
    assert project.leases() == {"gw0": 1, "gw1": 1}


def test_run_without_cluster_tests_touches_nothing(project: Project) -> None:
    """A run without cluster tests makes no root, prepares nothing and reports nothing."""
    project.write(test_a="def test_it(): pass")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert not project.home.exists()
    assert project.calls() == {}
    result.stdout.no_fnmatch_line("*kina timings*")


@pytest.mark.parametrize("how", ["--collect-only", "--kina-plan", "--setup-plan", "--fixtures", "--fixtures-per-test"])
def test_looking_at_tests_prepares_nothing(project: Project, how: str) -> None:
    """What only looks at the tests starts no preparation and no cluster."""
    project.write(test_a=SHARED)
    assert project.run(how).ret == pytest.ExitCode.OK
    assert project.calls() == {}


def test_preparation_happens_before_the_first_test(project: Project) -> None:
    """All needed clusters are prepared once per spec at the end of collection, and only those of selected tests."""
    project.write(
        test_a="""
        import json, os, pathlib, pytest

        def test_plain():
            calls = pathlib.Path(os.environ["KINA_FAKE"] + ".calls").read_text().splitlines()
            assert sorted(json.loads(call)["cluster"] for call in calls) == ["1.35", "1.36"]

        def test_default(kina_cluster): pass
        @pytest.mark.kina_cluster(version="1.35")
        def test_old(): pass
        @pytest.mark.kina_cluster(version="1.34")
        def test_deselected(): pass
        """
    )
    project.run("-k", "not deselected").assert_outcomes(passed=3)


def test_failing_preparation_fails_only_those_who_need_it(project: Project) -> None:
    """A spec that cannot be prepared fails its tests at set-up, at once, with the provider's words."""
    project.write(
        test_a="""
        import pytest

        def test_good(kina_cluster): pass
        @pytest.mark.kina_cluster(version="1.99")
        def test_bad(): pass
        @pytest.mark.kina_cluster(version="1.99", isolation="fresh")
        def test_also_bad(): pass
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*the fake provider has no Kubernetes 1.99*",
            "*Needed by test_a.py::test_bad[[]1.99], test_a.py::test_also_bad[[]1.99].",
            "*use 1.34, 1.35, 1.36*",
        ]
    )
    assert project.calls()["prepare"] == 2


def test_unavailable_provider_is_explained_by_each_test(project: Project) -> None:
    """A provider that cannot run here says why, and what to do."""
    project.order(failures={"unavailable": "no fakes on Sundays"})
    project.write(test_a=SHARED)
    result = project.run()
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(["*cannot run here: no fakes on Sundays*", "*Next step: *"])


def test_unusable_home_is_explained(project: Project) -> None:
    """A root that cannot be used fails the tests that need clusters, naming the place and the next step."""
    project.home.write_text("a file")
    project.write(test_a="def test_it(kina_cluster): pass\ndef test_plain(): pass")
    result = project.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"{project.home}*is not a directory*", "*Next step: set KINA_HOME*"])


def test_failed_creation_is_explained_and_leaves_nothing(project: Project) -> None:
    """A cluster that cannot be made fails the tests with the provider's words, and nothing is left."""
    project.order(failures={"create": "no room for a control plane"})
    project.write(test_a=SHARED)
    result = project.run()
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines(["*no room for a control plane*"])
    assert project.records() == []
    assert project.calls()["create"] <= 2


@pytest.mark.parametrize(
    "mark", ["skip(reason='later')", "skipif(True, reason='later')", "skipif(condition=1, reason='x')"]
)
def test_nothing_is_prepared_for_tests_that_are_skipped(project: Project, mark: str) -> None:
    """A version that a matrix skips is not downloaded or built for nothing; the tests beside it get what they need."""
    source = f"""
        import pytest

        @pytest.mark.{mark}
        @pytest.mark.kina_cluster(version="1.34")
        def test_skipped(kina_cluster): pass

        @pytest.mark.skipif(False, reason="runs")
        @pytest.mark.kina_cluster(version="1.35")
        def test_runs(kina_cluster): pass
    """
    project.order()
    project.write(test_a=source)
    project.run().assert_outcomes(passed=1, skipped=1)
    assert project.calls()["prepare"] == 1


def test_slow_preparation_is_told(project: Project) -> None:
    """While a slow preparation runs, the terminal says who does what; xdist's controller says it for its workers."""
    project.order(delays={"prepare": 2.5})
    project.write(test_a="def test_it(kina_cluster): pass")
    result = project.run_apart()
    result.stdout.fnmatch_lines(["kina: main: preparing nothing (step 1 of 1, * s)"])


def test_slow_preparation_of_a_worker_is_told(project: Project) -> None:
    """Workers of xdist have no terminal; the controller tells what they prepare."""
    pytest.importorskip("xdist")
    project.order(delays={"prepare": 2.5})
    project.write(test_a="def test_it(kina_cluster): pass")
    result = project.run_apart("-n", "1")
    result.stdout.fnmatch_lines(["kina: gw0: preparing nothing (step 1 of 1, * s)"])


def test_failed_test_shows_its_cluster(project: Project) -> None:
    """The report of a failed test names its cluster's directory and has the component logs; others have nothing."""
    project.write(
        test_a="def test_bad(kina_cluster):\n    assert 0\ndef test_plain():\n    assert 0\ndef test_good(kina_cluster): pass"
    )
    result = project.run("-rA")
    result.assert_outcomes(failed=2, passed=1)
    assert sum("- kina cluster kina-" in line for line in result.outlines) == 1
    result.stdout.fnmatch_lines(["*- kina cluster kina-*", f"{project.home}/clusters/kina-*", "*component logs*"])


def test_plugin_can_be_switched_off(project: Project) -> None:
    """``-p no:kina`` takes everything away: options, fixtures, hooks."""
    project.write(test_a="def test_it(kina_cluster): pass")
    argv = [sys.executable, "-m", "pytest", "-p", "no:kina", "-p", "no:xdist", "-p", "no:randomly"]
    result = project.pytester.run(*argv)
    result.stdout.fnmatch_lines(["*fixture 'kina_cluster' not found*"])
    refused = project.pytester.run(*argv, FAKE)
    refused.stderr.fnmatch_lines(["*unrecognized arguments: --kina-provider*"])


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    """A run without cluster tests imports none of the libraries that clusters need."""
    heavy = ["kubernetes", "filelock", "yaml", "cryptography", "asyncio", "ssl", "psutil", "platformdirs", "tomli"]
    heavy += ["urllib.request", "http.client"]
    script = (
        "import sys, pytest, _pytest.junitxml; before = set(sys.modules); import pytest_kina.plugin; "
        f"print(sorted(set({heavy!r}) & (set(sys.modules) - before)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    assert shown.stdout.strip() == "[]"


def test_bare_run_imports_nothing_heavy(project: Project) -> None:
    """Also a whole run without cluster tests, from start to report, imports none of them."""
    project.write(
        conftest="""
        import sys

        def pytest_unconfigure():
            heavy = {"kubernetes", "filelock", "yaml", "cryptography", "asyncio", "ssl", "pytest_kina.pool"}
            print("heavy:", sorted(heavy & set(sys.modules)))
        """,
        test_a="def test_it(): pass",
    )
    result = project.run_apart("-p", "no:xdist", "-p", "no:timeout", "-s", provider="--kina-provider=auto")
    result.stdout.fnmatch_lines(["heavy: []"])


def test_what_hooks_and_fixtures_print_at_the_end_of_a_lease_is_captured(project: Project) -> None:
    """A lease that ends with its test ends inside of pytest's capturing, so that a passed test prints nothing."""
    project.pytester.makeconftest("""
        import pytest
        def pytest_kina_cluster_ready(cluster): print("hook: ready")
        def pytest_kina_cluster_release(cluster): print("hook: release")
        @pytest.fixture(scope="module")
        def operator(kina_cluster):
            yield
            print("fixture: stop")
    """)
    project.write(
        test_a="""
            import pytest
            @pytest.mark.kina_cluster(isolation="exclusive")
            def test_good(operator): pass
            @pytest.mark.kina_cluster(isolation="exclusive")
            def test_bad(operator): assert False
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Captured stdout setup*", "hook: ready", "*Captured stdout teardown*"])
    shown = [line for line in result.outlines if line.startswith(("hook", "fixture"))]
    assert shown == ["hook: ready", "fixture: stop", "hook: release"]  # those of the failed test alone


def test_the_client_is_imported_while_a_cluster_is_awaited(project: Project) -> None:
    """A test that uses the handles does not wait for the import as well; its thread has ended before the test begins."""
    project.order(delays={"create": 0.5})
    project.write(
        conftest="""
        import sys, threading

        def pytest_configure():
            sys.meta_path.insert(0, Watch())

        class Watch:
            def find_spec(self, name, path=None, target=None):
                if name == "kubernetes.dynamic":
                    Watch.importer = threading.current_thread().name
        """,
        test_a="""
        import sys, threading
        from conftest import Watch

        def test_without():
            assert "kubernetes" not in sys.modules

        def test_with(kina_cluster):
            assert "kina-client" not in [thread.name for thread in threading.enumerate()]
            assert Watch.importer == "kina-client"
        """,
    )
    result = project.run_apart("-p", "no:xdist", "-W", "error")
    result.assert_outcomes(passed=2)


def test_a_client_that_cannot_be_imported_is_told_once(project: Project) -> None:
    """By the lease that needs it; the thread that tried says nothing."""
    project.write(
        conftest="import sys; sys.modules['kubernetes.dynamic'] = None",
        test_a="def test_it(kina_cluster): ...",
    )
    result = project.run_apart("-p", "no:xdist", "-W", "error")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*import of kubernetes.dynamic halted*"])
    result.stdout.no_fnmatch_line("*UnhandledThreadException*")
