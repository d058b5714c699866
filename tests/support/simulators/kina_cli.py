"""``kina`` 0.2.0 of vinnie357, with all its lies (the contract's rows C, D, H, I, L, N, S, V, W, X).

It drives ``container`` as the real one does: by running it, found by configuration or ``which``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import kubectl_cli
from offspring import finish
from state import Failed, Refused, State, complain, options, say

ADMIN = "/etc/kubernetes/admin.conf"
_TABLES = (
    "cluster",
    "apple_container",
    "apple_container.runtime_config",
    "apple_container.network",
    "kubernetes",
    "logging",
)
_CREATE = ("--image", "--config", "--wait", "--workers", "--cni", "--kernel-path", "--cpus", "--memory")
_MEMORY = re.compile(r"[1-9]\d*[mg]")


FAILURE = "Error: "


def run(state: State, arguments: list[str]) -> int:
    """One command line."""
    if state.settings["kina"] == "AkihiroSuda":
        return _other_kina(state, arguments)
    try:
        return Kina(state, arguments).run()
    except Failed as failure:
        if "RUST_BACKTRACE" not in os.environ:
            raise
        trace = "\n".join(f"  {n}: anyhow::error::Error::msg" for n in range(40))
        raise Failed(f"{failure}\n\nStack backtrace:\n{trace}", failure.code) from failure
    except OSError as error:
        raise Failed(str(error)) from error


def _other_kina(state: State, arguments: Sequence[str]) -> int:
    """The bash script of the same name: usage on stdout, exit 1, for all that it does not know (§2)."""
    state.note("kina", arguments, "B1")
    if len(arguments) < 2 or arguments[0] not in {"create", "delete", "load"}:
        say("Usage: kina COMMAND ARGS...")
        return 1
    raise Refused("nothing of ours may drive the other kina", 1)


class Kina:
    """One run of the program."""

    def __init__(self, state: State, arguments: list[str]) -> None:
        self.state = state
        self.line = list(arguments)
        self.level = "INFO"
        self.config_file: str | None = None
        while arguments and arguments[0].startswith("-"):
            word = arguments.pop(0)
            if word in {"-q", "--quiet", "-v", "--verbose"}:
                self.level = "ERROR" if word in {"-q", "--quiet"} else "DEBUG"
            elif word in {"-c", "--config"} and arguments:
                self.config_file = arguments.pop(0)
            elif word in {"--version", "--help"}:
                self.level = "VERSION"
            else:
                raise Refused(f"unexpected argument '{word}' found", 2)
        self.arguments = arguments
        self.home = Path(os.environ.get("HOME", "/nonexistent"))

    def run(self) -> int:
        """Parse, load the configuration, act (§1.2)."""
        if self.level == "VERSION":
            self.note("S0")
            say(f"kina {self.state.settings['kina']}")
            return 0
        command, *rest = self.arguments or [""]
        act = getattr(self, f"do_{command.replace('-', '_')}", None)
        if act is None:
            raise Refused(f"unrecognized subcommand '{command}'", 2)
        self.state.stumble(f"kina {command}")
        return int(act(rest))

    def note(self, row: str) -> None:
        """The call is one that the contract lists."""
        self.state.note("kina", self.line, row)

    def log(self, level: str, text: str) -> None:
        """A line of the tracing subscriber: on stderr, coloured unless NO_COLOR is set (§1.2)."""
        order = ["ERROR", "WARN", "INFO", "DEBUG"]
        if order.index(level) <= order.index(self.level):
            colour = "NO_COLOR" not in os.environ
            complain(
                f"\x1b[2m2026-11-21T10:00:00Z\x1b[0m \x1b[32m {level}\x1b[0m {text}" if colour else f" {level} {text}"
            )

    # What every command but version, config and none does first.

    def open(self) -> str:
        """Load the configuration, find ``container`` and check its version; returns its path."""
        configured = self._configured()
        self.log("INFO", "kina is starting")
        container = configured or self._which()
        done = finish([container, "--version"])
        said = done.stdout.decode()
        found = re.search(r"CLI version (\d\S*)", said)
        if done.returncode or found is None:
            raise Failed(f"Could not determine the Apple Container version from: {said.strip()}")
        numbers = found[1].split(".")
        if not all(number.isdecimal() for number in numbers):
            raise Failed(f"Invalid minor version number in {found[1]}")
        if int(numbers[0]) < 1:
            raise Failed(
                f"Apple Container {found[1]} is too old: 1.0.0 is needed (config.toml, capabilities, JSON output)"
            )
        self.version = found[1]
        return container

    def _configured(self) -> str | None:
        path = Path(self.config_file) if self.config_file else self.home / ".config" / "kina" / "config.toml"
        if not path.exists():
            if self.config_file:
                raise Failed(f"Failed to read config file: {path}")
            for folder in (".config/kina/kubeconfig", ".local/share/kina"):
                (self.home / folder).mkdir(parents=True, exist_ok=True)
            return None
        text = path.read_text()
        for table in _TABLES:
            if f"[{table}]" not in text:
                raise Failed(f"Failed to parse config: missing field `{table.partition('.')[2] or table}`")
        if "null" in text or re.search(r'default_cni\s*=\s*"(?!Ptp"|Cilium")', text):
            raise Failed("Failed to parse config: unknown variant, expected `Ptp` or `Cilium`")
        found = re.search(r'^cli_path\s*=\s*"(.*)"', text, re.MULTILINE)
        return found[1] if found else None

    def _which(self) -> str:
        for name in ("container", "apple-container"):
            with suppress(OSError):
                said = subprocess.run(["which", name], capture_output=True, text=True, check=False)
                if said.returncode == 0:
                    return said.stdout.strip()
        raise Failed("Apple Container CLI not found")

    def container(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run ``container``."""
        return finish([self.cli, *arguments], stdin)

    def must(self, step: str, *arguments: str, stdin: bytes | None = None) -> str:
        """Run ``container``, whose failure is ours."""
        done = self.container(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise Failed(f"{step} failed: {done.stderr.decode().strip()}")
        return done.stdout.decode()

    def may(self, step: str, *arguments: str) -> None:
        """Run ``container``, whose failure is only a warning."""
        done = self.container(*arguments)
        if done.returncode != 0:
            self.log("WARN", f"{step}: {done.stderr.decode().strip()}")

    def nodes(self, *, everything: bool = True) -> list[dict[str, Any]]:
        """What ``container list`` shows."""
        text = self.must("container list", "list", "--format", "json", *(["--all"] if everything else []))
        try:
            found: list[dict[str, Any]] = json.loads(text or "[]")
        except ValueError as error:
            raise Failed(f"Failed to parse container list: {error}") from error
        return found

    def clusters(self) -> dict[str, list[dict[str, Any]]]:
        """Nodes by cluster; the order is that of a HashMap."""
        found: dict[str, list[dict[str, Any]]] = {}
        for node in self.nodes():
            if name := node["configuration"]["labels"].get("io.kina.cluster"):
                found.setdefault(name, []).append(node)
        names = list(found)
        random.shuffle(names)
        return {name: found[name] for name in names}

    def known(self, name: str, hint: str) -> list[dict[str, Any]] | None:
        """The cluster's nodes; else the sentence that takes the place of an error (§1.4)."""
        clusters = self.clusters()
        if not clusters:
            say("No clusters found.\n\nTo create a new cluster, run:\n  kina create [cluster-name]")
            return None
        if name not in clusters:
            say(f"Cluster '{name}' does not exist.\n\nAvailable clusters: {', '.join(clusters)}")
            if hint:
                say(f"\n{hint}")
            return None
        return clusters[name]

    # create, §1.7

    def do_create(self, rest: list[str]) -> int:
        """``kina create``."""
        given, names = options(rest, values=_CREATE, switches=("--retain", "--skip-csr-approval"))
        if len(names) > 1:
            raise Refused(f"unexpected argument '{names[1]}' found", 2)
        self.note("W1" if "--wait" in given else "C0")
        if "--config" in given:
            self.config_file = given["--config"][0]
        self.name = names[0] if names else "kina"
        self.image = given.get("--image", ["kindest/node:v1.36.1"])[0]
        self.cli = self.open()
        memory = given.get("--memory", ["4g"])[0]
        if not _MEMORY.fullmatch(memory) or not int(given.get("--cpus", ["4"])[0]) >= 1:
            raise Failed(f"Invalid control-plane resource specification\n\nCaused by:\n    invalid memory {memory!r}")
        self.size = ["--cpus", given.get("--cpus", ["4"])[0], "--memory", memory]
        self.kernel = ["--kernel", given["--kernel-path"][0]] if "--kernel-path" in given else []
        workers = int(given.get("--workers", ["0"])[0])
        head = f"{self.name}-control-plane"
        if any(node["configuration"]["labels"].get("io.kina.cluster") == self.name for node in self.nodes()):
            raise Failed(f"Cluster '{self.name}' already exists")
        self.address = self._boot(head, "control-plane" if workers else "control-plane,worker")
        self._kubeadm(head, given.get("--cni", ["ptp"])[0])
        self._save(self._read_admin(head), self.address)
        self._reach(self.address, head)
        if not workers:
            self.may(
                "untaint",
                "exec",
                head,
                "kubectl",
                f"--kubeconfig={ADMIN}",
                "taint",
                "nodes",
                head,
                "node-role.kubernetes.io/control-plane:NoSchedule-",
            )
        self._network(head)
        for number in range(workers):
            self._add_worker(f"{self.name}-worker" + (f"-{number + 1}" if number else ""))
        if workers:
            self._routes(head)
        self._settle(given, head)
        say(f"✅ Cluster '{self.name}' created successfully")
        return 0

    def _boot(self, node: str, role: str) -> str:
        single = role == "control-plane,worker"
        labels = [f"io.kina.cluster={self.name}", f"io.kina.role={role}"]
        labels += ["io.kina.primary=true"] if "control-plane" in role else []
        labels += ["io.kina.single-node=true"] if single else []
        labels += [f"io.kina.image={self.image}"]
        flags = [word for label in labels for word in ("--label", label)]
        flags += [word for path in ("/tmp", "/run", "/run/lock") for word in ("--tmpfs", path)]
        flags += [
            "--cap-add",
            "ALL",
            *self.size,
            *self.kernel,
            "--env",
            "container=docker",
            "--env",
            f"HOSTNAME={node}",
        ]
        flags += ["--env", f"KINA_NODE_TYPE={'single-node' if single else role}"]
        self.must("container run", "run", "-d", "--name", node, *flags, self.image, "/sbin/init")
        for _ in range(30):
            self.state.sleep(2)
            if any(
                each["id"] == node and each["status"]["state"] == "running" for each in self.nodes(everything=False)
            ):
                break
        else:
            raise Failed(f"Container {node} failed to become ready within 60 seconds")
        return self._address(node)

    def _address(self, node: str) -> str:
        found = next(each for each in self.nodes(everything=False) if each["id"] == node)
        networks = found["status"]["networks"]
        if not networks:
            raise Failed(f"No IP address found for container {node}")
        return str(networks[0]["ipv4Address"]).partition("/")[0]

    def _kubeadm(self, head: str, cni: str) -> None:
        script = f"cat > /kind/kubeadm.conf << 'EOF'\nkubernetesVersion: v1.36.1\nadvertiseAddress: {self.address}\nEOF"
        self.must("kubeadm.conf", "exec", head, "sh", "-c", script)
        skipped = "preflight,addon/kube-proxy" if cni == "cilium" else "preflight"
        said = self.must(
            "kubeadm init",
            "exec",
            head,
            "kubeadm",
            "init",
            "--config=/kind/kubeadm.conf",
            f"--skip-phases={skipped}",
            "--v=1",
        )
        self.joining = re.search(r"kubeadm join \S+ --token \S+", said.replace("\\\n", ""))

    def _read_admin(self, head: str) -> str:
        return self.must("admin.conf", "exec", head, "cat", ADMIN)

    def _save(self, admin: str, address: str) -> None:
        """The cluster's own file, then the unlocked rewriting of ~/.kube/config (§1.9)."""
        folder = self.home / ".kube"
        folder.mkdir(parents=True, exist_ok=True)
        text = re.sub(rf"(cluster|name): {re.escape(self._in_node(admin))}\b", rf"\1: {self.name}", admin)
        text = re.sub(r"kubernetes-admin@\S+", self.name, text).replace("kubernetes-admin", f"{self.name}-admin")
        (folder / self.name).write_text(_served_from(text, address))
        if self.state.settings.get("stale_kubeconfig"):
            (folder / self.name).write_text(_served_from(text, "127.0.0.250"))
        if self.state.settings.get("empty_kubeconfig"):
            (folder / self.name).write_text("apiVersion: v1\nclusters: null\n")
        merged = folder / "config"
        before = [str(merged)] if merged.exists() else []
        done = self._kubectl(
            {"KUBECONFIG": ":".join([*before, str(folder / self.name)])}, "config", "view", "--flatten"
        )
        if done is None or done.returncode != 0:
            raise Failed(f"kubectl config view failed: {done.stderr.decode() if done else 'No such file or directory'}")
        self.state.meet("before the merged file is written")
        merged.write_bytes(done.stdout)
        used = self._kubectl({}, "config", "use-context", self.name)
        if used is None or used.returncode != 0:
            self.log("WARN", "Failed to set current context")

    def _in_node(self, admin: str) -> str:
        found = re.search(r"^    cluster: (\S+)$", admin, re.MULTILINE)
        return found[1] if found else self.name

    def _kubectl(self, extra: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
        kubectl_cli.have_yaml(self.state)  # once, for all that are forked
        try:
            return finish(["kubectl", *arguments], extra=extra)
        except OSError:
            return None

    def _reach(self, address: str, head: str) -> None:
        for attempt in range(5):
            with suppress(OSError), socket.create_connection((address, 6443), timeout=2):
                return
            if attempt < 4:
                self.state.sleep(1)
        self.may("diagnostic", "network", "inspect", head, "--format", "json")
        self.log("WARN", f"The API server at {address}:6443 cannot be reached from the host")

    def _network(self, node: str) -> None:
        script = "mkdir -p /etc/cni/net.d && rm -f /etc/cni/net.d/* && cat > /etc/cni/net.d/10-ptp.conflist << 'EOF'\n{}\nEOF"
        self.must("CNI", "exec", node, "sh", "-c", script)
        self.may("kubelet restart", "exec", node, "sh", "-c", "systemctl restart kubelet")

    def _add_worker(self, node: str) -> None:
        if self.joining is None:
            raise Failed("No kubeadm join command in the output of kubeadm init")
        self._boot(node, "worker")
        self.must("join config", "exec", node, "sh", "-c", "cat > /kind/kubeadm-join.conf << 'EOF'\n{}\nEOF")
        self.must(
            "kubeadm join",
            "exec",
            node,
            "kubeadm",
            "join",
            "--config=/kind/kubeadm-join.conf",
            "--skip-phases=preflight",
            "--v=1",
        )
        self._network(node)

    def _routes(self, head: str) -> None:
        self.may("nodes", "exec", head, "kubectl", f"--kubeconfig={ADMIN}", "get", "nodes", "-o", "json")
        self.may("routes", "exec", head, "ip", "route", "replace", "10.244.1.0/24", "via", self.address)
        self.may("wait", "exec", head, "sh", "-c", "kubectl wait --for=condition=Ready node --all --timeout=300s")

    def _settle(self, given: dict[str, list[str]], head: str) -> None:
        if "--wait" in given:
            self.clusters()
        else:
            self.state.sleep(10)
        if "--skip-csr-approval" not in given:
            self._approve(head)

    def _approve(self, head: str) -> None:
        script = "sleep 15 && kubectl get csr -o name | xargs -r kubectl certificate approve; true"
        self.may("CSR approval", "exec", head, "sh", "-c", script)

    # delete, §1.10

    def do_delete(self, rest: list[str]) -> int:
        """``kina delete``."""
        given, names = options(rest, switches=("--all",))
        if len(names) > 1 or (names and "--all" in given):
            raise Refused("the argument '--all' cannot be used with '[NAME]'", 2)
        self.note("D1" if "--all" in given else "D0")
        self.cli = self.open()
        if "--all" in given:
            for name in self.clusters():
                try:
                    self._delete(name)
                except Failed as failure:
                    self.log("WARN", f"Failed to delete cluster {name}: {failure}")
            say("✅ All clusters deleted successfully")
            return 0
        name = names[0] if names else "kina"
        self._delete(name)
        say(f"✅ Cluster '{name}' deleted successfully")
        return 0

    def _delete(self, name: str) -> None:
        nodes = self.clusters().get(name)
        self.clusters()
        if nodes is None:
            self.log("WARN", f"Cluster '{name}' does not exist")
            return
        for node in nodes:
            if self.container("stop", node["id"]).returncode == 0:
                self.state.sleep(5)
            else:
                self.container("stop", "--signal", "SIGKILL", "--time", "10", node["id"])
            done = self.container("delete", node["id"])
            if done.returncode != 0 and b"container is running" in done.stderr:
                done = self.container("delete", "--force", node["id"])
            if done.returncode != 0:
                raise Failed(f"Failed to delete container {node['id']}: {done.stderr.decode().strip()}")
        (self.home / ".kube" / name).unlink(missing_ok=True)
        for what, entry in (("context", name), ("cluster", name), ("user", f"{name}-admin")):
            self._kubectl({}, "config", f"delete-{what}", entry)

    # Looking, §1.4 and §1.11

    def do_list(self, rest: list[str]) -> int:
        """``kina list``."""
        given, _ = options(rest, switches=("-v", "--verbose"))
        self.note("S1")
        self.level = "DEBUG" if given else self.level
        self.cli = self.open()
        clusters = self.clusters()
        self.log("DEBUG", json.dumps(clusters))
        if not clusters:
            say("No clusters found")
        elif given:
            say("NAME            IMAGE                STATUS     CREATED                  \n" + "-" * 70)
        for name, nodes in clusters.items():
            image = nodes[0]["configuration"]["labels"].get("io.kina.image", "")
            say(f"{name:<15} {image:<20} {_status(nodes)} 2026-08-01 10:00 UTC" if given else name)
        return 0

    do_ls = do_list

    def do_status(self, rest: list[str]) -> int:
        """``kina status``."""
        given, names = options(rest, values=("--output",), switches=("-v", "--verbose"))
        self.note("S2")
        self.cli = self.open()
        clusters = self.clusters()
        if not names and not clusters:
            say("No clusters found.\n\nTo create a new cluster, run:\n  kina create [cluster-name]")
            return 0
        if not names and len(clusters) > 1:
            raise Failed("Several clusters exist; name one of them")
        name = names[0] if names else next(iter(clusters))
        if name not in clusters:
            raise Failed(f"Cluster '{name}' does not exist")
        if not names:
            say(f"Using cluster: {name}")
        nodes = clusters[name]
        if given.get("--output") != ["json"]:
            say(f"{name}: NOT READY")
            return 0
        say(json.dumps(self._document(name, nodes), indent=2))
        return 0

    def _document(self, name: str, nodes: list[dict[str, Any]]) -> dict[str, Any]:
        shown = [
            {
                "name": node["id"],
                "role": "control-plane"
                if "control-plane" in node["configuration"]["labels"]["io.kina.role"]
                else "worker",
                "status": node["status"]["state"],
                "version": "unknown",
                "container_id": node["id"],
                "ip_address": (node["status"]["networks"] or [{"ipv4Address": None}])[0]["ipv4Address"],
            }
            for node in nodes
        ]
        image = nodes[0]["configuration"]["labels"].get("io.kina.image", "")
        return {
            "apple_container_version": self.version,
            "name": name,
            "image": image,
            "status": _status(nodes),
            "created": "2026-08-01 10:00 UTC",
            "kubeconfig_path": None,
            "nodes": shown,
        }

    def do_version(self, rest: list[str]) -> int:
        """``kina version``."""
        given, _ = options(rest, switches=("--json",))
        self.note("S3")
        names = ("git_sha", "git_describe", "dirty", "build_timestamp", "rustc", "target", "profile")
        if given:
            say(json.dumps({"version": self.state.settings["kina"], **dict.fromkeys(names)}))
            return 0
        say(f"kina {self.state.settings['kina']} (unknown, release, built unknown)")
        try:
            self.open()
            say(f"Apple Container {self.version}")
        except Failed as failure:
            say(f"Apple Container: not available ({failure})")
        return 0

    do_ = do_version

    def do_get(self, rest: list[str]) -> int:
        """``kina get``."""
        _, names = options(rest)
        if not names or names[0] not in {"clusters", "kubeconfig", "nodes"}:
            raise Refused("invalid value for '<RESOURCE>'", 2)
        self.note("L1" if names[0] == "kubeconfig" else "L2")
        self.cli = self.open()
        what, name = names[0], names[1] if len(names) > 1 else "kina"
        if what == "clusters" and len(names) == 1:
            return self._names()
        hint = (
            ""
            if what == "clusters"
            else f"To get {what} for a specific cluster, run:\n  kina get {what} <cluster-name>"
        )
        nodes = self.known(name, hint)
        if nodes is None:
            return 0
        if what == "kubeconfig":
            say(self._kubeconfig(name))
        for node in nodes if what == "nodes" else ():
            say(node["id"])
        if what == "clusters":
            say(f"ClusterInfo {{\n    name: {json.dumps(name)},\n}}")
        return 0

    def _names(self) -> int:
        clusters = self.clusters()
        say("\n".join(clusters) or "No clusters found.\n\nTo create a new cluster, run:\n  kina create [cluster-name]")
        return 0

    def _kubeconfig(self, name: str) -> str:
        """The saved file, else what kubectl says inside the node without any configuration, which is then saved (§1.9)."""
        path = self.home / ".kube" / name
        if not path.exists():
            text = self.must("kubeconfig", "exec", f"{name}-control-plane", "kubectl", "config", "view", "--raw")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path.read_text()

    def do_export(self, rest: list[str]) -> int:
        """``kina export``."""
        given, names = options(rest, values=("--format", "-o", "--output"))
        self.note("L4" if given.get("--format") == ["config"] else "L3")
        self.cli = self.open()
        name = names[0] if names else "kina"
        if self.known(name, "") is None:
            return 0
        if given.get("--format") == ["config"]:
            self.log("WARN", "Exporting the configuration is not yet implemented")
            return 0
        text = self._kubeconfig(name)
        target = (given.get("-o") or given.get("--output") or [""])[0]
        if target:
            Path(target).write_text(text)
        else:
            say(text)
        return 0

    def do_load(self, rest: list[str]) -> int:
        """``kina load`` (§1.13)."""
        given, names = options(rest, values=("--cluster",))
        if len(names) != 1:
            raise Refused("the following required arguments were not provided: <IMAGE>", 2)
        self.note("I1")
        self.cli = self.open()
        cluster = given.get("--cluster", ["kina"])[0]
        hint = f"To load image into a specific cluster, run:\n  kina load {names[0]} <cluster-name>"
        nodes = self.known(cluster, hint)
        if nodes is None:
            return 0
        archive = Path(os.environ.get("TMPDIR", "/tmp")) / f"{re.sub('[/:]', '_', names[0])}.tar"
        for node in nodes:
            self.must("image save", "image", "save", names[0], "-o", str(archive))
            content = archive.read_bytes()
            self.must("copy", "exec", "-i", node["id"], "sh", "-c", "cat > /tmp/image.tar", stdin=content)
            size = self.must("size", "exec", node["id"], "sh", "-c", "wc -c < /tmp/image.tar")
            digest = self.must("digest", "exec", node["id"], "sh", "-c", "sha256sum /tmp/image.tar")
            if int(size) != len(content) or digest.split()[0] != hashlib.sha256(content).hexdigest():
                raise Failed("The archive was damaged on its way")
            self.must("import", "exec", node["id"], "ctr", "images", "import", "/tmp/image.tar")
        say(f"✅ Image '{names[0]}' loaded successfully into cluster '{cluster}'")
        return 0

    def do_install(self, rest: list[str]) -> int:
        """``kina install``: only the lie about an unknown cluster."""
        given, names = options(rest, values=("--cluster", "--version", "--config"))
        if len(names) != 1:
            raise Refused("invalid value for '<ADDON>'", 2)
        self.note("L6")
        self.cli = self.open()
        if self.known(given.get("--cluster", ["kina"])[0], "To install addon to a specific cluster, run:") is None:
            return 0
        raise Refused("the contract says nothing of an add-on's effect", 1)

    def do_approve_csr(self, rest: list[str]) -> int:
        """``kina approve-csr``."""
        _, names = options(rest)
        self.note("L8")
        self.cli = self.open()
        name = names[0] if names else "kina"
        if self.known(name, "") is not None:
            self._approve(f"{name}-control-plane")
            say("✅ Kubelet CSRs approved")
        return 0

    def do_kubeconfig(self, rest: list[str]) -> int:
        """``kina kubeconfig``: the file follows the live address, whether anybody answers there or not."""
        _, names = options(rest)
        self.note("L13")
        self.cli = self.open()
        name = names[0] if names else "kina"
        if self.known(name, "") is None:
            return 0
        head = f"{name}-control-plane"
        path = self.home / ".kube" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            _served_from(path.read_text() if path.exists() else self._read_admin(head), self._address(head))
        )
        self._reach(self._address(head), head)
        say(f"Kubeconfig for '{name}' updated.")
        return 0

    def do_verify(self, rest: list[str]) -> int:
        """``kina verify``: needs Cilium, a worker and the demo application (§1.12)."""
        _, names = options(rest)
        self.note("V1")
        self.cli = self.open()
        clusters = self.clusters()
        if not clusters:
            raise Failed("No clusters found")
        name = names[0] if names else next(iter(clusters))
        self.must("dns", "system", "dns", "list")
        say("PASS Nodes\nFAIL Cilium DaemonSet: 0/0")
        if not any(node["configuration"]["labels"]["io.kina.role"] == "worker" for node in clusters.get(name, ())):
            say("FAIL no worker node")
        say(f"FAIL verify '{name}'")
        return 1


def _status(nodes: list[dict[str, Any]]) -> str:
    return "Running" if all(node["status"]["state"] == "running" for node in nodes) else "Stopped"


def _served_from(text: str, address: str) -> str:
    """Only lines that begin with ``server: https://`` change, always to port 6443 (K verify.rs:359)."""
    lines = [
        f"{line[: len(line) - len(line.lstrip())]}server: https://{address}:6443"
        if line.strip().startswith("server: https://")
        else line
        for line in text.splitlines()
    ]
    return "\n".join(lines) + "\n"
