"""The funnel for commands, with real commands."""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pytest_kina import process
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


@pytest.mark.parametrize("then", ["exit 0", "sleep 600"], ids=["ended by itself", "still at work"])
def test_an_interrupt_ends_the_command_and_goes_on(tmp_path: Path, then: str) -> None:
    """Ctrl-C while we wait is nobody's failure: the command is gone, and the interrupt reaches the caller as it is."""
    pid_file = tmp_path / "pid"
    # It reads first, so that we are waiting for it by then.
    told = f"read go; echo $$ > {pid_file}; kill -INT {os.getpid()}; {then}"
    with pytest.raises(KeyboardInterrupt):
        run_command(["sh", "-c", told], stdin="go\n", timeout=60)
    assert not _running(int(pid_file.read_text()))


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The pids of commands; each makes us interrupt ourselves before anybody but the kernel knows of it."""
    pids: list[int] = []
    fork_exec: Callable[..., int] = subprocess._fork_exec  # type: ignore[attr-defined]

    def interrupted(*arguments: object) -> int:
        pids.append(fork_exec(*arguments))
        for number in (signal.SIGINT, signal.SIGALRM):
            os.kill(os.getpid(), number)
        return pids[-1]

    monkeypatch.setattr(subprocess, "_fork_exec", interrupted)
    yield pids
    for pid in filter(_running, pids):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """The alarms that have come; each of them raises."""
    came: list[int] = []

    def ring(number: int, _frame: object) -> None:
        came.append(number)
        raise TimeoutError("the test took too long")

    before = signal.signal(signal.SIGALRM, ring)
    yield came
    assert signal.signal(signal.SIGALRM, before) is ring, "another handler was left behind"


def test_an_interrupt_while_a_command_is_started_ends_it(forked: list[int], alarms: list[int]) -> None:
    """It waits until the command is known and can be killed; so does another one, whose handler runs, too."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_command(["sleep", "600"], timeout=60)
    assert (len(alarms), len(forked)) == (1, 1)
    assert not _running(forked[0])
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_right_before_a_command_is_started_starts_nothing(
    forked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while we prepare for Ctrl-C is passed on at once, and leaves the handlers as they were."""
    before = signal.getsignal(signal.SIGINT)
    install = signal.signal

    def interrupted(number: int, handler: Any) -> Any:
        replaced = install(number, handler)
        if replaced is before:
            os.kill(os.getpid(), signal.SIGINT)
        return replaced

    with monkeypatch.context() as patched:
        patched.setattr(signal, "signal", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_command(["sleep", "600"], timeout=60)
    assert forked == []
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_runs_commands_although_it_may_not_hold_interrupts() -> None:
    """Only the main thread handles signals, and only there can a start be interrupted."""
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(run_command, ["echo", "hello"], timeout=60).result().stdout == "hello\n"


def _starts_of_processes() -> list[tuple[str, set[str | None]]]:
    """Every place in the package that starts a process, and the keywords that it passes."""
    package = Path(process.__file__).parent
    found = []
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name.startswith(("subprocess.", "os.system", "os.popen", "os.exec", "os.spawn")) or name == "_Outliving":
                assert isinstance(node, ast.Call)
                found.append((f"{path.relative_to(package)}: {name}", {keyword.arg for keyword in node.keywords}))
    return found


def test_every_process_gets_a_list_of_variables_and_no_shell() -> None:
    """Nothing of our environment reaches a child by default; the guard of a build hands on the list that it got."""
    starts = _starts_of_processes()
    assert len(starts) >= 4
    given = {place for place, keywords in starts if "env" not in keywords}
    assert given == {"binaries/_guard.py: subprocess.Popen"}
    assert not any("shell" in keywords for _, keywords in starts)


def test_what_a_command_makes_is_private(tmp_path: Path) -> None:
    """Whatever the umask of whoever runs it."""
    before = os.umask(0)
    try:
        run_command(python("open('made', 'w').close()"), timeout=20, cwd=tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


def test_stdin_may_be_a_file(tmp_path: Path) -> None:
    """Read by the command itself, however large; one that cannot be opened is an error of the command."""
    source = tmp_path / "in"
    source.write_bytes(b"\xff" * 200_000)
    assert run_command(["wc", "-c"], timeout=20, stdin=source).stdout.strip() == "200000"
    with pytest.raises(CommandError, match="could not be started"):
        run_command(["wc", "-c"], timeout=20, stdin=tmp_path / "missing")


def test_an_error_has_no_colours(tmp_path: Path) -> None:
    """What a tool paints is shown plain; its output is kept as it was."""
    line = ["/bin/sh", "-c", r"printf '\033[1;31mno room\033[0m\033[K' >&2; exit 3"]
    with pytest.raises(CommandError, match=r":\nno room$") as caught:
        run_command(line, timeout=10)
    assert caught.value.details["stderr"] == "\x1b[1;31mno room\x1b[0m\x1b[K"
