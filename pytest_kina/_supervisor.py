"""Keeps the processes of one embedded cluster: starts them, watches them, and never lets them outlive their purpose.

A stand-alone script (``python -I -S _supervisor.py <cluster directory> <slot lock> <creator's pid> <helper argv …>``);
it and the two modules it imports of ours need the standard library only. Single-threaded, in a session of its own, so
that no Ctrl-C reaches it. It holds no lock and knows no record. Its environment carries the cluster's name as
``KINA_CLUSTER``; each component inherits that mark.

*Orders* arrive as JSON lines on stdin, *events* leave as JSON lines on stdout::

    {"order": "reserve", "ports": ["api"]}              {"event": "reserved", "ports": {"api": 40001}}
    {"order": "spawn", "component": "etcd", "argv":     {"event": "spawned", "component": "etcd", "pid": 4711}
     […], "env": {…}, "log": "…/etcd.log",
     "stateless": false}
    whatever cannot be done                             {"event": "refused", "error": "etcd could not be executed: …"}
    {"order": "adopt"}                                  {"event": "adopted"}
                                                        {"event": "exited", "component": …, "code": 1, "signal": null}

Until ``adopt``, the end of stdin or of the creator ends everything. From then on nobody reads or writes the pipes;
what ends the cluster is a file ``stop`` in its directory (SIGTERM makes it look at once), the directory's
disappearance, or the exit of a component, which leaves ``died.json``. A crash of a *stateless* component is mended by
starting it again, a few times at most: kwok 0.8 fills a map of types from several threads without a lock when it has
just started (``wzshiming/easycel``, ``types.go``), and one in some hundred of its starts ends with that. On Linux the
components also die with this process (PDEATHSIG), whatever ends it. ``docs/architecture.md`` says when the idle helper
runs.

A file ``restart`` in the directory, ``{"schema": 1, "component": "kwok", "token": "…"}``, at any time, has one
component ended and started again as it was ordered (SIGCHLD makes us look at once; it harms nobody). The answer is
``restarted.json``: the same document, with ``error`` when it could not be done. Only one process may ask at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # our directory is not on the path: some names in it are those of the standard library
    _package = type(sys)("pytest_kina")
    _package.__path__ = [str(Path(__file__).parent)]
    sys.modules["pytest_kina"] = _package

from pytest_kina import crashpoints
from pytest_kina._idle import Idle

MARK = "KINA_CLUSTER"
SCHEMA = 1
IDENTITY_FILE = "supervisor.json"
DIED_FILE = "died.json"
STOP_FILE = "stop"
RESTART_FILE = "restart"
RESTARTED_FILE = "restarted.json"

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TICK = 0.4
_REAP_SECONDS = 2.0
_CRASHES = 3
_CRASH_SPAN = 60.0  # seconds; more crashes than the above within them are no accident
_GO_CRASH = 2  # exit code of a Go program that its runtime has ended


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), field 22); None: gone, a zombie, or no /proc.

    Together with the boot's id this names a process for good: a recycled pid has another start.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def boot_id() -> str | None:
    """The id of this boot of the machine; None where there is no /proc."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def exit_status(status: int) -> dict[str, int | None]:
    """What :func:`os.waitpid` returned, as ``code`` or ``signal``; the other one is None."""
    code = os.waitstatus_to_exitcode(status)
    return {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"schema": SCHEMA, **document}) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _prctl() -> Callable[..., int] | None:
    if not _LINUX:
        return None
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    prctl: Callable[..., int] = library.prctl
    return prctl


class Components:
    """The cluster's processes, started and reaped here only."""

    def __init__(self) -> None:
        self._prctl = _prctl()
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
        if self._prctl:
            self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def spawn(self, component: str, argv: Sequence[str], env: Mapping[str, str], log: str) -> int:
        """Start a component whose output goes to ``log``; returns its pid. Raises :class:`OSError`."""
        with open(log, "ab", buffering=0) as output:  # noqa: PTH123 - the shortest way to an unbuffered file
            process = subprocess.Popen(  # its preexec_fn is safe: there is one thread
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**env, MARK: os.environ[MARK]},
                cwd=Path(log).parent.parent,
                preexec_fn=self._die_with(os.getpid()),  # noqa: PLW1509
            )
        self._running[process.pid] = (component, process)
        return process.pid

    def _die_with(self, parent: int) -> Callable[[], None]:
        prctl = self._prctl

        def before_exec() -> None:
            if prctl:
                prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died before the line above took effect
                os.kill(os.getpid(), signal.SIGKILL)

        return before_exec

    def adopt_helper(self, process: subprocess.Popen[bytes]) -> None:
        """Reap the idle helper together with the components, since a second reaper would steal their statuses."""
        self._running[process.pid] = ("", process)

    def reap(self) -> list[tuple[str, dict[str, int | None]]]:
        """Name and status of each component that has exited since the last call; orphans are reaped silently."""
        exited: list[tuple[str, dict[str, int | None]]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return exited
            if pid == 0:
                return exited
            component, process = self._running.pop(pid, ("", None))
            if process is not None:
                process.returncode = os.waitstatus_to_exitcode(status)
            if component:
                exited.append((component, exit_status(status)))

    def end(self, component: str) -> None:
        """SIGKILL one component and reap it here, so that its exit is not reported. Raises TimeoutExpired."""
        for pid, (name, process) in list(self._running.items()):
            if name == component:
                process.kill()
                process.wait(_REAP_SECONDS)
                del self._running[pid]

    def kill(self) -> bool:
        """SIGKILL all, the latest started first (so that none complains about another), and reap them.

        What they have started is ours by then, and ends, too. False when one could not be reaped in time.
        """
        deadline = time.monotonic() + _REAP_SECONDS
        while mine := [pid for pid, (component, _) in self._running.items() if component] + self._orphans():
            for pid in reversed(mine):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
            self.reap()
            if time.monotonic() > deadline:
                return False
        return True

    def _orphans(self) -> list[int]:
        """Children that others started: those in our session, where the idle helper and what it starts are not."""
        try:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
        except OSError:
            return []
        others = {int(pid) for pid in children} - self._running.keys()
        return [pid for pid in others if os.getsid(pid) == os.getsid(0)]


class Lifeline:
    """The pipes to the creator: orders in, events out, until the cluster is adopted."""

    def __init__(self, creator: int) -> None:
        self._creator = creator
        self._pending = b""
        self.open = True
        os.set_blocking(0, False)
        os.set_blocking(1, False)  # a creator that does not read must not stop us

    def creator_lives(self) -> bool:
        """Whether the process that started us still exists; its copies of the pipes may outlive it."""
        return os.getppid() == self._creator

    def say(self, event: str, **fields: Any) -> None:
        """Send an event; one that cannot be sent is lost, because its reader is."""
        if self.open:
            with contextlib.suppress(OSError):
                os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")

    def orders(self) -> list[dict[str, Any]] | None:
        """The orders that have arrived since the last call; None: the creator has closed its end."""
        while True:
            try:
                chunk = os.read(0, 65536)
            except BlockingIOError:
                break
            if not chunk:
                return None
            self._pending += chunk
        *lines, self._pending = self._pending.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Let go of the pipes: from now on stdin and stdout are /dev/null."""
        self.open = False
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(nothing, descriptor)
        os.close(nothing)


class Supervisor:
    """The loop: orders while there is a creator, then stop file, components and idle helper."""

    def __init__(self, directory: Path, slot_lock: Path, creator: int, helper: Sequence[str]) -> None:
        self._directory = directory
        self._components = Components()
        self._lifeline = Lifeline(creator)
        # The helper may reset this cluster, which ends this process: it must not die with it, nor look like a part.
        unmarked = {name: value for name, value in os.environ.items() if name != MARK}
        self._idle = Idle(slot_lock, helper, unmarked, directory / "tidy.log", self._components.adopt_helper)
        self._ports: dict[str, socket.socket] = {}
        self._orders: dict[str, Mapping[str, Any]] = {}
        self._died: tuple[str, dict[str, int | None]] | None = None
        self._crashes: list[float] = []
        self._terminated = False
        self._wake, self._signals = os.pipe()
        for end in (self._wake, self._signals):
            os.set_blocking(end, False)

    def run(self) -> int:
        """Supervise until the end; returns the exit code: 0, or 1 when a component could not be killed."""
        signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # with the default action the wake-up would not be written
        signal.signal(signal.SIGTERM, self._terminate)
        with crashpoints.around("supervisor.introduce"):
            self._introduce()
        while not self._over():
            self._wait()
        with crashpoints.around("supervisor.kill"):
            ended = self._components.kill()
        return 0 if ended else 1

    def _introduce(self) -> None:
        me = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "boot_id": boot_id()}
        _write_json(self._directory / IDENTITY_FILE, me)

    def _terminate(self, *_: object) -> None:
        self._terminated = True

    def _wait(self) -> None:
        watched = [self._wake, 0] if self._lifeline.open else [self._wake]
        select.select(watched, [], [], _TICK)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _over(self) -> bool:
        for component, status in self._components.reap():
            if self._revived(component, status):
                continue
            self._died = self._died or (component, status)
            self._lifeline.say("exited", component=component, **status)
        if self._terminated or (self._directory / STOP_FILE).exists() or not self._directory.is_dir():
            return True
        self._restart()
        if self._lifeline.open:
            return not self._lifeline.creator_lives() or self._obey()
        if self._died:
            self._report(*self._died)
            return True
        return self._idle.look()

    def _revived(self, component: str, status: Mapping[str, int | None]) -> bool:
        order = self._orders.get(component, {})
        if not order.get("stateless") or status["code"] != _GO_CRASH or self._died:
            return False
        now = time.monotonic()
        self._crashes = [at for at in self._crashes if now - at < _CRASH_SPAN]
        if len(self._crashes) == _CRASHES:
            return False
        self._crashes.append(now)
        try:
            with open(order["log"], "a", encoding="utf-8") as log:  # noqa: PTH123 - as for its output
                log.write(f"pytest-kina: {component} has crashed and is started again\n")
            self._start(order)
        except OSError:
            return False
        return True

    def _restart(self) -> None:
        path = self._directory / RESTART_FILE
        try:
            asked = json.loads(path.read_bytes())
            component = asked["component"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError):  # no reason to take the cluster along
            asked, component = {}, ""
        path.unlink(missing_ok=True)
        order = self._orders.get(component)
        if order is None or self._died:
            asked["error"] = f"{component} does not run" if component else f"{path} is malformed"
        else:
            try:
                self._components.end(order["component"])
                self._start(order)
            except (OSError, subprocess.SubprocessError) as error:
                asked["error"] = str(error)
                self._died = (order["component"], {"code": None, "signal": int(signal.SIGKILL)})
        with contextlib.suppress(OSError):  # on a full disk whoever asked waits in vain, and says so
            _write_json(self._directory / RESTARTED_FILE, asked)

    def _report(self, component: str, status: Mapping[str, int | None]) -> None:
        # A full disk must not keep the rest of a dead cluster running.
        with contextlib.suppress(OSError), crashpoints.around("supervisor.report"):
            _write_json(self._directory / DIED_FILE, {"component": component, **status, "at": time.time()})

    def _obey(self) -> bool:
        orders = self._lifeline.orders()
        if orders is None:
            return True
        for order in orders:
            match order["order"]:
                case "reserve":
                    self._reserve(order["ports"])
                case "spawn":
                    self._spawn(order)
                case "adopt":
                    with crashpoints.around("supervisor.adopt"):
                        self._lifeline.say("adopted")
                        self._lifeline.close()
        return False

    def _reserve(self, names: Sequence[str]) -> None:
        """Keep ports bound but not listening: nobody else gets them, and our components share them (SO_REUSEPORT).

        Linux only: elsewhere such a socket may swallow connections, so the numbers are only chosen there.
        """
        try:
            crashpoints.reach("supervisor.reserve.before")
            for name in names:
                self._ports[name] = reserved = socket.socket()
                reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                reserved.bind(("127.0.0.1", 0))
        except OSError as error:
            self._lifeline.say("refused", error=f"no port could be reserved: {error}")
            return
        crashpoints.reach("supervisor.reserve.after")
        numbers = {name: reserved.getsockname()[1] for name, reserved in self._ports.items()}
        if not _LINUX:
            for reserved in self._ports.values():
                reserved.close()
        self._lifeline.say("reserved", ports=numbers)

    def _spawn(self, order: Mapping[str, Any]) -> None:
        component = order["component"]
        try:
            with crashpoints.around("supervisor.spawn"):
                pid = self._start(order)
        except OSError as error:
            self._lifeline.say("refused", error=f"{component} could not be executed: {error}")
        else:
            self._lifeline.say("spawned", component=component, pid=pid)

    def _start(self, order: Mapping[str, Any]) -> int:
        self._orders[order["component"]] = order
        return self._components.spawn(order["component"], order["argv"], order["env"], order["log"])


def main(arguments: Sequence[str]) -> int:
    """Entry point of the script; see the module's docstring for the arguments."""
    directory, slot_lock, creator, *helper = arguments
    os.umask(0o077)
    return Supervisor(Path(directory), Path(slot_lock), int(creator), helper).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
