"""Binaries that the user has already, and the order in which they count."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.binaries import Assets, obtain
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import SERVERS
from pytest_kina.binaries.store import Entry
from pytest_kina.errors import BinaryError
from pytest_kina.progress import silent
from pytest_kina.settings import for_command
from tests.support.release_server import PRINTS, executable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the executables are made for Linux")

Put = Callable[[Path, str, str], Path]
Ask = Callable[..., Assets]


@pytest.fixture
def ask(root: Path) -> Ask:
    """Looks on this machine only."""

    def ask(*components: str, version: str = "1.36", explicit: tuple[Path, ...] = ()) -> Assets:
        return obtain(version, components, root=root, offline=True, explicit=explicit, progress=silent)

    return ask


def test_explicit_directory_comes_first(
    ask: Ask, program: Put, tmp_path: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An explicit directory wins over the variables, and those over the search path."""
    monkeypatch.setenv("KINA_ASSETS", str(tmp_path / "variable"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "envtest"))
    places = ("explicit", "variable", "envtest", bare_machine.name)
    for path in [program(tmp_path / place, "kwok", "v0.8.0") for place in places]:
        assert ask("kwok", explicit=(tmp_path / "explicit",)).paths == {"kwok": path}
        path.unlink()


def test_assets_say_version_digest_and_source(ask: Ask, program: Put, tmp_path: Path) -> None:
    """What is found comes with its version, the SHA-256 of each executable, and where it was."""
    program(tmp_path, "etcd", "3.5.21")
    program(tmp_path, "kube-apiserver", "v1.36.1")
    assets = ask("etcd", "kube-apiserver", explicit=(tmp_path,))
    assert assets.versions == {"etcd": "v3.5.21", "kubernetes": "v1.36.1"}
    assert assets.sources == {"etcd": "explicit option", "kubernetes": "explicit option"}
    assert {len(digest) for digest in assets.digests.values()} == {64}
    assert len(set(assets.digests.values())) == 2


def test_directory_with_another_minor_is_passed_over(
    ask: Ask, program: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several directories the first with the right minor is used."""
    program(tmp_path / "old", "kube-apiserver", "v1.35.4")
    right = program(tmp_path / "new", "kube-apiserver", "v1.36.0")
    monkeypatch.setenv("KINA_ASSETS", os.pathsep.join([str(tmp_path / "old"), str(tmp_path / "new")]))
    assert ask("kube-apiserver").paths == {"kube-apiserver": right}


def test_wrong_version_everywhere_lists_every_place(
    ask: Ask, program: Put, tmp_path: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing fits, each place is listed with what it has and what was expected."""
    program(tmp_path / "explicit", "kube-apiserver", "v1.35.4")
    program(tmp_path / "assets", "kube-apiserver", "v1.34.4")
    program(bare_machine, "kube-apiserver", "v1.33.1")
    monkeypatch.setenv("KINA_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "missing"))
    with pytest.raises(BinaryError) as caught:
        ask("kube-apiserver", explicit=(tmp_path / "explicit",))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("kubernetes v1.36.3 for linux/")
    assert lines[1] == f"  explicit directory {tmp_path / 'explicit'}: kube-apiserver has v1.35.4, expected 1.36"
    assert lines[2] == f"  KINA_ASSETS={tmp_path / 'assets'}: kube-apiserver has v1.34.4, expected 1.36"
    assert lines[3] == f"  KUBEBUILDER_ASSETS={tmp_path / 'missing'}: there is no such directory"
    assert "  PATH: kube-apiserver has v1.33.1, expected 1.36" in lines
    assert caught.value.next_step


@pytest.mark.parametrize("form", ["absolute", "relative", "of the home"])
def test_directory_of_the_variable_has_its_name_also_when_it_is_handed_over(
    ask: Ask, program: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The settings hand over what ``KINA_ASSETS`` says: it is called that, and listed once."""
    directory = tmp_path / "home" / "assets"
    written = {"absolute": str(directory), "relative": "home/assets", "of the home": "~/assets"}[form]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KINA_ASSETS", written)
    handed_over = for_command({}, tmp_path).assets
    with pytest.raises(BinaryError) as caught:
        ask("kwok", explicit=(tmp_path / "option", *handed_over))
    assert [place for place, _ in caught.value.details["reasons"]][:3] == [
        f"explicit directory {tmp_path / 'option'}",
        f"KINA_ASSETS={directory}",
        "TEST_ASSET_*",
    ]
    path = program(directory, "kwok", "v0.8.0")
    assets = ask("kwok", explicit=handed_over)
    assert (assets.sources, assets.paths) == ({"kwok": "KINA_ASSETS"}, {"kwok": path})


def test_family_is_never_mixed(ask: Ask, program: Put, tmp_path: Path, stored: Callable[[str, str], Entry]) -> None:
    """A directory without the controller-manager does not lend its API server to the store's."""
    entry = stored("kubernetes", "1.36.3")
    program(tmp_path, "kube-apiserver", "v1.36.1")
    assets = ask(*SERVERS, explicit=(tmp_path,))
    assert assets.paths == {name: entry.path(name) for name in SERVERS}
    assert ask("kube-apiserver", explicit=(tmp_path,)).versions == {"kubernetes": "v1.36.1"}


def test_mixed_versions_in_one_directory_are_refused(ask: Ask, program: Put, tmp_path: Path) -> None:
    """Servers of two patches do not make a control plane."""
    program(tmp_path, "kube-apiserver", "v1.36.1")
    program(tmp_path, "kube-scheduler", "v1.36.2")
    with pytest.raises(BinaryError, match=r"versions are mixed: kube-apiserver v1\.36\.1, kube-scheduler v1\.36\.2"):
        ask("kube-apiserver", "kube-scheduler", explicit=(tmp_path,))


def test_binary_of_another_processor_is_never_run(ask: Ask, tmp_path: Path, here: Platform) -> None:
    """An executable for another processor is refused by its header."""
    other = "arm64" if here.arch == "amd64" else "amd64"
    (tmp_path / "kwok").write_bytes(executable(PRINTS["kwok"].format("v0.8.0"), other))
    (tmp_path / "kwok").chmod(0o755)
    with pytest.raises(BinaryError, match=f"is made for linux/{other}, this machine is {here}"):
        ask("kwok", explicit=(tmp_path,))


def test_single_assets_by_variable(ask: Ask, program: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Envtest's variables for single executables are understood, whatever the files are called."""
    path = program(tmp_path, "etcd", "3.6.1").rename(tmp_path / "my-etcd")
    monkeypatch.setenv("TEST_ASSET_ETCD", str(path))
    assert ask("etcd").paths == {"etcd": path}
    path.unlink()
    with pytest.raises(BinaryError, match=r"TEST_ASSET_\*: .*my-etcd does not exist"):
        ask("etcd")


def test_newest_fitting_version_of_envtests_store(
    ask: Ask, program: Put, tmp_path: Path, here: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setup-envtest's store is read, the newest patch of the minor first, and never written to."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    base = tmp_path / "data" / "kubebuilder-envtest" / "k8s"
    for version in ("1.36.9", "1.36.10", "1.35.12"):
        program(base / f"{version}-{here.suffix}", "kube-apiserver", f"v{version}")
    before = sorted(base.rglob("*"))
    assert ask("kube-apiserver").versions == {"kubernetes": "v1.36.10"}
    assert ask("kube-apiserver", version="1.35").versions == {"kubernetes": "v1.35.12"}
    assert ask("kube-apiserver", version="1.36.9").versions == {"kubernetes": "v1.36.9"}
    assert sorted(base.rglob("*")) == before


def test_store_comes_before_the_search_path(
    ask: Ask, program: Put, bare_machine: Path, stored: Callable[[str, str], Entry]
) -> None:
    """What we verified is preferred to what happens to be installed."""
    program(bare_machine, "kwok", "v0.9.0")
    assert ask("kwok").sources == {"kwok": "PATH"}
    stored("kwok", "0.8.0")
    assert ask("kwok").sources == {"kwok": "store"}


def test_a_directory_in_the_place_of_a_program_is_passed_over(ask: Ask, tmp_path: Path) -> None:
    """A directory called like a component is not one."""
    (tmp_path / "kwok").mkdir()
    with pytest.raises(BinaryError, match=f"explicit directory {tmp_path}: has no kwok"):
        ask("kwok", explicit=(tmp_path,))
