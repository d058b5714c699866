"""The peers as programs, built from the Go module proxy: kwokctl, and a program of ours that runs envtest."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pytest_kina.process import environment, run_command

KWOK = "v0.8.0"
CONTROLLER_RUNTIME = "v0.24.1"
"""The release that belongs to Kubernetes 1.36."""

_SOURCE = Path(__file__).with_name("envtest") / "main.go"
_TIMEOUT = 1800.0
_GO = ("GOPROXY", "GOFLAGS", "GOMODCACHE", "GOCACHE", "GOPATH", "GONOSUMDB", "GOSUMDB", "GONOPROXY", "GOPRIVATE")


def build(directory: Path) -> tuple[Path, Path]:
    """The programs ``envtest`` and ``kwokctl`` in ``directory``; built when they are missing. Needs ``go`` on PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    envtest = directory / f"envtest-{CONTROLLER_RUNTIME}"
    kwokctl = directory / f"kwokctl-{KWOK}"
    go = shutil.which("go")
    if go is None and not (envtest.exists() and kwokctl.exists()):
        raise SystemExit("the peers are built with Go, and there is no go on PATH")
    if not envtest.exists():
        _build_envtest(Path(str(go)), envtest)
    if not kwokctl.exists():
        with tempfile.TemporaryDirectory(dir=directory) as place:
            _go(Path(str(go)), "install", f"sigs.k8s.io/kwok/cmd/kwokctl@{KWOK}", cwd=Path(place), bin=place)
            (Path(place) / "kwokctl").replace(kwokctl)
    return envtest, kwokctl


def _build_envtest(go: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        work = Path(place)
        shutil.copy(_SOURCE, work / "main.go")
        _go(go, "mod", "init", "kina.example/envtest", cwd=work)
        _go(go, "get", f"sigs.k8s.io/controller-runtime@{CONTROLLER_RUNTIME}", cwd=work)
        _go(go, "mod", "tidy", cwd=work)
        _go(go, "build", "-o", str(work / "envtest"), ".", cwd=work)
        (work / "envtest").replace(target)


def _go(go: Path, *arguments: str, cwd: Path, bin: str = "") -> None:  # noqa: A002 - GOBIN
    print(f"go {' '.join(arguments)}", flush=True)
    env = environment({"GOTOOLCHAIN": "local"} | ({"GOBIN": bin} if bin else {}), also=_GO)
    run_command([go, *arguments], timeout=_TIMEOUT, env=env, cwd=cwd)


if __name__ == "__main__":
    import sys

    print(*build(Path(sys.argv[1])), sep="\n")
