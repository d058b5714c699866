"""Options: where a value comes from, how it is read, and what a wrong one says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_kina.errors import SettingsError
from pytest_kina.options import OPTIONS
from pytest_kina.settings import Project, Settings, default_size, for_command, read_project, resolve

NO_FLAGS: dict[str, str | None] = {}


def settings(
    flags: dict[str, str | None] = NO_FLAGS,
    environ: dict[str, str] | None = None,
    ini: dict[str, str] | None = None,
    project: dict[str, object] | None = None,
) -> Settings:
    """Settings from these sources alone."""
    return resolve(
        flags=flags,
        environ=environ or {},
        ini={name: (value, "tox.ini") for name, value in (ini or {}).items()},
        project=Project(path=Path("/p/pyproject.toml"), options=project or {}),
        directory=Path("/p"),
    )


def problem(**sources: dict[str, object]) -> str:
    """What is said about these sources, which are wrong."""
    with pytest.raises(SettingsError) as caught:
        settings(**sources)  # type: ignore[arg-type]
    return str(caught.value)


def test_defaults_are_what_the_documentation_says() -> None:
    """Without any source every option has its documented default and says so."""
    got = settings()
    assert (got.provider, got.pool_size, got.keep, got.offline, got.plan) == ("auto", None, "never", False, False)
    assert (got.ttl, got.lease_timeout, got.start_timeout) == (900.0, 600.0, 60.0)
    assert (got.home, got.assets, got.mirror, got.bench_json) == (None, (), None, None)
    assert set(got.sources.values()) == {"default"}
    assert set(got.sources) == {option.name for option in OPTIONS}


def test_each_source_goes_over_the_next() -> None:
    """Command line, then environment, then pytest's configuration, then the project; each value knows its source."""
    layers: list[tuple[str, dict[str, object]]] = [
        ("--kina-ttl", {"flags": {"ttl": "1s"}}),
        ("environment variable KINA_TTL", {"environ": {"KINA_TTL": "2s"}}),
        ("kina_ttl in tox.ini", {"ini": {"ttl": "3s"}}),
        ("[tool.kina] ttl in /p/pyproject.toml", {"project": {"ttl": "4s"}}),
    ]
    for first in range(len(layers)):
        sources = {key: value for _, layer in layers[first:] for key, value in layer.items()}
        got = settings(**sources)  # type: ignore[arg-type]
        assert (got.ttl, got.sources["ttl"]) == (first + 1.0, layers[first][0])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("90s", 90.0), ("15m", 900.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5h", 5400.0), ("2d", 172800.0)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    """A duration is a sum of numbers with units, or zero."""
    assert settings(flags={"ttl": text}).ttl == seconds


@pytest.mark.parametrize("text", ["15", "m", "15 m", "-1s", "1x", "1s2", "soon", "1e3s", "0m 5"])
def test_anything_else_is_no_duration(text: str) -> None:
    """A number without unit, or anything else, is refused with the form and an example."""
    assert f"--kina-ttl: expected a duration with a unit (ms, s, m, h, d), or 0, like '15m'; got {text!r}" in problem(
        flags={"ttl": text}
    )


@pytest.mark.parametrize("ci", ["true", "1", "yes", "github"])
def test_nothing_is_kept_in_ci(ci: str) -> None:
    """Where ``CI`` is set, clusters do not outlive the run, unless somebody says otherwise."""
    got = settings(environ={"CI": ci})
    assert (got.ttl, got.sources["ttl"]) == (0.0, "default (CI is set)")
    assert settings(environ={"CI": ci, "KINA_TTL": "5m"}).ttl == 300.0


@pytest.mark.parametrize("ci", ["", "0", "false", "False", "no"])
def test_a_false_ci_is_no_ci(ci: str) -> None:
    """``CI=false`` means what it says."""
    assert settings(environ={"CI": ci}).ttl == 900.0


def test_empty_variable_is_no_value() -> None:
    """A variable that is set to nothing leaves the decision to the next source."""
    assert settings(environ={"KINA_PROVIDER": ""}).sources["provider"] == "default"


def test_all_wrong_values_are_named_at_once() -> None:
    """One error names every wrong value with its source, the expected form and an example."""
    text = problem(
        flags={"keep": "sometimes"},
        environ={"KINA_POOL_SIZE": "0", "KINA_MIRROR": "example.com"},
        ini={"start_timeout": "0"},
        project={"offline": "perhaps", "provider": 3},
    )
    assert "--kina-keep: expected never, failed or always, like 'failed'; got 'sometimes'" in text
    assert "environment variable KINA_POOL_SIZE: expected auto, or a whole number of at least 1" in text
    assert "environment variable KINA_MIRROR: expected a URL" in text
    assert "kina_start_timeout in tox.ini: expected a duration" in text
    assert "[tool.kina] offline in /p/pyproject.toml: expected true or false" in text
    assert "[tool.kina] provider in /p/pyproject.toml: expected auto, the name of a provider" in text
    assert text.endswith("Next step: correct them")


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "two", "", " 3"])
def test_pool_needs_at_least_one_slot(wrong: str) -> None:
    """A pool size is ``auto`` or a whole number of at least one."""
    assert "--kina-pool-size" in problem(flags={"pool_size": wrong})


def test_project_may_use_types_of_toml() -> None:
    """``[tool.kina]`` takes integers, booleans and lists where they are meant."""
    got = settings(project={"pool_size": 3, "offline": True, "ttl": 0, "assets": ["bin", "/opt/bin"]})
    assert (got.pool_size, got.offline, got.ttl) == (3, True, 0.0)
    assert got.assets == (Path("/p/bin"), Path("/opt/bin"))


@pytest.mark.parametrize(
    "wrong", [{"ttl": True}, {"pool_size": 1.5}, {"assets": [1]}, {"keep": ["failed"]}, {"home": {}}]
)
def test_project_types_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    """A value of another type is refused, not guessed at."""
    assert f"[tool.kina] {next(iter(wrong))} in /p/pyproject.toml: expected" in problem(project=wrong)


def test_paths_in_files_count_from_the_file() -> None:
    """A relative path on the command line counts from here, one in a file from the project; ``~`` is the home."""
    assert settings(flags={"home": "state"}).home == Path("state")
    assert settings(ini={"home": "state"}).home == Path("/p/state")
    assert settings(flags={"home": "~/state"}).home == Path.home() / "state"
    several = settings(environ={"KINA_ASSETS": os.pathsep.join(["/a", "/b"])})
    assert several.assets == (Path("/a"), Path("/b"))


def test_root_is_home_or_the_state_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The root is absolute: ``home``, else a directory in the user's state."""
    monkeypatch.chdir(tmp_path)
    assert settings(flags={"home": "state"}).root == tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert settings().root.name == "pytest-kina"


def test_capacity_is_what_was_asked_or_what_the_machine_carries(monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` follows cores and memory, and is at least one."""
    assert settings(flags={"pool_size": "7"}).capacity == 7
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**20}.__getitem__)
    assert settings().capacity == default_size() == 6
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1}.__getitem__)
    assert settings().capacity == 1


def test_plan_has_a_flag_only() -> None:
    """Nobody plans for ever: neither environment nor files can ask for the plan."""
    assert settings(flags={"plan": "true"}).plan
    assert not settings(environ={"KINA_PLAN": "true"}).plan


def write(directory: Path, text: str) -> Path:
    """A ``pyproject.toml``."""
    path = directory / "pyproject.toml"
    path.write_text(text)
    return path


def test_project_is_the_nearest_file(tmp_path: Path) -> None:
    """The nearest ``pyproject.toml`` at or above the directory counts, and only that one."""
    write(tmp_path, '[tool.kina]\nversion = "1.34"')
    inner = tmp_path / "inner" / "deep"
    inner.mkdir(parents=True)
    assert read_project(inner).spec == {"version": "1.34"}
    path = write(inner.parent, '[tool.kina]\nttl = "5m"\n[tool.kina.clusters.big]\nsimulated_nodes = 9')
    got = read_project(inner)
    assert (got.path, got.options, got.spec) == (path, {"ttl": "5m"}, {})
    assert got.clusters == {"big": {"simulated_nodes": 9}}


def test_project_search_ends_at_the_repository(tmp_path: Path) -> None:
    """A ``pyproject.toml`` outside the repository is somebody else's."""
    write(tmp_path, '[tool.kina]\nversion = "1.34"')
    repository = tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    assert read_project(repository) == Project()


def test_project_without_our_table_is_empty(tmp_path: Path) -> None:
    """A file that does not mention us is not even parsed."""
    write(tmp_path, "this is not TOML")
    assert read_project(tmp_path) == Project()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.kina", "is not valid TOML"),
        ("[tool]\nkina = 3", "tool.kina in {}: expected a table, got 3"),
        ("[tool.kina]\nversio = '1'", "[tool.kina] versio in {}: no such key; did you mean 'version'?"),
        ("[tool.kina]\nplan = true", "[tool.kina] plan in {}: no such key"),
        ("[tool.kina]\nclusters = 3", "[tool.kina] clusters in {}: expected one table per name"),
        ("[tool.kina.clusters]\neast = 3", "[tool.kina] clusters in {}: expected one table per name"),
        ("[tool.kina]\nalerts = [3]", "[tool.kina] alerts in {}: expected tables"),
    ],
)
def test_wrong_project_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """A project file that cannot be understood is an error with its path."""
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        for_command({}, tmp_path)
    assert said.format(path) in str(caught.value)


def test_an_unknown_key_hides_no_other_mistake(tmp_path: Path) -> None:
    """Unknown keys, tables that are none and wrong values are named in one error, with one next step."""
    write(tmp_path, "[tool.kina]\nversio = '1'\ncolour = 2\nclusters = 3\nalerts = 4\nttl = 'soon'")
    with pytest.raises(SettingsError) as caught:
        for_command({"keep": "some"}, tmp_path)
    for place in ("versio in", "colour in", "clusters in", "alerts in", "ttl in", "--kina-keep"):
        assert place in str(caught.value)
    assert caught.value.next_step == "correct them"


def test_commands_resolve_without_pytest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command reads its arguments, the environment and ``[tool.kina]`` of where it runs."""
    write(tmp_path, '[tool.kina]\nttl = "5m"\nkeep = "failed"\nhome = "state"')
    monkeypatch.delenv("KINA_HOME")
    monkeypatch.setenv("KINA_KEEP", "always")
    (tmp_path / "inner").mkdir()
    got = for_command({"pool_size": "2", "ttl": None}, tmp_path / "inner")
    assert (got.pool_size, got.ttl, got.keep, got.home) == (2, 300.0, "always", tmp_path / "state")
