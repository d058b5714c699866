"""Asking executables for their versions, with real ones."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_kina.binaries.inspection import Inspector, printed_version, verify
from pytest_kina.binaries.platforms import Platform
from pytest_kina.binaries.releases import Version
from pytest_kina.errors import BinaryError

Put = Callable[[Path, str, str], Path]


def script(path: Path, body: str) -> Path:
    """A shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("component", ["kube-apiserver", "kubectl", "etcd", "etcdutl", "kwok"])
def test_version_is_read_from_the_output(tmp_path: Path, program: Put, component: str) -> None:
    """Each component's own wording is understood."""
    assert printed_version(component, program(tmp_path, component, "v3.6.16")) == Version(3, 6, 16)


@pytest.mark.parametrize("text", ["v1.31.2-eks-7f9249a", "v1.30.4+k3s1", "v1.32.4-dispatcher"])
def test_a_vendors_build_counts_as_its_release(tmp_path: Path, text: str) -> None:
    """A vendor's suffix does not hide the version, and a later line is not taken for it."""
    path = script(tmp_path / "kubectl", f"echo 'Client Version: {text}'; echo 'Kustomize Version: v5.5.0'")
    assert str(printed_version("kubectl", path)) == text[:7]


@pytest.mark.parametrize("output", ["Kubernetes v1.37.0-rc.1", "Kubernetes v1.36.0-alpha.2.14+abc", "unknown", ""])
def test_an_unreleased_version_is_refused(tmp_path: Path, output: str) -> None:
    """A pre-release and a program that prints something else are refused with what they printed."""
    with pytest.raises(
        BinaryError, match=f"prints no released version: {output.split('+', maxsplit=1)[0] or 'nothing'}"
    ):
        printed_version("kube-apiserver", script(tmp_path / "kube-apiserver", f"echo '{output}'"))


def test_a_program_that_fails_is_refused_with_its_words(tmp_path: Path) -> None:
    """The error of a program that cannot even tell its version has what it printed."""
    with pytest.raises(BinaryError, match=r"does not tell its version: .*exited with 3(.|\n)*no such library"):
        printed_version("etcd", script(tmp_path / "etcd", "echo 'no such library' >&2; exit 3"))


def test_answer_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    """An unchanged file is run once; after a change it is run again."""
    runs = tmp_path / "runs"
    path = script(tmp_path / "etcd", f"echo x >> {runs}; echo etcd Version: 3.5.0")
    inspector = Inspector(tmp_path / "memory")
    first = inspector.inspect("etcd", path)
    assert Inspector(tmp_path / "memory").inspect("etcd", path) == first
    assert runs.read_text() == "x\n"
    script(path, f"echo x >> {runs}; echo etcd Version: 3.6.16")
    assert inspector.inspect("etcd", path).version == Version(3, 6, 16)
    assert runs.read_text() == "x\nx\n"


def test_a_link_that_leads_elsewhere_is_asked_again(tmp_path: Path, program: Put) -> None:
    """Memory belongs to the file, not to the link that leads to it."""
    link = tmp_path / "etcd"
    inspector = Inspector(tmp_path / "memory")
    link.symlink_to(program(tmp_path / "old", "etcd", "3.5.0"))
    assert inspector.inspect("etcd", link).version == Version(3, 5, 0)
    os.replace(_link(tmp_path / "new-link", program(tmp_path / "new", "etcd", "3.6.0")), link)
    assert inspector.inspect("etcd", link).version == Version(3, 6, 0)


def _link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path


def test_verify_accepts_what_it_should_be(tmp_path: Path, program: Put, here: Platform) -> None:
    """A directory with all executables of a family in the right version passes, and they are executable then."""
    for component in ("etcd", "etcdutl"):
        program(tmp_path, component, "3.6.16").chmod(0o600)
    verify(tmp_path, "etcd", Version(3, 6, 16), here)
    assert os.access(tmp_path / "etcd", os.X_OK)


def test_verify_names_the_one_with_another_version(tmp_path: Path, program: Put, here: Platform) -> None:
    """An executable of another version than the release's is named with both."""
    program(tmp_path, "etcd", "3.6.16")
    program(tmp_path, "etcdutl", "3.6.15")
    with pytest.raises(BinaryError, match=r"etcdutl says that it is v3\.6\.15, expected v3\.6\.16"):
        verify(tmp_path, "etcd", Version(3, 6, 16), here)


def test_verify_refuses_scripts(tmp_path: Path, here: Platform) -> None:
    """A release is an executable; a script in its place is refused without running it."""
    script(tmp_path / "kwok", f"touch {tmp_path / 'ran'}; echo kwok version v0.8.0")
    with pytest.raises(BinaryError, match="is a script"):
        verify(tmp_path, "kwok", Version(0, 8, 0), here)
    assert not (tmp_path / "ran").exists()
