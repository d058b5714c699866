"""A process dies at any point of a cluster's life: the next run repairs it all."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_kina.pool import crashpoints
from pytest_kina.testing import backend_state
from tests.support.pool_crashes import POINTS
from tests.support.pool_kit import Kit, want


@pytest.fixture(scope="module")
def wrecks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A directory with one root per point, as the death at that point left it, and the exit codes."""
    directory = tmp_path_factory.mktemp("wrecks")
    argv = [sys.executable, "-m", "tests.support.pool_crashes", str(directory), *POINTS]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True, cwd=Path(__file__).parents[2])
    return directory, json.loads(done.stdout)


@pytest.mark.parametrize("point", POINTS)
def test_a_death_at_any_point_is_repaired_by_the_next_run(wrecks: tuple[Path, dict[str, int]], point: str) -> None:
    """The next run tidies up, gets clean clusters in every slot, and leaves nothing: no record, directory, lock or file."""
    directory, codes = wrecks
    assert codes[point] == 137, "the point was not reached"
    kit = Kit(directory / point)
    kit.pool.tidy()
    assert list(kit.root.processes.iterdir()) == []
    leases = kit.pool.lease([want(), want()], note="the next run")
    assert [backend_state(lease.directory) for lease in leases] == ["clean", "clean"]
    assert sorted(lease.name for lease in leases) == kit.clusters()
    kit.pool.retire()
    kit.pool.close()
    left = [path for path in kit.root.path.rglob("*") if path.is_file() and path.parent != kit.root.slots]
    assert sorted(path.name for path in left) == ["fake.calls", "pool.json"]
    assert {path.suffix for path in kit.root.slots.iterdir()} == {".lock"}


def test_a_point_without_an_order_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are no-ops, also when the order names another point."""
    monkeypatch.delenv("KINA_CRASH", raising=False)
    crashpoints.reach("create.before")
    monkeypatch.setenv("KINA_CRASH", "create.after:exit")
    crashpoints.reach("create.before")


def test_the_effects_of_a_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A point can raise, run out of disk, or be slow; several points may be ordered at once."""
    monkeypatch.setenv("KINA_CRASH", "a.before:raise,b.before:enospc,c.after:sleep")
    with pytest.raises(RuntimeError, match=r"crash point a\.before"), crashpoints.around("a"):
        pass
    with pytest.raises(OSError, match="No space left") as caught, crashpoints.around("b"):
        pass
    assert caught.value.errno == errno.ENOSPC
    began = time.monotonic()
    with crashpoints.around("c"):
        pass
    assert time.monotonic() - began >= 1.0


def test_a_process_can_be_stopped_at_a_point(tmp_path: Path) -> None:
    """Stopped with the slot's lock in its hands, a process keeps it; the time-out of others names it as stopped."""
    program = "import sys; from pathlib import Path; from tests.support.pool_kit import Kit; Kit(Path(sys.argv[1]), size=1).lease()"
    env = os.environ | {"KINA_CRASH": "create.before:stop"}
    cwd = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "root")], env=env, cwd=cwd) as stopped:
        try:
            assert os.WIFSTOPPED(os.waitpid(stopped.pid, os.WUNTRACED)[1])
            kit = Kit(tmp_path / "root", size=1, lease_timeout=0.1)
            with pytest.raises(Exception, match=rf"slot 0: DOOMED, held; .*process {stopped.pid} .*which is STOPPED"):
                kit.lease()
            kit.pool.tidy()
            assert kit.status(0).held
        finally:
            stopped.send_signal(signal.SIGCONT)
    assert stopped.returncode == 0
    assert kit.lease().number == 0
    kit.pool.close()
