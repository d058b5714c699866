"""``container k8s`` of Apple's ``container`` 1.2.2 and later (the contract's rows P…)."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import container_cli
import control_plane
from state import Failed, Refused, State, complain, free_port, options, say

_USAGE = 64
_LABELS = ["com.apple.container.plugin=k8s", "com.apple.container.resource.role=control-plane"]


def run(state: State, arguments: Sequence[str]) -> int:
    """One command line after ``container k8s``."""
    if container_cli.version(state) < (1, 2, 1) or not state.settings.get("k8s", True):
        raise Failed("Plugin 'container-k8s' not found.")
    if container_cli.version(state) == (1, 2, 1):
        raise Failed("could not load resource bundle")
    if list(arguments) == ["--help"]:
        state.note("container", ["k8s", *arguments], "P0")
        say("OVERVIEW: Manage local Kubernetes clusters")
        return 0
    commands = {"create": _create, "delete": _delete, "rm": _delete, "write-config": _write_config}
    if not arguments or arguments[0] not in commands:
        raise Refused(f"the contract lists no `k8s {' '.join(arguments)}`", _USAGE)
    state.stumble(f"k8s {arguments[0]}")
    return commands[arguments[0]](state, list(arguments))


def _create(state: State, line: list[str]) -> int:
    given, rest = options(line[1:], values=("--name", "--node-image", "--cpus", "--memory"), code=_USAGE)
    if rest:
        raise Refused("k8s create takes no positional arguments", _USAGE)
    state.note("container", ["k8s", *line], "P1")
    name = given.get("--name", ["k8s-dev"])[0]
    image = given.get("--node-image", ["kindest/node:v1.35.5"])[0]
    labels = {**given, "--label": _LABELS}
    container_cli.launch(state, name, image, labels, unmasked=True, quiet=True)
    state.set_version(name, image)
    port = free_port()
    state.stumble("k8s create, booted")
    control_plane.begin(state, name, name, address="127.0.0.1", port=port)
    control_plane.untaint(state, name)
    control_plane.approve(state, name)
    if state.fault("k8s kubeconfig"):
        complain("warning: failed to write kubeconfig")
    else:
        _merge(
            state, name, Path(os.environ.get("KUBECONFIG") or Path(os.environ["HOME"]) / ".kube" / "config"), use=True
        )
    say(name)
    return 0


def _write_config(state: State, line: list[str]) -> int:
    given, _ = options(line[1:], values=("--name", "--kubeconfig"), code=_USAGE)
    state.note("container", ["k8s", *line], "P2")
    _merge(state, given["--name"][0], Path(given["--kubeconfig"][0]), use=False)
    return 0


def _merge(state: State, name: str, path: Path, *, use: bool) -> None:
    """Written whole, without a lock; only ``create`` sets the current context."""
    machine = state.machine(name)
    if machine is None:
        raise Failed(f"cluster {name} not found")
    text: str = machine["files"]["/etc/kubernetes/admin.conf"]
    text = text.replace(f"kubernetes-admin@{name}", name).replace("kubernetes-admin", name)
    path.write_text(text if use else re.sub(r"^current-context: .*$", 'current-context: ""', text, flags=re.MULTILINE))


def _delete(state: State, line: list[str]) -> int:
    given, _ = options(line[1:], values=("--name",), code=_USAGE)
    state.note("container", ["k8s", *line], "P3")
    name = given.get("--name", ["k8s-dev"])[0]
    machine = state.machine(name)
    if machine is None:
        raise Failed(
            f'internalError: "failed to delete container" (cause: "notFound: container with ID {name} not found")'
        )
    if machine["labels"].get("com.apple.container.plugin") != "k8s":
        raise Failed(f"container {name} is not a k8s cluster")
    control_plane.end(state, name)
    with state.machines() as machines:
        del machines[name]
    Path(os.environ["KUBECONFIG"]).unlink(missing_ok=True)
    say(name)
    return 0
