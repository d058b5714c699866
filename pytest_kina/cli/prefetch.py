"""Obtain all that the project's clusters need (binaries, node images, image archives), and make no cluster.

Without arguments: for the default spec and every spec of [tool.kina.clusters]. Run it where there is a network, before
test runs that have none or must not wait.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from pytest_kina.cli.output import say, say_json
from pytest_kina.cli.up import prepared, spec_of
from pytest_kina.images import archives
from pytest_kina.pool import open_root
from pytest_kina.settings import Settings
from pytest_kina.spec import ClusterSpec

HELP = "obtain binaries, node images and image archives beforehand"

_UNASKED = ("profile", "simulated_nodes", "feature_gates", "api_server_args")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument(
        "name", nargs="?", help="a cluster of [tool.kina.clusters] (default: all, and the default spec)"
    )
    command.add_argument("--version", help="Kubernetes version, like 1.36 or 1.36.3")
    command.add_argument("--provider", help="who makes the clusters (default: auto)")
    command.add_argument(
        "--image", action="append", default=[], metavar="IMAGE", help="one more image; may be repeated"
    )
    command.add_argument("--offline", action="store_true", help="never use the network: check what is there")
    command.add_argument("--mirror", metavar="URL", help="where to download binaries from")
    command.add_argument("--assets", metavar="DIRS", help="directories with control-plane binaries, searched first")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print what is at hand then. Raises what preparing raises."""
    open_root(settings.root)
    done = [_fetch(spec, settings) for spec in dict.fromkeys(_specs(chosen, settings))]
    if chosen.json:
        say_json({"prefetched": done})
    else:
        say(line for entry in done for line in _lines(entry))
    return 0


def _specs(chosen: argparse.Namespace, settings: Settings) -> list[ClusterSpec]:
    every = [None, *settings.project.clusters]
    names = [chosen.name] if chosen.name or chosen.version else every
    unasked = dict.fromkeys(_UNASKED)
    found = [spec_of(argparse.Namespace(**{**vars(chosen), **unasked, "name": name}), settings) for name in names]
    return [replace(spec, images=tuple(sorted({*spec.images, *chosen.image}))) for spec in found]


def _fetch(spec: ClusterSpec, settings: Settings) -> dict[str, Any]:
    want = prepared(spec, settings)
    files = archives(want.provider, spec.images)
    images = {image: str(path) for image, path in files.items()}
    return {"provider": want.provider_name, "identity": dict(want.identity), "images": images}


def _lines(entry: dict[str, Any]) -> list[str]:
    identity = entry["identity"]
    rest = sorted(key for key in identity if key not in ("kubernetes", "provider_version"))
    told = [f"  {key}: {identity[key]}" for key in rest]
    return [
        f"{entry['provider']}: Kubernetes {identity.get('kubernetes', '?')}",
        *told,
        *(f"  image {image}: {path}" for image, path in entry["images"].items()),
    ]
