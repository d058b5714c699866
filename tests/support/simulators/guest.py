"""What is inside a machine: the programs of a kindest/node image that kina, or we, run there (the contract's rows E…)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import control_plane
from state import Failed, Refused, State, complain, say

Machine = dict[str, Any]
Act = Callable[[State, Machine, Sequence[str], bytes], int]

ADMIN = "/etc/kubernetes/admin.conf"
_KUBEADM = ("--skip-phases=preflight", "--v=1")


def find(command: Sequence[str]) -> tuple[str, Act]:
    """The contract's row for a command inside a machine, and what it does. Raises :class:`Refused`."""
    line = " ".join(command)
    for row, pattern, act in _TABLE:
        if re.fullmatch(pattern, line, re.DOTALL):
            return row, act
    raise Refused(f"the contract lists no such command inside a machine: {line!r}", 64)


def _nothing(_state: State, _machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    return 0


def _init(state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    _writable(machine)
    state.stumble("kubeadm init")
    cluster = machine["labels"].get("io.kina.cluster", machine["name"])
    control_plane.begin(state, machine["name"], cluster)
    say(
        f"kubeadm join {machine['ip']}:6443 --token a1b2c3.0123456789abcdef \\\n\t"
        f"--discovery-token-ca-cert-hash sha256:{'0' * 64}"
    )
    return 0


def _join(state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    _writable(machine)
    state.stumble("kubeadm join")
    control_plane.join(state, machine["name"], machine["labels"]["io.kina.cluster"])
    return 0


def _writable(machine: Machine) -> None:
    if not machine["unmasked"]:
        raise Failed("open /proc/sys/net/ipv4/ip_forward: Read-only file system")


def _admin(state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    if (fault := state.fault("admin.conf")) is not None:
        sys.stdout.write(fault.get("text", ""))
        return int(fault.get("code", 0))
    content = machine["files"].get(ADMIN)
    if content is None:
        complain(f"cat: {ADMIN}: No such file or directory")
        return 1
    sys.stdout.write(content)
    return 0


def _raw_config(_state: State, _machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    # kubectl without KUBECONFIG and without ~/.kube/config
    say('apiVersion: v1\nclusters: null\ncontexts: null\ncurrent-context: ""\nkind: Config\nusers: null')
    return 0


def _untaint(state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    control_plane.untaint(state, machine["name"])
    return 0


def _approve(state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    state.sleep(15, inside=True)
    if state.fault("approve") is None:
        control_plane.approve(state, machine["name"])
    return 0


def _wait_ready(state: State, _machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    state.stumble("kubectl wait")
    return 0


def _nodes(_state: State, _machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    say('{"items":[]}')
    return 0


def _put(state: State, machine: Machine, _command: Sequence[str], stdin: bytes) -> int:
    with state.machines() as machines:
        machines[machine["name"]]["files"]["/tmp/image.tar"] = stdin.decode("latin-1")
    return 0


def _tar(machine: Machine) -> bytes:
    content: str = machine["files"].get("/tmp/image.tar", "")
    return content.encode("latin-1")


def _count(_state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    say(str(len(_tar(machine))))
    return 0


def _digest(_state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    import image_files

    say(f"{image_files.digest(_tar(machine))}  /tmp/image.tar")
    return 0


def _import_default(state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    return import_archive(state, machine, _tar(machine), "default")


def _import_stdin(state: State, machine: Machine, _command: Sequence[str], stdin: bytes) -> int:
    state.stumble("ctr import")
    return import_archive(state, machine, stdin, "k8s.io")


def import_archive(state: State, machine: Machine, archive: bytes, namespace: str, *, quiet: bool = False) -> int:
    """Import an image archive into a namespace of a machine's containerd."""
    import image_files

    for manifest in image_files.manifests(archive):
        several = "index" in manifest["mediaType"]
        reference = manifest["annotations"]["io.containerd.image.name"]
        with state.machines() as machines:
            store = machines[machine["name"]]["stores"].setdefault(namespace, {})
            store[reference] = {"digest": manifest["digest"], "index": several}
        if not quiet:
            say(f"unpacking {reference} ({manifest['digest']})...done")
    return 0


def _tag(state: State, machine: Machine, command: Sequence[str], _stdin: bytes) -> int:
    old, new = command[-2:]
    with state.machines() as machines:
        store = machines[machine["name"]]["stores"].setdefault("k8s.io", {})
        if old not in store:
            raise Failed(f"ctr: image {json.dumps(old)}: not found")
        store[new] = store[old]
    return 0


def _images(_state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    store = machine["stores"].get("k8s.io", {})
    shown = [{"id": each["digest"], "repoTags": [ref]} for ref, each in store.items() if not each["index"]]
    say(json.dumps({"images": shown}))
    return 0


def _journal(_state: State, machine: Machine, _command: Sequence[str], _stdin: bytes) -> int:
    say(f"-- kubelet of {machine['name']}: nothing to complain about --")
    return 0


_FROM_NODE = re.escape(f"kubectl --kubeconfig={ADMIN}")
_TABLE: tuple[tuple[str, str, Act], ...] = (
    ("C6", r"sh -c cat > /kind/kubeadm\.conf << 'EOF'.*", _nothing),
    ("C7", r"kubeadm init --config=/kind/kubeadm\.conf --skip-phases=preflight(,addon/kube-proxy)? --v=1", _init),
    ("C8", re.escape(f"cat {ADMIN}"), _admin),
    ("C12", rf"{_FROM_NODE} taint nodes \S+ node-role\.kubernetes\.io/control-plane:NoSchedule-", _untaint),
    ("C13", r"sh -c mkdir -p /etc/cni/net\.d && .*cat > /etc/cni/net\.d/10-ptp\.conflist.*", _nothing),
    ("C14", r"sh -c systemctl restart kubelet", _nothing),
    ("C16", r"sh -c sleep 15 && .*kubectl certificate approve.*; true", _approve),
    ("C17", r"sh -c cat > /kind/kubeadm-join\.conf.*", _nothing),
    ("C18", r"kubeadm join --config=/kind/kubeadm-join\.conf --skip-phases=preflight --v=1", _join),
    ("C19", rf"{_FROM_NODE} get nodes -o json", _nodes),
    ("C20", r"ip route replace .*", _nothing),
    ("C21", r"sh -c kubectl wait --for=condition=Ready node --all --timeout=300s.*", _wait_ready),
    ("H9", r"kubectl config view --raw", _raw_config),
    ("I2", r"sh -c cat > /tmp/image\.tar", _put),
    ("I3", r"sh -c wc -c < /tmp/image\.tar", _count),
    ("I4", r"sh -c sha256sum /tmp/image\.tar", _digest),
    ("I5", r"ctr images import /tmp/image\.tar", _import_default),
    ("I6", r"ctr -n k8s\.io images import -", _import_stdin),
    ("I7", r"ctr -n k8s\.io images tag \S+ \S+", _tag),
    ("I8", r"crictl images -o json", _images),
    ("E1", r"journalctl --no-pager --unit kubelet --lines \d+", _journal),
)
