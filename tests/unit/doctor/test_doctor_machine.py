"""What the doctor says of a machine: its memory, limits, proxies and clock, read from what the system tells."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_kina.doctor import machine
from pytest_kina.doctor.findings import Finding, Level

MIB = 1024 * 1024


def system(place: Path, *, available: int = 8000, instances: int = 128) -> Path:
    """A ``/proc`` with so many MiB of available memory, and so many inotify instances allowed."""
    (place / "sys/fs/inotify").mkdir(parents=True)
    (place / "meminfo").write_text(f"MemTotal: 16000000 kB\nMemAvailable: {available * 1024} kB\n")
    (place / "sys/fs/inotify/max_user_instances").write_text(f"{instances}\n")
    return place


def group(place: Path, **limits: tuple[str, str]) -> Path:
    """A control group with limits: ``memory=(max, current)``."""
    place.mkdir(parents=True, exist_ok=True)
    for controller, (limit, current) in limits.items():
        (place / f"{controller}.max").write_text(f"{limit}\n")
        (place / f"{controller}.current").write_text(f"{current}\n")
    return place


def about(subject: str, proc: Path, cgroup: Path, capacity: int = 2) -> Finding:
    """The one finding about a subject."""
    (found,) = [each for each in machine.findings(capacity, proc=proc, cgroup=cgroup) if each.subject == subject]
    return found


@pytest.mark.parametrize(("available", "level"), [(600, Level.BAD), (1000, Level.WARNING), (1400, Level.OK)])
def test_memory_is_held_against_what_the_pool_may_take(tmp_path: Path, available: int, level: Level) -> None:
    """Too little for one cluster is bad, too little for the whole pool a warning, each with a remedy."""
    found = about("memory", system(tmp_path / "proc", available=available), tmp_path)
    assert (found.level, bool(found.remedy)) == (level, level is not Level.OK)
    assert f"{available} MiB are available" in found.what


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    """The tightest limit of the control groups above us decides, although the machine has more memory."""
    outer = group(tmp_path / "outer", memory=(str(1000 * MIB), str(700 * MIB)))
    inner = group(outer / "inner", memory=("max", "0"))
    found = about("memory", system(tmp_path / "proc"), inner)
    assert (found.level, found.what[:22]) == (Level.BAD, "300 MiB are available;")


def test_our_own_control_group_is_looked_up(tmp_path: Path) -> None:
    """By the one line of version 2; without one the mounted root stands for it."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("1:cpu:/x\n0::/user.slice/me.scope\n")
    assert machine._own_cgroup(tmp_path) == Path("/sys/fs/cgroup/user.slice/me.scope")
    assert machine._own_cgroup(tmp_path / "none") == Path("/sys/fs/cgroup")


@pytest.mark.parametrize(("left", "level"), [(99, Level.BAD), (399, Level.WARNING), (400, Level.OK)])
def test_the_limit_of_processes_counts(tmp_path: Path, left: int, level: Level) -> None:
    """A container that allows too few processes and threads is named."""
    cgroup = group(tmp_path / "group", pids=("1000", str(1000 - left)))
    found = about("processes", system(tmp_path / "proc"), cgroup)
    assert (found.level, found.what.split()[0]) == (level, str(left))


def test_the_inotify_instances_of_our_processes_are_counted(tmp_path: Path) -> None:
    """What other programs of the user have taken is not there for a cluster; other descriptors do not count."""
    proc = system(tmp_path / "proc", instances=20)
    descriptors = proc / "4711/fd"
    descriptors.mkdir(parents=True)
    for number in range(15):
        (descriptors / str(number)).symlink_to("anon_inode:inotify")
    (descriptors / "20").symlink_to("/dev/null")
    found = about("inotify", proc, tmp_path)
    assert (found.level, found.what[:29]) == (Level.BAD, "15 of 20 instances are used; ")
    assert "sysctl" in found.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory to another user")
def test_the_inotify_instances_of_others_are_theirs(tmp_path: Path) -> None:
    """The limit is one for each user."""
    descriptors = tmp_path / "7" / "fd"
    descriptors.mkdir(parents=True)
    (descriptors / "3").symlink_to("anon_inode:inotify")
    assert machine._instances(descriptors) == 1
    os.chown(descriptors, 65533, -1)
    assert machine._instances(descriptors) == 0


def test_a_low_limit_of_open_files_is_bad() -> None:
    """Measured in a process that really has it."""
    program = (
        "import resource; from pathlib import Path; from pytest_kina.doctor import machine\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        "print(*[f.level.value for f in machine.findings(1, proc=Path('/proc')) if f.subject == 'open files'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "bad\n"


def test_no_limit_of_open_files_is_fine() -> None:
    """Infinity is not a number to compare with."""
    assert machine._open_files(resource.RLIM_INFINITY).what == "without a limit"


@pytest.mark.parametrize(
    ("environ", "level"),
    [
        ({}, Level.OK),
        ({"HTTPS_PROXY": ""}, Level.OK),
        ({"HTTPS_PROXY": "http://me:secret@proxy:3128"}, Level.WARNING),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "example.com, 10.0.0.0/8"}, Level.WARNING),
        ({"HTTP_PROXY": "http://proxy:3128", "no_proxy": "localhost,127.0.0.1"}, Level.OK),
        ({"ALL_PROXY": "http://proxy:3128", "NO_PROXY": "127.0.0.0/8"}, Level.OK),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, Level.OK),
    ],
)
def test_a_proxy_that_would_be_asked_for_clusters_is_a_warning(environ: dict[str, str], level: Level) -> None:
    """NO_PROXY must cover 127.0.0.1, by address, network or star; the proxy's address, with its password, is not shown."""
    found = machine.proxies(environ)
    assert found.level is level
    assert "secret" not in found.sentence()
    if level is Level.WARNING:
        assert found.remedy.endswith("127.0.0.1,localhost")
        assert machine.proxies(environ | {"NO_PROXY": found.remedy.removeprefix("export NO_PROXY=")}).level is Level.OK


def test_a_clock_before_this_plugin_is_bad() -> None:
    """A machine that begins in 1970 makes certificates that nobody accepts later."""
    assert machine.clock(0.0).level is Level.BAD
    assert machine.clock(2_000_000_000.0).level is Level.OK


def test_a_system_without_proc_is_asked_for_its_memory_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Mac; without psutil nothing is said of memory, and never anything of inotify."""
    subjects = [each.subject for each in machine.findings(1, proc=tmp_path, cgroup=tmp_path)]
    assert subjects == ["memory", "open files", "loopback", "proxies", "clock"]
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert subjects[1:] == [each.subject for each in machine.findings(1, proc=tmp_path, cgroup=tmp_path)]


def test_a_system_that_says_nothing_of_available_memory_has_another_way(tmp_path: Path) -> None:
    """Kernels before 3.14 had no such line."""
    proc = system(tmp_path / "proc")
    (proc / "meminfo").write_text("MemTotal: 16000000 kB\n")
    assert "MiB are available" in about("memory", proc, tmp_path).what


def test_the_processes_of_an_ordinary_user_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread of his counts, and none of others."""
    for name in ("self", "7/task/7", "7/task/8", "9/task/9"):
        (tmp_path / name).mkdir(parents=True)
    me = os.geteuid() or 65533
    for task in ("7", "9"):
        if os.geteuid() == 0:
            os.chown(tmp_path / task / "task", me if task == "7" else 65532, -1)
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (152, 152))
    (found,) = machine._threads(tmp_path, tmp_path)
    mine = 2 if os.getuid() == 0 else 3
    assert (found.level, found.what.split()[0]) == (Level.WARNING, str(152 - mine))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a network of its own, as CI has it")
def test_a_loopback_that_is_down_is_bad() -> None:
    """In a network of its own, where nobody has brought it up."""
    program = (
        "from pytest_kina.doctor import machine; found = machine._loopback(); print(found.level.value, found.what)"
    )
    argv = ["unshare", "--net", sys.executable, "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("bad 127.0.0.1 is out of order: ")


def test_this_machine_can_be_looked_at() -> None:
    """The real system answers every question with a finding of its own."""
    subjects = [each.subject for each in machine.findings(1, proc=Path("/proc"))]
    assert len(subjects) == len(set(subjects))
    assert {"open files", "loopback", "proxies", "clock"} <= set(subjects)
    if sys.platform == "linux":
        assert {"memory", "inotify"} <= set(subjects)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_the_limit_of_a_users_processes_counts(tmp_path: Path) -> None:
    """An ordinary user with few processes left is told so; root has no such limit."""
    program = (
        "import os, resource; from pathlib import Path; from pytest_kina.doctor import machine\n"
        "list(machine.findings(1, proc=Path('/proc')))  # whatever is imported late is imported by root\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (50, 50)); os.setgroups([]); os.setgid(65533); os.setuid(65533)\n"
        "print(*[f.level.value for f in machine.findings(1, proc=Path('/proc')) if f.subject == 'processes'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "bad\n"
