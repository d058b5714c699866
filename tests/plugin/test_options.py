"""Options in a pytest run: every spelling is read, and a wrong one is a usage error that names its place."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

NATIVE_TOML = tuple(map(int, pytest.__version__.split(".")[:2])) >= (9, 0)

SPELLINGS = {
    "pytest.ini": ("pytest.ini", "[pytest]\n{key} = {value}\n"),
    "tool.pytest.ini_options": ("pyproject.toml", '[tool.pytest.ini_options]\n{key} = "{value}"\n'),
    "tool.pytest": ("pyproject.toml", '[tool.pytest]\n{key} = "{value}"\n'),
}


def write(project: Project, spelling: str, key: str, value: str) -> list[str]:
    """Configure the project in one spelling; returns the arguments that it takes."""
    if spelling == "-o":
        return ["-o", f"{key}={value}"]
    if spelling == "tool.pytest" and not NATIVE_TOML:
        pytest.skip("native TOML came with pytest 9")
    name, text = SPELLINGS[spelling]
    (project.pytester.path / name).write_text(text.format(key=key, value=value))
    return []


@pytest.fixture
def auto_size(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    """The environment has no say about the pool's size."""
    monkeypatch.delenv("KINA_POOL_SIZE")


@pytest.mark.usefixtures("auto_size")
@pytest.mark.parametrize("spelling", [*SPELLINGS, "-o"])
def test_option_is_read_from_each_spelling(project: Project, spelling: str) -> None:
    """A key of pytest's configuration works in each of its spellings, and the header says where it came from."""
    arguments = write(project, spelling, "kina_pool_size", "7")
    project.write(test_a="def test_it(): pass")
    place = "-o" if spelling == "-o" else str(project.pytester.path / SPELLINGS[spelling][0])
    result = project.run(*arguments, "--strict-config", "-v")
    result.stdout.fnmatch_lines([f"kina: *at most 7 clusters (kina_pool_size in {place})"])


@pytest.mark.usefixtures("auto_size")
@pytest.mark.parametrize("spelling", [*SPELLINGS, "-o"])
def test_wrong_option_is_refused_in_each_spelling(project: Project, spelling: str) -> None:
    """A wrong value is a usage error that names key, place, form and example."""
    arguments = write(project, spelling, "kina_pool_size", "0")
    project.write(test_a="def test_it(): pass")
    result = project.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    place = "-o" if spelling == "-o" else str(project.pytester.path / SPELLINGS[spelling][0])
    result.stderr.fnmatch_lines(
        [f"*kina_pool_size in {place}: expected auto, or a whole number of at least 1, like '4'*"]
    )


@pytest.mark.usefixtures("auto_size")
@pytest.mark.skipif(not NATIVE_TOML, reason="native TOML came with pytest 9")
def test_unquoted_number_in_native_toml_is_explained(project: Project) -> None:
    """Keys are strings; where pytest refuses a number, the message says how to write it, for all such keys."""
    (project.pytester.path / "pyproject.toml").write_text("[tool.pytest]\nkina_pool_size = 7\nkina_ttl = 0\n")
    project.write(test_a="def test_it(): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*write kina_pool_size = '4', as text*", "*write kina_ttl = '15m', as text*"])


def test_wrong_options_are_named_together(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong values from several sources are all named in one usage error."""
    monkeypatch.setenv("KINA_TTL", "soon")
    project.pytester.makepyprojecttoml(
        '[tool.kina]\nversio = "1"\nkeep = "some"\noffline = 2\nprofile = 3\n[tool.kina.clusters.big]\nsimulated_nodes = "3"'
    )
    project.write(test_a="def test_it(): pass")
    result = project.run("--kina-lease-timeout=0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    message = "\n".join(result.errlines)
    for place in (
        "KINA_TTL",
        "[tool.kina] versio in",
        "[tool.kina] keep in",
        "[tool.kina] offline in",
        "[tool.kina] in",
        "[tool.kina.clusters.big] in",
        "--kina-lease-timeout",
    ):
        assert place in message


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[tool.kina]\nsimulated_nodes = '3'", "[tool.kina] in *: simulated_nodes: expected a whole number"),
        (
            "[tool.kina]\nprofile = 'api'\nsimulated_nodes = 3",
            "[tool.kina] in *: simulated_nodes: profile='api' has no",
        ),
        (
            "[tool.kina]\nprofile = 'api'\n[tool.kina.clusters.big]\nsimulated_nodes = 3",
            "[tool.kina.clusters.big] in *: simulated_nodes: profile='api' has no",
        ),
        ("[tool.kina.clusters.big]\nversions = ['1.35']", "[tool.kina.clusters.big] in *: versions: belongs on a mark"),
    ],
)
def test_wrong_spec_of_the_project_is_refused(project: Project, table: str, said: str) -> None:
    """A wrong default or named spec is a usage error before anything is collected."""
    project.pytester.makepyprojecttoml(table)
    project.write(test_a="def test_it(): pass")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said.replace('[', '[[]')}*"])


def test_header_says_what_and_why(project: Project) -> None:
    """The header has provider, version, size and place; with ``-v`` also what was not taken, and each source."""
    project.write(test_a="def test_it(): pass")
    brief = project.run("--kina-provider=auto", "--kina-ttl=1m")
    brief.stdout.fnmatch_lines(["kina: provider embedded (auto), Kubernetes 1.36, at most 4 clusters (*)"])
    brief.stdout.no_fnmatch_line("kina: not *")
    full = project.run("--kina-provider=auto", "--kina-ttl=1m", "-v")
    full.stdout.fnmatch_lines([f"kina: root {project.home}", "kina: not kina: *", "kina: ttl from --kina-ttl"])


def test_header_tells_what_is_there_already(project: Project) -> None:
    """Clusters that earlier runs left are shown at the start, by state; without any there is no such line."""
    project.write(
        test_a="""
        import pytest

        def test_shared(kina_cluster): pass
        @pytest.mark.kina_cluster(isolation="exclusive")
        def test_exclusive(): pass
        """
    )
    project.run().stdout.no_fnmatch_line("kina: * there already*")
    project.run().stdout.fnmatch_lines(["kina: 2 clusters there already: 1 DIRTY, 1 SHARED"])


def test_plan_lists_needs_and_runs_nothing(project: Project) -> None:
    """``--kina-plan`` lists specs, tests per spec, isolation and the clusters to expect."""
    project.pytester.makepyprojecttoml("[tool.kina.clusters.big]\nsimulated_nodes = 9")
    project.write(
        test_a="""
        import pytest

        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_default(kina_cluster, number): pass
        def test_plain(): assert 0
        @pytest.mark.kina_cluster("big", feature_gates={"A": True})
        @pytest.mark.kina_cluster("small", profile="api")
        def test_two(): pass
        @pytest.mark.kina_cluster(isolation="fresh")
        @pytest.mark.parametrize("number", [1, 2])
        def test_fresh(number): pass
        @pytest.mark.kina_cluster(isolation="fresh", scope="module")
        class TestModule:
            def test_1(self): pass
            def test_2(self): pass
        """
    )
    result = project.run("--kina-plan")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "kina: provider *FakeProvider*",
            "*= kina plan =*",
            "kina: root *",
            "3 tests: Kubernetes 1.36 workloads with 1 simulated node; isolation namespace",
            "1 test: big: Kubernetes 1.36 workloads with 9 simulated nodes (A=true) + small: Kubernetes 1.36 api; *",
            "2 tests: Kubernetes 1.36 workloads with 1 simulated node; isolation fresh per function",
            "2 tests: Kubernetes 1.36 workloads with 1 simulated node; isolation fresh per module",
            "1 test without a cluster",
            "expected: 6 clusters created at most, if none is warm",
        ]
    )
    assert not project.home.exists()


@pytest.mark.parametrize("how", [(), ("-v",), ("-q",)])
def test_plan_repeats_nothing_of_the_header(project: Project, how: tuple[str, ...]) -> None:
    """Provider and root are said once, by pytest's header or by the plan."""
    project.write(test_a="def test_it(kina_cluster): pass")
    said = project.run("--kina-plan", *how).outlines
    for beginning in ("kina: provider pytest_kina", "kina: root "):
        assert sum(line.startswith(beginning) for line in said) == 1


def test_plan_is_shown_under_xdist(project: Project) -> None:
    """With ``-n`` the plan is the same, made without workers."""
    pytest.importorskip("xdist")
    project.write(test_a="def test_it(kina_cluster): pass")
    result = project.run_apart("--kina-plan", "-n", "2")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["1 test: Kubernetes 1.36 *", "expected: 1 cluster created*"])


def test_plan_of_tests_that_cannot_be_collected_fails(project: Project) -> None:
    """There is no plan where collection fails, and the exit code says so."""
    project.write(test_a="import nothing_like_this")
    result = project.run("--kina-plan")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.no_fnmatch_line("*kina plan*")
