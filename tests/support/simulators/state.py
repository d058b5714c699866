"""What the simulated tools share: a directory with settings, machines, images, failures to inject, and all calls.

Every change is made under a file lock, as the daemon of the real runtime serialises it. Sleeps of the real tools are
multiplied by the setting ``scale``.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIRST_HOST, CHANGED_HOST = 2, 101
"""Last byte of the first machine's address, and of the first address after a restart."""

_SEEN = ("HOME", "KUBECONFIG", "NO_COLOR", "RUST_BACKTRACE", "TMPDIR")


class Refused(Exception):
    """An invocation that the contract does not list; ``code`` is how the real tool exits on a usage error."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Failed(Exception):
    """The command fails as the real one does: text on stderr, exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class State:
    """One simulated host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings: dict[str, Any] = json.loads((directory / "settings.json").read_text())

    def note(self, tool: str, arguments: Sequence[str], row: str) -> None:
        """Record a call that the contract's row ``row`` allows."""
        environment = {name: os.environ[name] for name in _SEEN if name in os.environ}
        self._append("calls.jsonl", {"tool": tool, "argv": list(arguments), "row": row, "env": environment})

    def refuse(self, tool: str, arguments: Sequence[str], why: str) -> None:
        """Record an invocation that was refused."""
        self._append("refused.jsonl", {"tool": tool, "argv": list(arguments), "why": why})

    def _append(self, name: str, entry: Mapping[str, Any]) -> None:
        with (self.directory / name).open("a") as stream:
            stream.write(json.dumps({**entry, "at": time.time()}) + "\n")

    def sleep(self, seconds: float, *, inside: bool = False) -> None:
        """Sleep as the real tool does, scaled; ``inside`` a machine by the setting ``inside_scale`` if there is one."""
        self._append("sleeps.jsonl", {"seconds": seconds})
        scale = self.settings["scale"]
        time.sleep(seconds * float(self.settings.get("inside_scale", scale) if inside else scale))

    def fault(self, step: str) -> dict[str, Any] | None:
        """What was ordered to go wrong at ``step``; each time uses up one of its ``times``.

        ``after`` lets as many through before. A fault with ``seconds`` alone only delays.
        """
        with self.document("faults.json") as faults:
            fault: dict[str, Any] | None = faults.get(step)
            if fault is None:
                return None
            if fault.get("after", 0) > 0:
                fault["after"] -= 1
                return None
            if "times" in fault:
                fault["times"] -= 1
                if fault["times"] <= 0:
                    del faults[step]
        time.sleep(float(fault.get("seconds", 0.0)))
        return fault

    def meet(self, step: str) -> None:
        """Wait at ``step`` until as many processes are there as were ordered to ``meet``; for 30 s at most."""
        with self.document("faults.json") as faults:
            if (order := faults.get(step)) is None:
                return
            order["there"] = order.get("there", 0) + 1
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline:
            with self.document("faults.json") as faults:
                if faults[step]["there"] >= faults[step]["meet"]:
                    return
            time.sleep(0.01)
        raise Failed(f"nobody came to {step!r}")

    def stumble(self, step: str) -> None:
        """Raise :class:`Failed` when ``step`` was ordered to fail."""
        if (fault := self.fault(step)) and "text" in fault:
            raise Failed(fault["text"], fault.get("code", 1))

    @contextmanager
    def machines(self) -> Iterator[dict[str, dict[str, Any]]]:
        """All machines by name, for reading and changing."""
        with self.document("machines.json") as machines:
            yield machines

    @contextmanager
    def images(self) -> Iterator[dict[str, str]]:
        """The local image store: digests by reference."""
        with self.document("images.json") as images:
            yield images

    def set_version(self, name: str, image: str) -> None:
        """The Kubernetes version that a machine's API server tells: that of its image's tag."""
        tag = image.partition("@")[0].rpartition(":")[2]
        with self.machines() as machines:
            machines[name]["kubernetes"] = tag.replace("-k3s", "+k3s")

    def machine(self, name: str) -> dict[str, Any] | None:
        """One machine, for reading."""
        with self.machines() as machines:
            return machines.get(name)

    def address(self, machines: Mapping[str, Mapping[str, Any]], first: int = FIRST_HOST) -> str:
        """An address of this host's network that none of ``machines`` has and nobody listens on.

        Call it with the machines locked, and give it to one of them before they are unlocked.
        """
        taken = {machine["ip"] for machine in machines.values()}
        for host in range(first, first + 99):
            address = f"{self.settings['network']}.{host}"
            if address not in taken and _is_free(address, 6443):
                return address
        raise Failed("no address is free")

    @contextmanager
    def document(self, name: str) -> Iterator[dict[str, Any]]:
        """A JSON document of the host, for reading and changing under the lock."""
        path = self.directory / name
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = path.read_text() if path.exists() else "{}"
            document: dict[str, Any] = json.loads(before)
            yield document
            after = json.dumps(document, indent=1, sort_keys=True)
            if after != before:
                temporary = path.with_suffix(f".{os.getpid()}.tmp")
                temporary.write_text(after)
                os.replace(temporary, path)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    import socket  # here and below: most commands need none

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    """One line on stdout."""
    print(text, flush=True)


def complain(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def options(
    arguments: Sequence[str], *, values: Sequence[str] = (), switches: Sequence[str] = (), code: int = 2
) -> tuple[dict[str, list[str]], list[str]]:
    """Options (each with its values, in order) and positional arguments. Raises :class:`Refused` for an unlisted one."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in switches and not equals:
            found.setdefault(name, []).append("")
        elif name in values:
            if not equals and not queue:
                raise Refused(f"a value is required for '{name}'", code)
            found.setdefault(name, []).append(value if equals else queue.pop(0))
        elif word.startswith("-") and word != "-":
            raise Refused(f"unexpected argument '{word}' found", code)
        else:
            rest.append(word)
    return found, rest


def _is_free(address: str, port: int) -> bool:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
