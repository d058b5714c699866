"""Reading a cluster's kubeconfig, keeping its keys private, and writing one for another user."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from pytest_kina.certificates import Authority
from pytest_kina.cluster import Cluster, kubeconfig
from pytest_kina.errors import StateError


def document(**changes: Any) -> dict[str, Any]:
    """A kubeconfig with two contexts; the second is the current one."""
    return {
        "current-context": "two",
        "contexts": [
            {"name": "one", "context": {"cluster": "one", "user": "one"}},
            {"name": "two", "context": {"cluster": "two", "user": "two", "namespace": "n"}},
        ],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.invalid"}} for name in ("one", "two")],
        "users": [{"name": "one"}, {"name": "two", "user": {"token": "t"}}],
        **changes,
    }


def written(path: Path, content: object) -> Path:
    """The file, as JSON, which is YAML."""
    path.write_text(json.dumps(content))
    return path


def test_current_context_is_read(tmp_path: Path) -> None:
    """Name, namespace, cluster and user belong together; without a current context the first counts."""
    config = kubeconfig.read(written(tmp_path / "a", document()))
    assert (config.context, config.namespace, config.user_name) == ("two", "n", "two")
    assert (config.cluster["server"], config.user) == ("https://two.invalid", {"token": "t"})
    first = kubeconfig.read(written(tmp_path / "b", document(**{"current-context": ""})))
    assert (first.context, first.user) == ("one", {})


def test_a_representation_shows_no_secret(tmp_path: Path) -> None:
    """What a traceback with local variables prints of a kubeconfig is its path and names."""
    users = [{"name": "two", "user": {"token": "s3cret", "client-key-data": "s3cret"}}]
    config = kubeconfig.read(written(tmp_path / "a", document(users=users)))
    assert config.user["token"] == "s3cret"
    assert "s3cret" not in repr(config)
    assert str(tmp_path / "a") in repr(config)


@pytest.mark.parametrize(
    "content",
    [[], {}, "text", document(contexts=[]), document(clusters=[]), document(users=None)],
    ids=["list", "empty", "text", "no context", "no cluster", "no user"],
)
def test_what_is_no_kubeconfig_is_named(tmp_path: Path, content: object) -> None:
    """The error has the path and a next step."""
    path = written(tmp_path / "kubeconfig", content)
    with pytest.raises(StateError, match=r"kubeconfig is not a kubeconfig with a current context") as caught:
        kubeconfig.read(path)
    assert caught.value.next_step


def test_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    """A cluster that was deleted meanwhile has none."""
    with pytest.raises(StateError, match="FileNotFoundError"):
        kubeconfig.read(tmp_path / "gone")


def test_other_kubeconfigs_and_proxies_are_ignored(fake_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither KUBECONFIG nor a proxy for everything can send a test's requests anywhere else."""
    monkeypatch.setenv("KUBECONFIG", "/production")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    configuration = fake_cluster.client().configuration
    assert configuration.host.startswith("http://127.0.0.1:")
    assert configuration.proxy is None


def test_inline_certificates_stay_in_the_private_directory(tmp_path: Path) -> None:
    """They are written once, by content, readable by us only, and nothing goes to the shared temp directory."""
    pair = Authority.create(tmp_path, "ca").issue("jane")
    inline = base64.b64encode(pair).decode()
    authority = base64.b64encode((tmp_path / "ca.crt").read_bytes()).decode()
    config = kubeconfig.read(
        written(
            tmp_path / "kubeconfig",
            document(
                clusters=[
                    {"name": "two", "cluster": {"server": "https://two", "certificate-authority-data": authority}}
                ],
                users=[{"name": "two", "user": {"client-certificate-data": inline, "client-key-data": inline}}],
            ),
        )
    )
    private = tmp_path / "client"
    files = [kubeconfig.new_client(config, private).configuration.cert_file for _ in range(2)]
    assert files[0] == files[1]
    assert Path(files[0]).read_bytes() == pair
    assert {stat.S_IMODE(path.stat().st_mode) for path in private.iterdir()} == {0o600}
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert len(list(private.iterdir())) == 2


def test_relative_certificates_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    """A path in a kubeconfig counts from the file, not from the working directory."""
    Authority.create(tmp_path, "ca").client(tmp_path, "jane", "jane")
    user = {"client-certificate": "jane.crt", "client-key": "jane.key"}
    config = kubeconfig.read(written(tmp_path / "kubeconfig", document(users=[{"name": "two", "user": user}])))
    client = kubeconfig.new_client(config, tmp_path / "client")
    assert client.configuration.cert_file == str(tmp_path / "jane.crt")
    assert not (tmp_path / "client").exists()


def test_kubeconfig_for_a_user_stands_alone(tmp_path: Path) -> None:
    """It has the same server and CA (inline, even if the original names a file), the user, and nothing of ours."""
    (tmp_path / "ca.crt").write_bytes(b"authority")
    cluster = {"server": "https://two", "certificate-authority": "ca.crt"}
    admin = kubeconfig.read(written(tmp_path / "admin", document(clusters=[{"name": "two", "cluster": cluster}])))
    path = tmp_path / "jane"
    path.write_bytes(kubeconfig.with_user(admin, "jane", b"certificate and key"))
    jane = kubeconfig.read(path)
    assert (jane.context, jane.namespace, jane.user_name) == ("two", "n", "jane")
    assert jane.cluster["server"] == "https://two"
    assert base64.b64decode(jane.cluster["certificate-authority-data"]) == b"authority"
    assert base64.b64decode(jane.user["client-key-data"]) == b"certificate and key"
    assert "token" not in path.read_text()
