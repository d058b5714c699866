"""The funnel for commands, with real commands."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pytest_kina.errors import CommandError
from pytest_kina.process import environment, run_command


def python(code: str) -> list[str]:
    """A command that runs ``code``."""
    return [sys.executable, "-c", code]


def test_result_has_output_and_code() -> None:
    """Output of both streams, the exit code and the duration come back."""
    result = run_command(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"), timeout=20, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert result.seconds > 0


def test_failure_shows_command_code_and_output() -> None:
    """The error has a line that can be pasted into a shell, the code, and what the command printed."""
    with pytest.raises(CommandError, match=r"exited with 7 .*\n.*no such thing") as caught:
        run_command(python("print('no such thing'); raise SystemExit(7)"), timeout=20)
    assert caught.value.returncode == 7
    assert caught.value.argv[0] == sys.executable


def test_missing_program_is_a_command_error(tmp_path: Path) -> None:
    """A program that does not exist is reported like any other failure."""
    with pytest.raises(CommandError, match="could not be started"):
        run_command([tmp_path / "nothing"], timeout=5)


def test_time_out_kills_the_whole_group(tmp_path: Path) -> None:
    """At the time-out the command and its children are killed, and what was printed so far is shown."""
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "print('started', flush=True)\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(CommandError, match="did not finish within 2 s"):
        run_command(python(code), timeout=2)
    child = int(pid_file.read_text())
    deadline = time.monotonic() + 10
    while _running(child):
        assert time.monotonic() < deadline, "the grandchild outlived the time-out"
        time.sleep(0.01)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_standard_input_is_given_or_empty() -> None:
    """Text on stdin arrives; without it the command sees the end of file instead of our terminal."""
    code = "import sys; print(sys.stdin.read().upper(), end='')"
    assert run_command(python(code), timeout=20, stdin="abc").stdout == "ABC"
    assert run_command(python(code), timeout=20).stdout == ""


def test_children_do_not_see_the_ambient_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only known variables are passed on: a kubeconfig or a token of the user never reaches a child."""
    monkeypatch.setenv("KUBECONFIG", "/home/me/production")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = run_command(python("import os; print(sorted(os.environ))"), timeout=20).stdout
    assert "KUBECONFIG" not in seen
    assert "AWS" not in seen
    assert "'PATH'" in seen


def test_environment_takes_extras() -> None:
    """Extra variables and further names are added to the list."""
    os.environ["KINA_TEST_ONLY"] = "1"
    try:
        assert environment({"A": "b"}, also=["KINA_TEST_ONLY"]).items() >= {"A": "b", "KINA_TEST_ONLY": "1"}.items()
        assert "KINA_TEST_ONLY" not in environment()
    finally:
        del os.environ["KINA_TEST_ONLY"]


def test_time_out_is_kept_when_a_descendant_has_left_the_group(tmp_path: Path) -> None:
    """A descendant in a session of its own keeps the pipes open, but not the caller waiting."""
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    try:
        with pytest.raises(CommandError, match="did not finish within 2 s"):
            run_command(python(code), timeout=2)
        assert _running(int(pid_file.read_text())), "the pipes were open while we returned"
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
