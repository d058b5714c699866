"""Which cluster the external provider uses: the one that was named, or none."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_kina.errors import SpecError
from pytest_kina.providers.external import ExternalProvider
from pytest_kina.providers.external.chosen import Chosen
from pytest_kina.spec import ClusterSpec

Write = Callable[..., Path]
DOCUMENT = {
    "current-context": "prod",
    "contexts": [
        {"name": "prod", "context": {"cluster": "p", "user": "p"}},
        {"name": "kind-ci", "context": {"cluster": "c", "user": "u", "namespace": "mine"}},
        {"name": "kind-half", "context": {"cluster": "c", "user": "nobody"}},
    ],
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "pki/ca.crt"}}],
    "users": [{"name": "u", "user": {"tokenFile": "token", "exec": {"command": "bin/login", "args": ["-x"]}}}],
}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A kubeconfig of several clusters, which refers to files beside it."""
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.crt").write_text("CA")
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(DOCUMENT))
    return path


def named(kubeconfig: Path | None, context: str | None = "kind-ci", allow_context: str | None = "kind-*") -> Any:
    """What the user has named."""
    return {"kubeconfig": kubeconfig, "context": context, "allow_context": allow_context}


def test_the_copy_has_one_context_and_needs_no_file_beside_it(kubeconfig: Path) -> None:
    """Certificates are inside, other files are named by their full paths, and the user's namespace is not taken over."""
    copy = json.loads(Chosen(**named(kubeconfig)).copy("kina-a-0-b"))
    assert copy["current-context"] == "kina-a-0-b"
    assert copy["contexts"] == [{"name": "kina-a-0-b", "context": {"cluster": "kina-a-0-b", "user": "u"}}]
    (server,), (user,) = copy["clusters"], copy["users"]
    authority = base64.b64encode(b"CA").decode()
    assert server["cluster"] == {"server": "https://127.0.0.1:1", "certificate-authority-data": authority}
    folder = kubeconfig.parent
    exec_ = {"command": str(folder / "bin" / "login"), "args": ["-x"]}
    assert user["user"] == {"tokenFile": str(folder / "token"), "exec": exec_}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kubeconfig": None, "context": None}, "kubeconfig, context not set"),
        ({"allow_context": None}, "allow_context not set"),
        ({"context": "prod"}, "context 'prod' does not match allow_context 'kind-*'"),
        ({"context": "kind-no"}, "has no context 'kind-no'; it has kind-ci, kind-half, prod"),
        ({"context": "kind-half"}, "has no user 'nobody'; it has u"),
        ({"kubeconfig": Path("missing")}, "missing cannot be read: "),
    ],
)
def test_what_was_not_named_or_allowed_is_not_used(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], problem: str
) -> None:
    """One sentence says what is missing and where to name it; the environment's kubeconfig is no way out."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    why = ExternalProvider(**(named(kubeconfig) | change)).unavailable()
    assert why is not None
    assert problem in why
    assert "\n" not in why
    assert ExternalProvider(**named(kubeconfig)).unavailable() is None
    with pytest.raises(SpecError, match=f"^provider 'external': .*{re.escape(problem)}") as caught:
        ExternalProvider(**(named(kubeconfig) | change)).validate(ClusterSpec())
    assert caught.value.next_step
    ExternalProvider(**named(kubeconfig)).validate(ClusterSpec())


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "contexts: 3", "contexts: [3]"])
def test_what_is_no_kubeconfig_is_named(kubeconfig: Path, content: str) -> None:
    """Whatever the file holds, the sentence names it."""
    kubeconfig.write_text(content)
    assert str(kubeconfig) in str(ExternalProvider(**named(kubeconfig)).unavailable())


def test_a_certificate_that_is_not_there_is_named(kubeconfig: Path) -> None:
    """The path is the one that the kubeconfig means."""
    (kubeconfig.parent / "pki" / "ca.crt").unlink()
    assert f"refers to {kubeconfig.parent / 'pki' / 'ca.crt'}" in str(
        ExternalProvider(**named(kubeconfig)).unavailable()
    )


def test_nothing_of_it_can_be_set() -> None:
    """Options of a provider's own are refused without a look at any file."""
    with pytest.raises(SpecError, match="the external provider has none, got size"):
        ExternalProvider().validate(ClusterSpec(provider_options=(("size", 3),)))
