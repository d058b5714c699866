"""Binaries from a release server on loopback, one family built by a go that copies: a whole store, twice."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pytest_kina.binaries import Assets, obtain
from pytest_kina.binaries.platforms import current
from pytest_kina.progress import silent
from tests.support.release_server import ReleaseServer, executable, serving

_GO = """#!/bin/sh
case "$1 $2" in
  "env GOVERSION") echo go1.26.9 ;;
  "mod download") echo '{{"Info": "{notes}/info", "GoMod": "{notes}/go.mod"}}' ;;
  "mod edit") echo '{{"Go": "1.26.0"}}' ;;
  "list -mod=mod") echo one; echo two; echo sum > go.sum ;;
  *) for last; do case "$last" in -o=*) out="${{last#-o=}}" ;; esac; done; /bin/cp {notes}/program "$out" ;;
esac
"""


def download_and_build(root: Path) -> None:
    """Obtain everything, damage two entries, obtain everything again; go on after each error."""
    _one_machine(root)
    with serving() as server:
        _publish(server)
        with suppress(Exception):
            obtain_all(root, server)
        for damaged in root.glob("binaries/[ke]*-v*/[ke]*"):
            damaged.write_bytes(b"damaged")
        with suppress(Exception):
            obtain_all(root, server)


def obtain_again(root: Path) -> Assets:
    """What the next process on that machine gets. Raises :class:`BinaryError`."""
    with serving() as server:
        _publish(server)
        return obtain_all(root, server)


def obtain_all(root: Path, server: ReleaseServer) -> Assets:
    """Etcd by download, kwok by building. Raises :class:`BinaryError`."""
    return obtain("1.36", ["etcd", "kwok"], root=root, offline=False, mirror=server.url, progress=silent)


def programs(root: Path) -> Path:
    """The only directory on the search path of that machine."""
    return root / "path"


def _one_machine(root: Path) -> None:
    notes, path = root / "notes", programs(root)
    for directory in (root, notes, path):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (notes / "info").write_text('{"Version": "v0.8.0", "Time": "2026-06-23T03:27:00Z"}', encoding="utf-8")
    (notes / "program").write_bytes(executable("kwok version v0.8.0\n", current().arch))
    (path / "go").write_text(_GO.format(notes=notes), encoding="utf-8")
    (path / "go").chmod(0o755)
    for name in ("KINA_ASSETS", "KUBEBUILDER_ASSETS", "http_proxy", "HTTP_PROXY"):
        os.environ.pop(name, None)
    os.environ |= {"PATH": str(path), "HOME": str(root / "home"), "XDG_DATA_HOME": str(root / "home")}


def _publish(server: ReleaseServer) -> None:
    server.publish_etcd("v3.6.16", current().arch)
