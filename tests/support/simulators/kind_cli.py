"""``kind`` 0.31 (the contract's rows K…; sources: kind's ``pkg/cmd/kind`` and ``pkg/cluster``)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import control_plane
import docker_cli
from state import Failed, Refused, State, complain, free_port, options, say

_LABEL = "io.x-k8s.kind.cluster"
_PATCHES = {"kubeadmConfigPatches", "kubeadmConfigPatchesJSON6902"}
_KEYS = _PATCHES | {
    *("kind", "apiVersion", "name", "nodes", "networking", "featureGates", "runtimeConfig"),
    *("containerdConfigPatches", "containerdConfigPatchesJSON6902"),
}
_NODE_KEYS = _PATCHES | {"role", "image", "labels", "extraMounts", "extraPortMappings"}


FAILURE = "ERROR: "


def run(state: State, line: list[str]) -> int:
    """One command line."""
    if line == ["version"]:
        state.note("kind", line, "K0")
        say(f"kind v{state.settings['kind']} go1.25.5 linux/amd64")
        return 0
    if os.environ.get("KIND_EXPERIMENTAL_PROVIDER") not in ("docker", "podman", "nerdctl"):
        raise Refused("kind must be told which engine to use", 1)
    commands = {
        "create cluster": _create,
        "delete cluster": _delete,
        "get kubeconfig": _kubeconfig,
        "load image-archive": _load,
    }
    command = " ".join(line[:2])
    if command not in commands:
        raise Refused(f"unknown command {command!r}", 1)
    state.stumble(f"kind {command}")
    return commands[command](state, line)


def _create(state: State, line: list[str]) -> int:
    given, rest = options(
        line[2:], values=("--name", "--image", "--config", "--kubeconfig", "--wait"), switches=("--retain",), code=1
    )
    if rest:
        raise Refused(f'unknown command "{rest[0]}" for "kind create cluster"', 1)
    state.note("kind", line, "K1")
    name = given["--name"][0]
    if _nodes(state, name):
        raise Failed(f'failed to create cluster: node(s) already exist for a cluster with the name "{name}"')
    document = json.loads(Path(given["--config"][0]).read_text())
    declared = _declared(document)
    heads = [f"{name}-control-plane{_nth(number)}" for number in range(1, declared["control-plane"] + 1)]
    workers = [f"{name}-worker{_nth(number)}" for number in range(1, declared["worker"] + 1)]
    nodes = [*heads, *workers]
    for node in nodes:
        role = "worker" if node in workers else "control-plane"
        docker_cli.boot(state, node, given["--image"][0], {_LABEL: name, "io.x-k8s.kind.role": role})
    if len(heads) > 1:
        proxy = f"{name}-external-load-balancer"
        docker_cli.boot(state, proxy, state.settings["haproxy_image"], {_LABEL: name})
    with state.machines() as machines:
        for node in nodes:
            machines[node]["feature_gates"] = document.get("featureGates", {})
            machines[node]["mirrors"] = {}
        for node, entry in zip(nodes, document["nodes"], strict=True):
            for mount in entry.get("extraMounts") or ():
                if mount["containerPath"] == "/etc/containerd/certs.d":
                    found = Path(mount["hostPath"]).glob("*/hosts.toml")
                    machines[node]["mirrors"] |= {path.parent.name: path.read_text() for path in found}
    state.set_version(nodes[0], given["--image"][0])
    state.stumble("kubeadm init")
    control_plane.begin(state, nodes[0], name, address="127.0.0.1", port=free_port())
    for node in nodes[1:]:
        control_plane.join(state, node, name)
    if not workers:
        control_plane.untaint(state, nodes[0])
    control_plane.approve(state, nodes[0])
    _write(state, name, Path(given["--kubeconfig"][0]))
    complain(f'Set kubectl context to "kind-{name}"')
    return 0


def _nth(number: int) -> str:
    return str(number) if number > 1 else ""


def _declared(document: dict[str, Any]) -> dict[str, int]:
    """How many nodes there are to be of each role; what kind's strict decoder does not know is refused."""
    entries = [(document, _KEYS), *((node, _NODE_KEYS) for node in document.get("nodes") or [])]
    for entry, known in entries:
        if unknown := sorted(set(entry) - known):
            raise Failed(f"unable to decode config: yaml: unmarshal errors: field {unknown[0]} not found")
    if document.get("apiVersion") != "kind.x-k8s.io/v1alpha4":
        raise Failed(f"unknown apiVersion: {document.get('apiVersion')}")
    roles = [node.get("role", "control-plane") for node in document.get("nodes") or [{}]]
    if "control-plane" not in roles:
        raise Failed("invalid configuration: must have at least one control-plane node")
    return {role: roles.count(role) for role in ("control-plane", "worker")}


def _text(state: State, name: str) -> str:
    machine = state.machine(f"{name}-control-plane")
    if machine is None:
        raise Failed(
            f"could not locate any control plane nodes for cluster named '{name}'. Use the --name option to select a different cluster"
        )
    text: str = machine["files"]["/etc/kubernetes/admin.conf"]
    return text.replace(f"kubernetes-admin@{name}", f"kind-{name}").replace("kubernetes-admin", f"kind-{name}")


def _write(state: State, name: str, path: Path) -> None:
    path.write_text(_text(state, name))


def _kubeconfig(state: State, line: list[str]) -> int:
    given, _ = options(line[2:], values=("--name",), code=1)
    state.note("kind", line, "K2")
    if (fault := state.fault("kubeconfig")) is not None:
        say(fault["text"])
        return 0
    say(_text(state, given["--name"][0]).rstrip())
    return 0


def _delete(state: State, line: list[str]) -> int:
    given, _ = options(line[2:], values=("--name", "--kubeconfig"), code=1)
    state.note("kind", line, "K3")
    name = given["--name"][0]
    complain(f'Deleting cluster "{name}" ...')
    nodes = _nodes(state, name)
    for node in nodes:
        docker_cli.remove(state, node)
    Path(given["--kubeconfig"][0]).unlink(missing_ok=True)
    if nodes:
        complain(f"Deleted nodes: {json.dumps(nodes)}")
    return 0


def _load(state: State, line: list[str]) -> int:
    given, rest = options(line[2:], values=("--name",), code=1)
    state.note("kind", line, "K4")
    nodes = _nodes(state, given["--name"][0])
    if not nodes:
        raise Failed(f'no nodes found for cluster "{given["--name"][0]}"')
    for node in nodes:
        if not state.fault("lost load"):
            docker_cli.load(state, node, rest[0])
    return 0


def _nodes(state: State, name: str) -> list[str]:
    with state.machines() as machines:
        return [machine["name"] for machine in machines.values() if machine["labels"].get(_LABEL) == name]
