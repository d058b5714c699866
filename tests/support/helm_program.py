"""Helm for tests: the real program, built once, and a stand-in that answers as the real one was seen to."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from pytest_kina.process import environment, run_command

CHART = Path(__file__).with_name("charts") / "shop"
RENDERED = CHART.with_name("shop.rendered.yaml").read_text()
"""What Helm 3.22 makes of the chart for Kubernetes 1.36 with the colour blue: a long test compares."""

REFUSED = "Error: execution error at (shop/templates/objects.yaml:6:13): colour: say which\n"
"""What it says without a colour."""

_MODULE = "helm.sh/helm/v3/cmd/helm@v3.22.0"
_STAND_IN = """
import json, os, sys
from pathlib import Path
here = Path(__file__).parent
call = {"argv": sys.argv[1:], "cwd": os.getcwd(), "stdin": sys.stdin.read(), "env": dict(os.environ)}
with (here / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(call) + "\\n")
answer = json.loads((here / "answer.json").read_text())
sys.stdout.write(answer["stdout"])
sys.stderr.write(answer["stderr"])
sys.exit(answer["code"])
"""


def real_helm() -> Path:
    """The real program: on PATH, else built from the Go module proxy, which takes minutes, and kept."""
    if found := shutil.which("helm"):
        return Path(found)
    directory = user_cache_path("pytest-kina-tests") / "helm-v3.22.0"
    if not (directory / "helm").exists():
        directory.mkdir(parents=True, exist_ok=True)
        env = environment({"GOBIN": str(directory), "CGO_ENABLED": "0"}, also=("GOPROXY", "GOCACHE", "GOFLAGS"))
        run_command(["go", "install", "-trimpath", _MODULE], timeout=1800, env=env)
    return directory / "helm"


class StandIn:
    """A program called helm in ``directory``: it notes its calls, and answers what it is told to."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.program = directory / "helm"
        self.program.write_text(f"#!{sys.executable} -IS\n{_STAND_IN}")
        self.program.chmod(0o700)
        self.answers(RENDERED)

    def answers(self, stdout: str, *, stderr: str = "", code: int = 0) -> None:
        """From now on it prints this, and exits with ``code``."""
        answer = {"stdout": stdout, "stderr": stderr, "code": code}
        self.program.with_name("answer.json").write_text(json.dumps(answer))

    @property
    def calls(self) -> list[Mapping[str, Any]]:
        """What it was asked so far: ``argv``, ``cwd``, ``stdin`` and ``env`` of each call."""
        calls = self.program.with_name("calls.jsonl")
        return [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
