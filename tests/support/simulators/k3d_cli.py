"""``k3d`` 5.8 (the contract's rows R…; sources: k3d's ``cmd/cluster``, ``cmd/image`` and ``cmd/kubeconfig``)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import control_plane
import docker_cli
from state import Failed, Refused, State, complain, free_port, options, say

_LABEL = "k3d.cluster"
_VALUES = ("--image", "--agents", "--api-port", "--k3s-arg", "--config", "--registry-config")
_KEYS = {"apiVersion", "kind", "servers", "agents", "volumes", "ports", "env", "registries", "options", "files"}
_SWITCHES = ("--no-rollback",)
_SET = ("--kubeconfig-update-default=false", "--kubeconfig-switch-context=false")


FAILURE = "FATA[0000] "


def run(state: State, line: list[str]) -> int:
    """One command line."""
    if line == ["version"]:
        state.note("k3d", line, "R0")
        say(f"k3d version v{state.settings['k3d']}\nk3s version v1.36.1-k3s1 (default)")
        return 0
    Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ["HOME"]) / ".config", "k3d").mkdir(
        parents=True, exist_ok=True
    )
    commands = {
        "cluster create": _create,
        "cluster delete": _delete,
        "kubeconfig get": _kubeconfig,
        "image import": _import,
    }
    command = " ".join(line[:2])
    if command not in commands:
        raise Refused(f"unknown command {command!r}", 1)
    state.stumble(f"k3d {command}")
    return commands[command](state, line)


def _create(state: State, line: list[str]) -> int:
    plain = [word for word in line[2:] if word not in _SET]
    given, names = options(plain, values=_VALUES, switches=("--wait", *_SWITCHES), code=1)
    if len(names) != 1 or len(names[0]) > 32:
        raise Refused("k3d takes one name of at most 32 characters", 1)
    state.note("k3d", line, "R1")
    name, (servers, agents) = names[0], _counts(given)
    if _nodes(state, name):
        raise Failed(f"Failed to create cluster '{name}' because a cluster with that name already exists")
    counts = {"server": servers, "agent": agents}
    nodes = [f"k3d-{name}-{role}-{number}" for role, count in counts.items() for number in range(count)]
    for node in nodes:
        docker_cli.boot(state, node, given["--image"][0], {_LABEL: name, "app": "k3d"})
    state.set_version(nodes[0], given["--image"][0])
    with state.machines() as machines:
        for node in nodes:
            machines[node]["mirrors"] = (
                json.loads(Path(given["--registry-config"][0]).read_text()) if "--registry-config" in given else {}
            )
    for variable, helper in (("K3D_IMAGE_TOOLS", "tools"), ("K3D_IMAGE_LOADBALANCER", "serverlb")):
        image = (
            os.environ.get(variable)
            or f"ghcr.io/k3d-io/k3d-{'proxy' if helper == 'serverlb' else 'tools'}:{state.settings['k3d']}"
        )
        docker_cli.boot(state, f"k3d-{name}-{helper}", image, {_LABEL: name, "app": "k3d"})
    docker_cli.remove(state, f"k3d-{name}-tools")
    host = given["--api-port"][0].partition(":")[0]
    control_plane.begin(state, nodes[0], name, address=host, port=free_port())
    if state.settings["bridged"]:
        control_plane.bridge(state, nodes[0])
    for node in nodes[1:]:
        control_plane.join(state, node, name)
    control_plane.untaint(state, nodes[0])
    control_plane.approve(state, nodes[0])
    complain(f"INFO[0009] Cluster '{name}' created successfully!")
    return 0


def _counts(given: dict[str, list[str]]) -> tuple[int, int]:
    """Servers and agents: from the configuration, unless a flag says otherwise."""
    document: dict[str, Any] = {}
    if "--config" in given:
        path = Path(given["--config"][0])
        if path.suffix not in (".yaml", ".yml"):
            raise Failed(f"Unsupported Config Type {path.suffix!r}")
        document = json.loads(path.read_text())
        if (document.get("apiVersion"), document.get("kind")) != ("k3d.io/v1alpha5", "Simple"):
            raise Failed("Unknown apiVersion or kind in config file")
        if unknown := sorted(set(document) - _KEYS):
            raise Failed(f"Schema Validation failed: Additional property {unknown[0]} is not allowed")
    agents = given["--agents"][0] if "--agents" in given else document.get("agents", 0)
    return int(document.get("servers", 1)), int(agents)


def _kubeconfig(state: State, line: list[str]) -> int:
    state.note("k3d", line, "R2")
    machine = state.machine(f"k3d-{line[2]}-server-0")
    if machine is None:
        raise Failed(f"failed to get cluster '{line[2]}'")
    text: str = machine["files"]["/etc/kubernetes/admin.conf"]
    say(
        text.replace(f"kubernetes-admin@{line[2]}", f"k3d-{line[2]}")
        .replace("kubernetes-admin", f"admin@k3d-{line[2]}")
        .rstrip()
    )
    return 0


def _delete(state: State, line: list[str]) -> int:
    state.note("k3d", line, "R3")
    nodes = _nodes(state, line[2])
    if not nodes:
        complain("INFO[0000] No clusters found")
        return 0
    for node in nodes:
        docker_cli.remove(state, node)
    # It edits the default kubeconfig: that of KUBECONFIG, else the user's own.
    own = Path(os.environ.get("KUBECONFIG") or Path(os.environ["HOME"]) / ".kube" / "config")
    own.write_text("apiVersion: v1\nkind: Config\n")
    return 0


def _import(state: State, line: list[str]) -> int:
    given, paths = options(line[2:], values=("--mode", "--cluster"), code=1)
    state.note("k3d", line, "R4")
    for node in _nodes(state, given["--cluster"][0]):
        if not node.endswith("-serverlb") and not state.fault("lost load"):
            docker_cli.load(state, node, paths[0])
    return 0


def _nodes(state: State, name: str) -> list[str]:
    with state.machines() as machines:
        return [machine["name"] for machine in machines.values() if machine["labels"].get(_LABEL) == name]
