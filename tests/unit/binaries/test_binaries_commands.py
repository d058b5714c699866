"""``pytest-kina binaries``: what it prints, and its exit codes."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.binaries import commands
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.store import Entry, Store
from pytest_kina.settings import for_command
from tests.support.release_server import ReleaseServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the executables are made for Linux")

Run = Callable[..., tuple[int, str, str]]
Make = Callable[[str, str], Entry]


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command; returns exit code, output and error output."""

    def run(*words: str, root: Path = root) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser(prog="pytest-kina")
        commands.add_parser(parser.add_subparsers(dest="command"))
        settings = for_command({"home": str(root)}, root.parent)
        code = commands.run(parser.parse_args(["binaries", *words]), settings)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def parsed(answer: tuple[int, str, str]) -> Any:
    """The JSON document of a successful command."""
    assert answer[0] == 0, answer
    return json.loads(answer[1])


def test_list_of_an_empty_store_says_how_to_fill_it(run: Run) -> None:
    """An empty store is no error, and the answer has the next step."""
    code, out, _ = run("list")
    assert code == 0
    assert "is empty; `pytest-kina binaries get` fills it" in out


def test_list_shows_complete_and_damaged_entries(run: Run, stored: Make, store: Store) -> None:
    """Each entry is listed with its state, size and source; what is no entry is shown as damaged."""
    entry = stored("kwok", "0.8.0")
    (stored("etcd", "3.6.16").directory / Entry.FILE).unlink()
    (store.directory / "notes").mkdir()
    document = parsed(run("list", "--json"))
    rows = {row["name"]: row for row in document["entries"]}
    assert rows[entry.name]["state"] == "complete"
    assert rows[entry.name]["size"] == entry.size
    assert rows[entry.name]["files"] == {"kwok": entry.digest("kwok")}
    assert rows["notes"]["state"] == "damaged"
    assert [row["state"] for row in document["entries"]] == ["damaged", "complete", "damaged"]
    assert document["known"]["1.36"] == "v1.36.3"
    assert "the test" in run("list")[1]


def test_get_fetches_and_prints_paths(run: Run, release_server: ReleaseServer, here: Platform) -> None:
    """``get`` obtains what is named, tells its progress on the error output, and prints the paths."""
    release_server.publish_kwok("v0.8.0", here.arch)
    code, out, err = run("get", "kwok", "--mirror", release_server.url)
    assert code == 0
    name, path = out.split()
    assert name == "kwok"
    assert Path(path).is_file()
    assert f"downloading {release_server.url}" in err


def test_get_as_json(run: Run, stored: Make) -> None:
    """With --json paths, versions, digests and sources are one document."""
    entry = stored("kwok", "0.8.0")
    assert parsed(run("get", "kwok", "--offline", "--json")) == {
        "paths": {"kwok": str(entry.path("kwok"))},
        "versions": {"kwok": "v0.8.0"},
        "digests": {"kwok": entry.digest("kwok")},
        "sources": {"kwok": "store"},
    }


def test_get_from_a_named_directory(run: Run, program: Callable[..., Path], tmp_path: Path) -> None:
    """--assets names a directory that comes first."""
    path = program(tmp_path / "mine", "kwok", "v0.9.9")
    document = parsed(run("get", "kwok", "--assets", str(tmp_path / "mine"), "--json"))
    assert document["paths"] == {"kwok": str(path)}


def test_get_from_the_variable_says_so(
    run: Run, program: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found in a directory of ``KINA_ASSETS`` has that source, since no option was given."""
    program(tmp_path / "mine", "kwok", "v0.9.9")
    monkeypatch.setenv("KINA_ASSETS", str(tmp_path / "mine"))
    assert parsed(run("get", "kwok", "--json"))["sources"] == {"kwok": "KINA_ASSETS"}


def test_failure_has_exit_code_one_and_the_reason(run: Run) -> None:
    """What cannot be obtained ends with 1; the reason is on the error output, or in the JSON document."""
    code, out, err = run("get", "kwok", "--offline")
    assert (code, out) == (1, "")
    assert err.startswith("pytest-kina binaries get: kwok v0.8.0 for ")
    code, out, err = run("get", "kwok", "--offline", "--json")
    assert (code, err) == (1, "")
    assert "offline mode is on" in json.loads(out)["error"]


@pytest.mark.parametrize(
    "words", [["get", "--version", "latest"], ["path", "kubelet"], ["path"], [], ["bundle"], ["fetch"]]
)
def test_wrong_usage_has_exit_code_two(run: Run, words: list[str]) -> None:
    """A wrong version, component or action is a usage error."""
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2


def test_path_prints_one_line_and_never_fetches(
    run: Run, stored: Make, release_server: ReleaseServer, here: Platform
) -> None:
    """``path`` prints the path alone, for use in scripts, and fails when the component is not on this machine."""
    entry = stored("kubernetes", "1.36.3")
    assert run("path", "kube-scheduler") == (0, f"{entry.path('kube-scheduler')}\n", "")
    assert run("path", "kwok")[0] == 1


def test_bundle_and_import(run: Run, stored: Make, tmp_path: Path) -> None:
    """A bundle of a version holds what a cluster of it needs, with kubectl if it is there, and can be imported."""
    for family, version in {"kubernetes": "1.36.3", "etcd": "3.6.16", "kwok": "0.8.0", "kubectl": "1.36.3"}.items():
        stored(family, version)
    stored("kubernetes", "1.35.4")
    bundled = parsed(run("bundle", str(tmp_path / "b.tar"), "--json"))["entries"]
    assert [name.split("-")[0] for name in bundled] == ["etcd", "kubernetes", "kwok", "kubectl"]
    elsewhere = tmp_path / "elsewhere"
    assert parsed(run("import", str(tmp_path / "b.tar"), "--json", root=elsewhere))["entries"] == sorted(bundled)
    assert parsed(run("get", "--offline", "--json", root=elsewhere))["versions"]["kubernetes"] == "v1.36.3"


def test_bundle_of_several_versions_has_each_entry_once(run: Run, stored: Make, tmp_path: Path) -> None:
    """Versions that share etcd and kwok share them in the bundle."""
    for family, version in (("kubernetes", "1.36.3"), ("kubernetes", "1.33.2"), ("etcd", "3.6.16"), ("kwok", "0.8.0")):
        stored(family, version)
    words = ["bundle", str(tmp_path / "b.tar"), "--version", "1.36", "--version", "1.33", "--json"]
    families = [name.rsplit("-", 2)[0] for name in parsed(run(*words))["entries"]]
    assert families == ["etcd-v3.6.16", "kubernetes-v1.36.3", "kwok-v0.8.0", "kubernetes-v1.33.2"]


def test_bundle_of_what_is_not_there_says_how_to_get_it(run: Run, tmp_path: Path) -> None:
    """A version that is not in the store is named with the command that fetches it, and no file is left."""
    code, _, err = run("bundle", str(tmp_path / "b.tar"), "--version", "1.35")
    assert code == 1
    assert "Next step: run `pytest-kina binaries get --version 1.35`" in err
    assert not (tmp_path / "b.tar").exists()


@pytest.mark.parametrize(("name", "problem"), [("none.tar", "No such file or directory"), ("", "Is a directory")])
def test_import_of_no_file_says_what_was_expected(run: Run, tmp_path: Path, name: str, problem: str) -> None:
    """What is missing or no file is an error with its name, what was expected, and the next step."""
    code, _, err = run("import", str(tmp_path / name))
    assert code == 1
    assert f"{tmp_path / name} cannot be read ({problem}); expected what `pytest-kina binaries bundle` writes" in err
    assert "Next step: run `pytest-kina binaries bundle FILE` on a machine that has the binaries" in err
    assert "[Errno" not in err


def test_prune_keeps_what_the_table_leads_to(run: Run, stored: Make, store: Store) -> None:
    """Superseded patches, damaged entries and leftovers go; current ones stay; a dry run only tells."""
    kept = stored("kubernetes", "1.36.3")
    superseded = stored("kubernetes", "1.36.1")
    damaged = stored("etcd", "3.6.16")
    damaged.path("etcd").unlink()
    (store.directory / f".tmp-{kept.name}-12345678").mkdir()
    expected = sorted([damaged.name, superseded.name])
    assert parsed(run("prune", "--dry-run", "--json"))["removed"] == expected
    assert superseded.directory.exists()
    assert parsed(run("prune", "--json"))["removed"] == expected
    assert store.directories() == [kept.directory]
    assert list(store.directory.glob(".tmp-*")) == []
    assert run("prune")[1] == "nothing to remove\n"


def test_prune_all_empties_the_store(run: Run, stored: Make, store: Store) -> None:
    """--all removes also what is current, and the Go toolchains that builds have installed."""
    stored("kwok", "0.8.0")
    toolchain = store.directory.parent / "go-toolchain-1.26"
    (toolchain / "bin").mkdir(parents=True)
    assert run("prune")[0] == 0
    assert toolchain.exists()
    assert run("prune", "--all")[0] == 0
    assert store.directories() == []
    assert store.toolchains() == []


@pytest.mark.parametrize("how", [(), ("--all",)])
def test_prune_leaves_a_newer_version_alone(run: Run, stored: Make, store: Store, how: tuple[str, ...]) -> None:
    """What a later schema describes may be in use by whoever wrote it, also when everything is to go."""
    newer = stored("kwok", "0.8.0")
    (newer.directory / Entry.FILE).write_text('{"schema": 99}')
    assert parsed(run("prune", *how, "--json"))["removed"] == []
    assert store.directories() == [newer.directory]


def test_settings_decide_what_the_command_line_leaves_open(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """``KINA_OFFLINE`` and the project's ``[tool.kina]`` count for ``binaries get`` as they do for a test run."""
    monkeypatch.setenv("KINA_OFFLINE", "true")
    code, _, error = run("get", "kwok")
    assert code == 1
    assert "offline" in error
