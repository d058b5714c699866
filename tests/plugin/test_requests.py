"""From marks to clusters: what a test asks for is what it gets."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project


def test_fixture_without_mark_gets_the_default_cluster_and_a_plain_id(project: Project) -> None:
    """A test that names the fixture gets a cluster of the default spec, and keeps the id it has without the plugin."""
    project.write(test_a="def test_it(kina_cluster):\n    assert kina_cluster.version == 'v1.36.3'")
    result = project.run("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_a.py::test_it PASSED*"])


def test_mark_implies_the_fixture(project: Project) -> None:
    """A marked test is given a cluster although it names no fixture, also when it has parameters of its own."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster(version="1.35")
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(number, request):
            assert request.getfixturevalue("kina_cluster").version == "v1.35.4"
        """
    )
    project.run().assert_outcomes(passed=2)
    assert project.calls()["create"] == 1


def test_versions_make_a_matrix(project: Project) -> None:
    """``versions`` runs the test once per version, with the version in the id."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster(versions=["1.35", "1.36"])
        def test_it(kina_cluster, request):
            assert kina_cluster.version.startswith("v" + request.node.callspec.id)
        """
    )
    result = project.run("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it[[]1.35[]]*", "*test_it[[]1.36[]]*"])


def test_marks_of_module_class_and_function_merge_key_by_key(project: Project) -> None:
    """Each level adds keys; where two name the same key, the one closest to the test wins."""
    project.write(
        test_a="""
        import pytest

        pytestmark = pytest.mark.kina_cluster(version="1.34", simulated_nodes=2)

        @pytest.mark.kina_cluster(version="1.35", feature_gates={"A": True})
        class TestIt:
            @pytest.mark.kina_cluster(simulated_nodes=3)
            def test_it(self, kina_cluster):
                spec = kina_cluster.spec
                assert (spec.version, spec.simulated_nodes) == ("1.35", 3)
                assert spec.feature_gates == (("A", True),)
        """
    )
    project.run().assert_outcomes(passed=1)


def test_named_clusters_are_leased_together(project: Project) -> None:
    """Stacked marks with names give one test several clusters, in reading order, by one lease."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster("east", version="1.35")
        @pytest.mark.kina_cluster("west")
        def test_it(kina_cluster, kina_clusters):
            assert list(kina_clusters) == ["east", "west"]
            assert kina_cluster is kina_clusters["east"]
            assert [each.version for each in kina_clusters.values()] == ["v1.35.4", "v1.36.3"]
            assert len({each.name for each in kina_clusters.values()}) == 2
        """
    )
    project.run().assert_outcomes(passed=1)
    assert project.calls()["create"] == 2


def test_unnamed_cluster_is_the_main_one(project: Project) -> None:
    """Where a test has an unnamed cluster and named ones, ``kina_cluster`` is the unnamed one."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster("east", version="1.35")
        @pytest.mark.kina_cluster(version="1.34")
        def test_it(kina_cluster, kina_clusters):
            assert kina_cluster is kina_clusters[""]
            assert kina_cluster.version == "v1.34.4"
        """
    )
    project.run().assert_outcomes(passed=1)


def test_named_and_default_specs_come_from_the_project(project: Project) -> None:
    """``[tool.kina]`` sets the default spec, ``[tool.kina.clusters.<name>]`` what a name stands for."""
    project.pytester.makepyprojecttoml(
        """
        [tool.kina]
        version = "1.35"
        [tool.kina.clusters.big]
        simulated_nodes = 9
        """
    )
    project.write(
        test_a="""
        import pytest

        def test_default(kina_cluster):
            assert (kina_cluster.version, kina_cluster.spec.simulated_nodes) == ("v1.35.4", 1)

        @pytest.mark.kina_cluster("big")
        def test_big(kina_cluster):
            assert (kina_cluster.version, kina_cluster.spec.simulated_nodes) == ("v1.35.4", 9)
        """
    )
    result = project.run("-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*::test_default PASSED*", "*::test_big[[]big:nodes=9[]] PASSED*"])


def test_hook_of_the_nearest_conftest_sets_the_default_spec(project: Project) -> None:
    """``pytest_kina_default_spec`` of the nearest conftest goes over ``[tool.kina]`` and under marks."""
    project.pytester.makepyprojecttoml('[tool.kina]\nversion = "1.34"\nsimulated_nodes = 2')
    project.pytester.makeconftest("def pytest_kina_default_spec(config, path): return {'version': '1.36'}")
    inner = project.pytester.mkdir("inner")
    (inner / "conftest.py").write_text("def pytest_kina_default_spec(path): return {'version': '1.35'}")
    (inner / "test_inner.py").write_text(
        "def test_it(kina_cluster):\n"
        "    assert (kina_cluster.version, kina_cluster.spec.simulated_nodes) == ('v1.35.4', 2)\n"
    )
    project.write(test_outer="def test_it(kina_cluster): assert kina_cluster.version == 'v1.36.3'")
    project.run().assert_outcomes(passed=2)


def test_own_parametrisation_with_dicts_is_accepted(project: Project) -> None:
    """A user's indirect parametrisation of ``kina_cluster`` goes over the marks, and equal dicts share a lease."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster(simulated_nodes=2)
        @pytest.mark.parametrize("kina_cluster", [{"version": "1.34"}, {"version": "1.35"}], indirect=True)
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(kina_cluster, number):
            assert kina_cluster.spec.simulated_nodes == 2
            assert kina_cluster.version in ("v1.34.4", "v1.35.4")
        """
    )
    project.run().assert_outcomes(passed=4)
    assert project.leases() == {"main": 2}


def test_dynamic_request_gets_what_the_marks_say_for_this_test_only(project: Project) -> None:
    """A lease without a parameter is for one test: neither the test before nor the one after decides its cluster."""
    project.pytester.makeconftest(
        """
        def pytest_kina_default_spec(path):
            return {"version": "1.35"} if path.name == "test_b.py" else None
        """
    )
    dynamic = "def test_it(request): assert request.getfixturevalue('kina_cluster').version == '{}'"
    project.write(
        test_a=dynamic.format("v1.36.3"),
        test_b=dynamic.format("v1.35.4"),
        test_c="def test_it(kina_cluster): assert kina_cluster.version == 'v1.36.3'",
    )
    project.run().assert_outcomes(passed=3)
    assert project.leases() == {"main": 3}


def test_overriding_fixture_still_gets_the_leased_cluster(project: Project) -> None:
    """A project may wrap ``kina_cluster`` in a fixture of the same name."""
    project.write(
        test_a="""
        import pytest

        @pytest.fixture(scope="session")
        def kina_cluster(kina_cluster):
            return ("wrapped", kina_cluster)

        @pytest.mark.kina_cluster(versions=["1.35", "1.36"])
        def test_it(kina_cluster, request):
            assert kina_cluster[0] == "wrapped"
            assert kina_cluster[1].version.startswith("v" + request.node.callspec.id)
        """
    )
    project.run().assert_outcomes(passed=2)


@pytest.mark.parametrize("isolation", ["exclusive", "fresh"])
def test_isolated_lease_is_for_one_test(project: Project, isolation: str) -> None:
    """Equal specs of two tests, and of two parameters of one test, are never the same lease."""
    project.write(
        test_a=f"""
        import pytest

        pytestmark = pytest.mark.kina_cluster(isolation="{isolation}")

        @pytest.mark.parametrize("number", [1, 2])
        def test_one(number): pass

        def test_two(kina_cluster): pass
        """
    )
    project.run().assert_outcomes(passed=3)
    assert project.leases() == {"main": 3}
    assert project.calls()["create"] == (3 if isolation == "fresh" else 1)
    assert project.calls()["reset"] == (0 if isolation == "fresh" else 2)


def test_isolated_lease_of_a_module_ends_with_the_module(project: Project) -> None:
    """With ``scope="module"`` the tests of a module share one lease, and the next module gets another."""
    module = """
        import pytest

        pytestmark = pytest.mark.kina_cluster(isolation="exclusive", scope="module")
        seen = []

        def test_one(kina_cluster): seen.append(kina_cluster.name)
        def test_two(kina_cluster): assert seen == [kina_cluster.name]
        """
    project.write(test_a=module, test_b=module, test_c="def test_plain(): pass")
    project.run().assert_outcomes(passed=5)
    assert project.leases() == {"main": 2}


def test_lease_of_a_module_is_given_back_before_the_next_module(project: Project) -> None:
    """When the next module runs, the exclusive cluster of the module before is free again."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster(isolation="exclusive", scope="module")
        def test_it(): pass
        """,
        test_b="""
        import os, pathlib
        from filelock import FileLock

        def test_plain():
            lock = FileLock(pathlib.Path(os.environ["KINA_HOME"]) / "slots" / "0.lock", timeout=0)
            lock.acquire()
            lock.release()
        """,
    )
    project.run().assert_outcomes(passed=2)


def test_fixtures_of_one_cluster_agree(project: Project) -> None:
    """``kina_kubeconfig``, ``kina_kubectl`` and ``kina_timings`` belong to the cluster of the test."""
    project.write(
        test_a="""
        import pytest
        from pytest_kina.timing import Phase

        @pytest.mark.kina_cluster(versions=["1.35", "1.36"])
        def test_it(kina_cluster, kina_kubeconfig, kina_timings):
            assert kina_kubeconfig == kina_cluster.directory / "kubeconfig"
            assert kina_cluster.name in kina_kubeconfig.read_text()
            with kina_timings.measure("install"):
                pass
            phases = [event.phase for event in kina_timings.events]
            assert {Phase.CREATE, Phase.STARTUP, Phase.INSTALL} <= set(phases)
            assert {event.cluster for event in kina_timings.events} == {kina_cluster.name}
            assert {event.provider_version for event in kina_timings.events} == {"1.0"}
            with pytest.raises(ValueError):
                kina_timings.measure("lunch")
        """
    )
    project.run().assert_outcomes(passed=2)


def test_measured_phases_say_how_the_cluster_came_about(project: Project) -> None:
    """The events of ``kina_timings.measure`` have the provider's version and whether the cluster was fresh or reused."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.kina_cluster(isolation="exclusive")
        @pytest.mark.parametrize("start", ["fresh", "reused"])
        def test_it(kina_timings, start):
            with kina_timings.measure("install"):
                pass
            event = kina_timings.events[-1]
            assert (event.phase, event.provider_version, event.start) == ("install", "1.0", start)
        """
    )
    project.run("-p", "no:randomly").assert_outcomes(passed=2)


def test_artifacts_have_a_directory_per_test(project: Project) -> None:
    """Each test has a directory of its own that outlives the run, also for ids that are no file names."""
    project.write(
        test_a="""
        import pytest

        @pytest.mark.parametrize("text", ["a/b", "a:b", "x" * 300])
        def test_it(kina_artifacts, text):
            (kina_artifacts / "note").write_text(text)
        """
    )
    project.run().assert_outcomes(passed=3)
    assert len(list(project.home.glob("runs/*/artifacts/*/note"))) == 3


def test_environment_is_left_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """``KUBECONFIG`` of the user is neither read nor changed."""
    monkeypatch.setenv("KUBECONFIG", "/nonexistent/production")
    project.write(
        test_a="""
        import os

        def test_it(kina_cluster):
            assert os.environ["KUBECONFIG"] == "/nonexistent/production"
        """
    )
    project.run().assert_outcomes(passed=1)


def test_hook_sees_each_leased_cluster_before_the_test(project: Project) -> None:
    """``pytest_kina_cluster_ready`` is called once per cluster and lease, before the fixture returns."""
    project.pytester.makeconftest(
        """
        import pathlib

        def pytest_kina_cluster_ready(cluster):
            with pathlib.Path("ready.txt").open("a") as stream:
                print(cluster.name, file=stream)
        """
    )
    project.write(
        test_a="""
        import pathlib, pytest

        @pytest.mark.kina_cluster("east")
        @pytest.mark.kina_cluster("west")
        def test_two(kina_clusters):
            names = pathlib.Path("ready.txt").read_text().split()
            assert names == [each.name for each in kina_clusters.values()]

        def test_one(kina_clusters):
            assert len(pathlib.Path("ready.txt").read_text().split()) == 3
        """
    )
    project.run().assert_outcomes(passed=2)


def test_failing_ready_hook_fails_the_test_and_gives_the_lease_back(project: Project) -> None:
    """An error of the hook is the error of the tests that wait for this cluster; nothing stays leased."""
    project.pytester.makeconftest("def pytest_kina_cluster_ready(cluster): raise RuntimeError('not like this')")
    project.write(test_a="def test_it(kina_cluster): pass")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*RuntimeError: not like this*"])
    assert project.records()[0]["users"] == []
