"""The gate at the end of this project's own test sessions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CONFTEST = """
from tests.support.leaks import LeakGate

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(LeakGate(patience=0.5))
"""
CLEANED = """
from _pytest.pathlib import cleanup_numbered_dir
from tests.support.leaks import LeakGate

class Cleaned(LeakGate):
    def _left(self):
        cleanup_numbered_dir(self._base.parent, "pytest-", 0, 0.0)  # as another session does at its end
        return super()._left()

def pytest_configure(config):
    config.pluginmanager.register(Cleaned(patience=0.5))
"""
PROCESS = """
def test_it():
    import pathlib, subprocess
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True, **quiet)
    pathlib.Path("pid").write_text(str(process.pid))
"""
SUPERVISED = PROCESS.replace('["/bin/sleep", "600"], ', "ARGV, env={}, ").replace(
    "import pathlib,", "import sys, pathlib,"
)
SUPERVISED = SUPERVISED.replace("test_it():", "test_it(tmp_path):").replace(
    "    process =", '    ARGV = [sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path)]\n    process ='
)
LOCK = """
import fcntl

def test_it(tmp_path):
    global stream
    stream = open(tmp_path / "0.lock", "w")
    fcntl.flock(stream, fcntl.LOCK_EX)
"""
TEMPORARY = """
def test_it():
    import pathlib, tempfile
    (pathlib.Path(tempfile.mkdtemp(suffix="left")) / "clue").touch()
"""
VANISHED = """
def test_it(tmp_path):
    import shutil
    shutil.rmtree(tmp_path.parent)
"""


def session(place: Path, source: str, *how: str, conftest: str = CONFTEST) -> subprocess.CompletedProcess[str]:
    """A session of a project that has the gate, with the directories of its tests below ``base``."""
    (place / "conftest.py").write_text(conftest, encoding="utf-8")
    (place / "base").mkdir()
    (place / "test_it.py").write_text(source, encoding="utf-8")
    plain = [
        word for name in ("randomly", "cacheprovider", "kina", "timeout", "benchmark") for word in ("-p", f"no:{name}")
    ]
    argv = [sys.executable, "-W", "ignore", "-m", "pytest", *plain, *how]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    env |= {"PYTHONPATH": str(REPOSITORY), "PYTEST_DEBUG_TEMPROOT": str(place / "base")}
    return subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("how", [(), ("-n", "1")], ids=["serial", "xdist"])
@pytest.mark.parametrize("source", [PROCESS, SUPERVISED], ids=["child", "supervised"])
def test_a_process_that_is_left_fails_the_session(tmp_path: Path, source: str, how: tuple[str, ...]) -> None:
    """A child is known by the session's mark, a process with an environment of its own by its directory."""
    done = session(tmp_path, source, *how)
    pid = int((tmp_path / "pid").read_text(encoding="utf-8"))
    os.kill(pid, signal.SIGKILL)
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    assert f"process {pid}: " in done.stderr


@pytest.mark.parametrize(("source", "said"), [(LOCK, "held lock: "), (TEMPORARY, "left, with clue")])
def test_a_lock_or_file_that_is_left_fails_the_session(tmp_path: Path, source: str, said: str) -> None:
    """So is a lock that is still held, and a file in the directory for temporary files."""
    done = session(tmp_path, source)
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("how", [(), ("-n", "1")], ids=["serial", "xdist"])
def test_a_tidy_session_passes(tmp_path: Path, how: tuple[str, ...]) -> None:
    """A session that has cleaned up behind itself is not held up."""
    done = session(tmp_path, "def test_it(tmp_path): (tmp_path / 'file').touch()", *how)
    assert (done.returncode, "leak gate" in done.stderr) == (0, False), done.stdout + done.stderr


def test_other_sessions_do_not_remove_what_is_looked_at(tmp_path: Path) -> None:
    """The session's directory is locked until the gate has seen it, and no longer."""
    done = session(tmp_path, TEMPORARY, conftest=CLEANED)
    assert (done.returncode, "temporary file: " in done.stderr) == (1, True), done.stdout + done.stderr
    assert list((tmp_path / "base").glob("pytest-of-*/pytest-0"))
    assert list((tmp_path / "base").glob("pytest-of-*/pytest-0/.lock")) == []


def test_a_directory_that_vanished_fails_the_session(tmp_path: Path) -> None:
    """Who removes it may have removed what was left, so nothing is known; the session says so rather than crash."""
    done = session(tmp_path, VANISHED)
    assert (done.returncode, "1 passed" in done.stdout) == (1, True), done.stdout + done.stderr
    assert "no temporary directory to look into" in done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
