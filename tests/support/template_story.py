"""A template made of a real etcd where an unusable one is in the way: what the creator of a cluster does with it."""

from __future__ import annotations

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path

from pytest_kina.providers.embedded import templates
from pytest_kina.providers.embedded.layout import Layout
from pytest_kina.providers.embedded.sockets import SocketProbe
from pytest_kina.spec import ClusterSpec
from pytest_kina.waiting import Deadline

ETCD = "KINA_STORY_ETCD"
"""The environment variable that names the directory of a running cluster of ``etcd_provider``."""

_KEY = "0123456789abcdef"


def keep_templates(root: Path) -> None:
    """Find half a template, and make a whole one in its place."""
    wreck = store(root) / _KEY
    wreck.mkdir(parents=True)
    (wreck / "template.json").write_text("{", encoding="utf-8")
    with suppress(Exception):
        keep(root)


def keep(root: Path) -> Layout:
    """Make the template as the creator of a new cluster does, in that cluster's directory. Raises what that raises."""
    running, layout = Layout(Path(os.environ[ETCD])), Layout(root / "cluster")
    shutil.rmtree(layout.directory, ignore_errors=True)
    layout.directory.mkdir(mode=0o700, parents=True)
    layout.make()
    for name in ("serving-ca.crt", "serving-ca.key"):
        (layout.pki / name).write_text(name, encoding="utf-8")
    etcdutl = shutil.which("etcdutl", path=os.environ["KINA_ASSETS"])
    assert etcdutl, "KINA_ASSETS has etcdutl"
    with closing(SocketProbe(running.etcd_socket)) as probe:
        origin = templates.Origin(
            layout=layout, etcd=probe, etcdutl=Path(etcdutl), uid="u", spec=ClusterSpec(), kubernetes="v1.36.3"
        )
        templates.keep(store(root) / _KEY, origin, Deadline(60.0))
    return layout


def store(root: Path) -> Path:
    """Where the templates are."""
    return root / "templates"
