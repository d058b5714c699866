"""What the machine and its limits leave for clusters: memory, processes, files, inotify, loopback, proxies, clock.

Sources: proc(5) (``meminfo``, ``sys/fs/inotify``), getrlimit(2), cgroups(7) version 2 (``memory.max``, ``pids.max``).
"""

from __future__ import annotations

import ipaddress
import os
import resource
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pytest_kina.doctor.findings import Finding, Level, graded

_MIB = 1024 * 1024
_CLUSTER_MEMORY = 650 * _MIB
_CLUSTER_THREADS = 100
_CLUSTER_INOTIFY = 8
_FILES = 1024
_LOOPBACK = "127.0.0.1"
_EARLIEST = 1_735_689_600  # 2025-01-01: this plugin is younger
_CGROUPS = Path("/sys/fs/cgroup")


def findings(capacity: int, *, proc: Path, cgroup: Path | None = None) -> Iterator[Finding]:
    """What there is to say for a pool of ``capacity`` clusters; where the system does not tell, nothing."""
    cgroup = cgroup or _own_cgroup(proc)
    yield from _memory(capacity, proc, cgroup)
    yield from _threads(proc, cgroup)
    yield _open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield from _inotify(proc)
    yield _loopback()
    yield proxies(os.environ)
    yield clock(time.time())


def _memory(capacity: int, proc: Path, cgroup: Path) -> Iterator[Finding]:
    free = [found for found in (_available(proc), _headroom(cgroup, "memory")) if found is not None]
    if not free:
        return
    amount = min(free)
    yield graded(
        "memory",
        amount,
        bad=_CLUSTER_MEMORY,
        scarce=capacity * _CLUSTER_MEMORY,
        what=f"{amount // _MIB} MiB are available; {capacity} clusters, as many as the pool may hold, take up to "
        f"{capacity * _CLUSTER_MEMORY // _MIB} MiB",
        remedy="end what takes memory, or set a smaller --kina-pool-size",
    )


def _available(proc: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import psutil

        return int(psutil.virtual_memory().available)
    return None


def _own_cgroup(proc: Path) -> Path:
    """Our own control group of version 2; in a container that is usually the root of what is mounted."""
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            if line.startswith("0::"):
                return _CGROUPS / line.removeprefix("0::").lstrip("/")
    return _CGROUPS


def _headroom(cgroup: Path, controller: str) -> int | None:
    """What the tightest limit of the control group and those above it leaves; None without a limit."""
    left = []
    for place in (cgroup, *cgroup.parents):
        with suppress(OSError, ValueError):
            limit = int((place / f"{controller}.max").read_text(encoding="ascii"))
            left.append(max(0, limit - int((place / f"{controller}.current").read_text(encoding="ascii"))))
    return min(left, default=None)


def _threads(proc: Path, cgroup: Path) -> Iterator[Finding]:
    left = [found for found in (_user_threads_left(proc), _headroom(cgroup, "pids")) if found is not None]
    if left:
        yield graded(
            "processes",
            min(left),
            bad=_CLUSTER_THREADS,
            scarce=4 * _CLUSTER_THREADS,
            what=f"{min(left)} more processes and threads may run; a cluster needs about {_CLUSTER_THREADS}",
            remedy="raise `ulimit -u`, or the container's limit of processes",
        )


def _user_threads_left(proc: Path) -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if limit == resource.RLIM_INFINITY or os.geteuid() == 0 or not (proc / "self").exists():
        return None
    mine = 0
    for tasks in proc.glob("[0-9]*/task"):
        with suppress(OSError):
            if tasks.stat().st_uid == os.geteuid():
                mine += sum(1 for _ in tasks.iterdir())
    return max(0, limit - mine)


def _open_files(limit: int) -> Finding:
    unlimited = limit == resource.RLIM_INFINITY
    return graded(
        "open files",
        float("inf") if unlimited else limit,
        bad=_FILES // 4,
        scarce=_FILES,
        what="without a limit" if unlimited else f"a process may have {limit}; {_FILES} are enough",
        remedy=f"raise `ulimit -n` to {_FILES} or more",
    )


def _inotify(proc: Path) -> Iterator[Finding]:
    """The API server watches its certificates with inotify; what is used up by others is not there for it."""
    try:
        limit = int((proc / "sys/fs/inotify/max_user_instances").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    used = sum(map(_instances, proc.glob("[0-9]*/fd")))
    yield graded(
        "inotify",
        limit - used,
        bad=_CLUSTER_INOTIFY,
        scarce=4 * _CLUSTER_INOTIFY,
        what=f"{used} of {limit} instances are used; a cluster needs about {_CLUSTER_INOTIFY}",
        remedy="sysctl fs.inotify.max_user_instances=512",
    )


def _instances(descriptors: Path) -> int:
    found = 0
    with suppress(OSError):
        if descriptors.stat().st_uid != os.geteuid():
            return 0
        for entry in descriptors.iterdir():
            with suppress(OSError):
                found += str(entry.readlink()) == "anon_inode:inotify"
    return found


def _loopback() -> Finding:
    """Really connect to a port of our own."""
    try:
        with socket.create_server((_LOOPBACK, 0)) as server, socket.create_connection(server.getsockname(), 2.0):
            return Finding(subject="loopback", level=Level.OK, what=f"{_LOOPBACK} can be bound and connected to")
    except OSError as error:
        remedy = "bring the interface lo up; a sandbox or firewall may be in the way"
        return Finding(subject="loopback", level=Level.BAD, what=f"{_LOOPBACK} is out of order: {error}", remedy=remedy)


def proxies(environ: Mapping[str, str]) -> Finding:
    """Whether requests to a cluster would be sent to a proxy; those of our own handles never are."""
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    # The value may hold a password, so only the name is shown.
    found = [name for name in names if environ.get(name)]
    if not found:
        return Finding(subject="proxies", level=Level.OK, what="none is set")
    said = f"{', '.join(found)} {'is' if len(found) == 1 else 'are'} set"
    exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if any(_covers_loopback(entry.strip()) for entry in exempt.split(",")):
        return Finding(subject="proxies", level=Level.OK, what=f"{said}, and NO_PROXY covers {_LOOPBACK}")
    return Finding(
        subject="proxies",
        level=Level.WARNING,
        what=f"{said}, and NO_PROXY does not cover {_LOOPBACK}: clients that are not ours would ask the proxy",
        remedy=f"export NO_PROXY={','.join(filter(None, (exempt, _LOOPBACK, 'localhost')))}",
    )


def _covers_loopback(entry: str) -> bool:
    if entry == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(_LOOPBACK) in ipaddress.ip_network(entry, strict=False)
    return False


def clock(now: float) -> Finding:
    """Whether the wall clock can be right: certificates are valid from an hour before to 30 days after their making."""
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _EARLIEST:
        return Finding(subject="clock", level=Level.BAD, what=f"it says {shown}", remedy="set it, or start its service")
    return Finding(subject="clock", level=Level.OK, what=f"it says {shown}")
