"""The API server behind a machine: a stub that answers at once, or our own embedded control plane (setting ``runtime``).

Each listens where the real one would, ``https://ADDRESS:6443``, with a certificate for the machine's first address only.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from state import Failed, State

HERE = Path(__file__).parent


def begin(state: State, name: str, cluster: str, *, address: str = "", port: int = 6443) -> None:
    """Start the control plane of the machine ``name`` and leave its administrator's kubeconfig in the machine."""
    machine = state.machine(name)
    assert machine is not None
    where = address or machine["ip"] or "127.0.0.1"
    with state.document(f"api-{name}.json") as document:
        document |= {
            "born": time.time(),
            "cluster": cluster,
            "tainted": True,
            "names": [],
            "approved": [],
            "namespaces": [],
        }
    if state.settings["runtime"] == "real":
        answer = _real(state, "begin", name, where)
        target, admin = answer["port"], answer["admin"]
    else:
        target, admin = 0, _stub_admin(state.directory / "pki")
    _enlist(state, name)
    if not state.settings.get("deaf"):
        _listen(state, name, where, port, target)
    with state.machines() as machines:
        machines[name] |= {"backend": target, "cluster": cluster}
        machines[name]["files"]["/etc/kubernetes/admin.conf"] = kubeconfig(cluster, where, port, admin)


def bridge(state: State, name: str) -> None:
    """Let the machine's own address answer, too."""
    machine = state.machine(name)
    assert machine is not None
    _listen(state, name, machine["ip"], 6443, machine["backend"])


def join(state: State, name: str, cluster: str) -> None:
    """Make the machine ``name`` a node of the cluster."""
    with state.machines() as machines:
        head = next(each["name"] for each in machines.values() if each.get("cluster") == cluster)
        machines[name]["head"] = head
    if state.fault("lost join") is None:
        _enlist(state, head, name)


def untaint(state: State, head: str) -> None:
    """Let pods be scheduled to the control plane's own node."""
    with state.document(f"api-{head}.json") as document:
        document["tainted"] = False
    if state.settings["runtime"] == "real":
        _real(state, "untaint", head, "")


def approve(state: State, head: str) -> None:
    """Approve all kubelet certificates, as ``kubectl certificate approve`` inside the node does."""
    if state.settings["runtime"] == "real":
        _real(state, "approve", head, "")
        return
    with state.document(f"api-{head}.json") as document:
        document["approved"] = list(document["names"])


def end(state: State, name: str, *, keep: bool = False) -> None:
    """End what runs for the machine; with ``keep`` its data stays, as when a machine is merely stopped."""
    machine = state.machine(name)
    for pid, started in (machine or {}).get("processes", []):
        if _start(pid) == started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if not keep and (state.directory / "real" / name).exists():
        _real(state, "end", name, "")
    with state.machines() as machines:
        if name in machines:
            machines[name]["processes"] = []


def reboot(state: State, name: str, first: int) -> str:
    """Start a stopped machine again, at another address, which is returned; it listens on the same port again there.

    ``first`` is the last byte of the first address that it may get.
    """
    with state.machines() as machines:
        machine, address = machines[name], state.address(machines, first)
        machine |= {"state": "running", "ip": address, "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        target = machine.get("backend")
    if target is not None:
        _listen(state, name, address, 6443, target)
    return address


def kubeconfig(cluster: str, address: str, port: int, admin: dict[str, str]) -> str:
    """``admin.conf`` as kubeadm writes it."""
    return "\n".join(
        [
            "apiVersion: v1",
            "clusters:",
            "- cluster:",
            f"    certificate-authority-data: {admin['ca']}",
            f"    server: https://{address}:{port}",
            f"  name: {cluster}",
            "contexts:",
            "- context:",
            f"    cluster: {cluster}",
            "    user: kubernetes-admin",
            f"  name: kubernetes-admin@{cluster}",
            f"current-context: kubernetes-admin@{cluster}",
            "kind: Config",
            "preferences: {}",
            "users:",
            "- name: kubernetes-admin",
            "  user:",
            f"    client-certificate-data: {admin['certificate']}",
            f"    client-key-data: {admin['key']}",
            "",
        ]
    )


def _stub_admin(pki: Path) -> dict[str, str]:
    files = {"ca": "ca.crt", "certificate": "admin.crt", "key": "admin.key"}
    return {key: base64.b64encode((pki / name).read_bytes()).decode() for key, name in files.items()}


def _enlist(state: State, head: str, node: str = "") -> None:
    with state.document(f"api-{head}.json") as document:
        document["names"].append(node or head)
    if state.settings["runtime"] == "real":
        _real(state, "enlist", head, node or head)


def _listen(state: State, name: str, address: str, port: int, target: int) -> None:
    import subprocess

    script = "forwarder.py" if target else "stub_api.py"
    line = [sys.executable, "-I", "-S", str(HERE / script), str(state.directory), name, address, str(port), str(target)]
    with (state.directory / f"{script}.log").open("ab") as log:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={"PATH": os.environ["PATH"]},
            start_new_session=True,
        )
    assert process.stdout is not None
    if process.stdout.readline().strip() != b"listening":
        raise Failed(f"nothing could listen on {address}:{port}")
    with state.machines() as machines:
        machines[name]["processes"].append([process.pid, _start(process.pid)])


def _start(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def _real(state: State, action: str, name: str, detail: str) -> Any:
    import subprocess

    root = HERE.parents[2]
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "tests.support.simulators.real_api", action, str(state.directory), name, detail],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), **state.settings["environment"]},
        cwd=state.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise Failed(f"kubeadm: {finished.stderr}")
    return json.loads(finished.stdout)
