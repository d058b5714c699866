"""Kubeconfigs: reading the one private file of a cluster, and writing one for another user of it.

Only the file that is named is read; ``KUBECONFIG`` and the one in the home directory never are. The official client
wants certificates as files and would put inline ones into the shared temp directory, in a table that outlives the
cluster; so they are written here, into the cluster's own directory, named by their content.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_kina.errors import StateError
from pytest_kina.files import write_atomic
from pytest_kina.retries import note

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_ATTEMPTS = 5
_LONGEST_PAUSE = 5.0
_INLINE = ("certificate-authority", "client-certificate", "client-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """The current context of a kubeconfig: its name, and the entries of its cluster and its user.

    The entries hold keys, so no representation shows them: a traceback with local variables would print it.
    """

    path: Path
    context: str
    namespace: str | None
    user_name: str
    cluster: Mapping[str, Any] = field(repr=False)
    user: Mapping[str, Any] = field(repr=False)


def read(path: Path) -> Kubeconfig:
    """The current context of the file ``path``. Raises :class:`StateError` when there is none, or no such file."""
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
        contexts = {entry["name"]: entry["context"] for entry in document["contexts"]}
        name = document.get("current-context") or next(iter(contexts))
        context = contexts[name]
        clusters = {entry["name"]: entry["cluster"] for entry in document["clusters"]}
        users = {entry["name"]: entry.get("user") or {} for entry in document["users"]}
        return Kubeconfig(
            path=path,
            context=name,
            namespace=context.get("namespace"),
            user_name=context["user"],
            cluster=clusters[context["cluster"]],
            user=users[context["user"]],
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise StateError(
            f"{path} is not a kubeconfig with a current context: {error!r}",
            next_step="delete the cluster (`pytest-kina down`) and let the next run make a new one",
            path=path,
        ) from error


def new_client(config: Kubeconfig, private: Path) -> ApiClient:
    """An official client for ``config``, with a connection pool of its own.

    ``private`` is the directory (made 0700) for certificates that are inline. Answers 429 and 503 that carry a
    ``Retry-After`` (RFC 9110 10.2.3) are retried for every method, since the server says that it has not processed
    the request: up to five times, after at most five seconds each. Nothing else is.
    """
    from kubernetes import client
    from kubernetes import config as loader

    configuration = client.Configuration()
    loader.load_kube_config_from_dict(  # type: ignore[no-untyped-call]
        _with_files(config, private),
        context=config.context,
        client_configuration=configuration,
        persist_config=False,
    )
    configuration.retries = _patience(config.context)
    if _is_loopback(configuration.host):
        configuration.proxy = None  # the client would send even 127.0.0.1 through HTTPS_PROXY
    return client.ApiClient(configuration)


def _patience(context: str) -> Any:
    from urllib3 import Retry

    class Patience(Retry):
        """Takes the server's word for how long to wait, within reason."""

        def get_retry_after(self, response: Any) -> float | None:
            """Seconds until the next attempt; None: at once."""
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, _LONGEST_PAUSE)

        def increment(self, *args: Any, **kwargs: Any) -> Patience:
            """The patience that is left; says that it was needed. Raises urllib3's MaxRetryError."""
            left = super().increment(*args, **kwargs)
            response = kwargs.get("response")
            if response is not None and response.status >= 400:  # the rest are redirects
                note(f"{context}: the API server was too busy ({response.status}), and was asked again as it wished")
            return left

    return Patience(
        total=_ATTEMPTS,
        connect=0,
        read=False,
        other=0,
        allowed_methods=None,
        status_forcelist=(),
        raise_on_status=False,
    )


def with_user(config: Kubeconfig, name: str, certificate: bytes) -> bytes:
    """A kubeconfig for the same cluster in which ``name`` is the user, known by ``certificate`` (PEM with its key)."""
    server = {key: value for key, value in config.cluster.items() if key != "certificate-authority"}
    if "certificate-authority" in config.cluster:
        authority = config.path.parent / config.cluster["certificate-authority"]
        server["certificate-authority-data"] = base64.b64encode(authority.read_bytes()).decode()
    pem = base64.b64encode(certificate).decode()
    context = {"cluster": config.context, "user": name}
    if config.namespace:
        context["namespace"] = config.namespace
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": config.context,
        "contexts": [{"name": config.context, "context": context}],
        "clusters": [{"name": config.context, "cluster": server}],
        "users": [{"name": name, "user": {"client-certificate-data": pem, "client-key-data": pem}}],
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _with_files(config: Kubeconfig, private: Path) -> dict[str, Any]:
    return {
        "current-context": config.context,
        "contexts": [{"name": config.context, "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": _entry(config, config.cluster, private)}],
        "users": [{"name": "it", "user": _entry(config, config.user, private)}],
    }


def _entry(config: Kubeconfig, entry: Mapping[str, Any], private: Path) -> dict[str, Any]:
    changed = dict(entry)
    for key in _INLINE:
        if data := changed.pop(f"{key}-data", None):
            changed[key] = str(_stored(base64.b64decode(data), private))
        elif key in changed:
            changed[key] = str(config.path.parent / changed[key])
    return changed


def _stored(content: bytes, private: Path) -> Path:
    private.mkdir(mode=0o700, exist_ok=True)
    path = private / f"{hashlib.sha256(content).hexdigest()[:16]}.pem"
    if not path.exists():
        write_atomic(path, content)
    return path


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
