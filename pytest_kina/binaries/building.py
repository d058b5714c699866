"""Building a family with Go from its published modules.

One generated ``go.mod`` per family. ``k8s.io/kubernetes`` requires its staging modules at a version that does not
exist, and ``replace`` lines of a dependency are ignored, so they are repeated here from the module's own ``go.mod``;
minimal version selection then yields exactly upstream's build list. Versions are stamped with ``-X``, as upstream's
``hack/lib/version.sh`` does; the linker ignores names that it does not know, so the caller asserts what is printed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kina import crashpoints
from pytest_kina.binaries import toolchain
from pytest_kina.binaries.releases import SERVERS, Version
from pytest_kina.binaries.store import Store
from pytest_kina.errors import BinaryError, CommandError
from pytest_kina.files import write_atomic
from pytest_kina.process import environment, run_command
from pytest_kina.progress import Progress

_KUBE_SERVER = "kube-server"
_BUILD_TIMEOUT = 5400.0
_QUERY_TIMEOUT = 600.0
_TICK = 1.0
_LOG_TAIL = 30
_PASSED_ON = (
    "ALL_PROXY",
    "GIT_SSL_CAINFO",
    "GOAUTH",
    "GOCACHE",
    "GOCACHEPROG",
    "GOENV",
    "GOINSECURE",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOMODCACHE",
    "GONOPROXY",
    "GONOSUMCHECK",
    "GONOSUMDB",
    "GOPATH",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOTMPDIR",
    "GOVCS",
    "NETRC",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How a family is built: its modules (the first decides the Go version), and a package per executable."""

    modules: tuple[str, ...]
    packages: Mapping[str, str]
    go: Version
    aliases: Mapping[str, str]


# ``go``: what the newest release of the family asks for, so that the first toolchain is the right one.
_RECIPES = {
    "kubernetes": _Recipe(
        ("k8s.io/kubernetes",), {_KUBE_SERVER: "."}, Version(1, 26, 0), dict.fromkeys(SERVERS, _KUBE_SERVER)
    ),
    "kubectl": _Recipe(("k8s.io/kubernetes",), {"kubectl": "k8s.io/kubernetes/cmd/kubectl"}, Version(1, 26, 0), {}),
    "etcd": _Recipe(
        ("go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdutl/v3"),
        {"etcd": "go.etcd.io/etcd/server/v3", "etcdutl": "go.etcd.io/etcd/etcdutl/v3"},
        Version(1, 26, 0),
        {},
    ),
    "kwok": _Recipe(("sigs.k8s.io/kwok",), {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, Version(1, 26, 0), {}),
}


def build(family: str, version: Version, *, target: Path, store: Store, progress: Progress) -> str:
    """Build the executables of a family into the directory ``target``, and say with what.

    The working directory and the Go caches stay after a failure or a kill, so that the next try continues. Call it
    with the entry's lock held. Raises :class:`BinaryError` with the end of the compiler's output.
    """
    work = store.hidden("work") / f"{family}-{version}-{store.platform.suffix}"
    work.mkdir(mode=0o700, exist_ok=True)
    builder = _Builder(family, version, work, store, progress)
    try:
        source = builder.run(target)
    except CommandError as error:
        raise BinaryError(f"building {family} {version} failed: {error.message}{_tail(builder.log)}") from error
    with crashpoints.around("build.aliases"):
        for alias, name in builder.recipe.aliases.items():
            (target / alias).symlink_to(name)
    shutil.rmtree(work, ignore_errors=True)
    return source


def newest_patch(series: str, *, store: Store, progress: Progress) -> Version:
    """The newest released patch of a Kubernetes minor that the Go module proxy offers. Raises :class:`BinaryError`."""
    go = toolchain.find(_RECIPES["kubernetes"].go, store, progress)
    work = store.hidden("work")
    asked: list[str | Path] = [go.go, "list", "-m", "-versions", "-json", "k8s.io/kubernetes"]
    try:
        answer = run_command(asked, timeout=_QUERY_TIMEOUT, env=_environment(store), cwd=work)
    except CommandError as error:
        raise BinaryError(f"the module proxy does not list Kubernetes versions: {error.message}") from error
    released = []
    for text in json.loads(answer.stdout).get("Versions", []):
        try:
            released.append(Version.parse(text))
        except ValueError:
            continue  # a pre-release
    matching = [version for version in released if version.series == series]
    if not matching:
        raise BinaryError(f"the module proxy has no released Kubernetes {series}")
    return max(matching)


class _Builder:
    """One build: fetch the module, write ``go.mod``, resolve, compile."""

    def __init__(self, family: str, version: Version, work: Path, store: Store, progress: Progress) -> None:
        self.recipe = _RECIPES[family]
        self.label = f"{family} {version}"
        self.version = version
        self.work = work
        self.store = store
        self.progress = progress
        self.log = work / "build.log"
        self.log.write_bytes(b"")
        self.env = _environment(store) | {"GOTMPDIR": str(_emptied(work / "tmp"))}
        self.go = toolchain.find(self.recipe.go, store, progress)

    def run(self, target: Path) -> str:
        self.progress(f"fetching the sources of {self.label}")
        module = self._download()
        needed = Version.parse(_full(module["go"]["Go"]))
        if needed > self.go.version:
            self.go = toolchain.find(needed, self.store, self.progress)
        with crashpoints.around("build.module"):
            self._write_module(module["go"])
        self.progress(f"resolving the modules of {self.label}")
        packages = list(self.recipe.packages.values())
        total = len(self._go("list", "-mod=mod", "-deps", *packages, timeout=_BUILD_TIMEOUT).split())
        stamps = _stamps(self.version, module["time"])
        for name, package in self.recipe.packages.items():
            self.log.write_bytes(b"")
            ticking = _ticking(self.log, f"compiling {self.label} ({name})", total, self.progress)
            with ticking, crashpoints.around("build.compile"):
                self._compile(package, target / name, stamps)
        return f"built with {self.go.source} go{self.go.version.number}"

    def _compile(self, package: str, output: Path, stamps: Mapping[str, str]) -> None:
        flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])
        self._go(
            "build", "-v", "-mod=mod", "-trimpath", "-buildvcs=false", f"-ldflags={flags}", f"-o={output}", package,
            timeout=_BUILD_TIMEOUT,
        )  # fmt: skip

    def _download(self) -> dict[str, Any]:
        """The first module's ``go.mod``, parsed by Go itself, and when it was released."""
        asked = f"{self.recipe.modules[0]}@{self.version}"
        answer = json.loads(self._go("mod", "download", "-json", asked, timeout=_BUILD_TIMEOUT))
        info = json.loads(Path(answer["Info"]).read_bytes())
        described = json.loads(self._go("mod", "edit", "-json", answer["GoMod"], timeout=_QUERY_TIMEOUT))
        return {"go": described, "time": info.get("Time", "1970-01-01T00:00:00Z")}

    def _write_module(self, upstream: Mapping[str, Any]) -> None:
        """Write ``go.mod`` and the program, unless a killed build has left the same already resolved."""
        text = module_file(self.recipe.modules, self.version, upstream)
        asked = self.work / "asked.mod"
        if not (self.work / "go.sum").exists() or not asked.exists() or asked.read_text() != text:
            (self.work / "go.sum").unlink(missing_ok=True)
            write_atomic(self.work / "go.mod", text.encode())
            write_atomic(asked, text.encode())
        if "." in self.recipe.packages.values():
            program = Path(__file__).parent / "kube_server" / "main.go"
            write_atomic(self.work / "main.go", program.read_bytes())

    def _go(self, *arguments: str, timeout: float) -> str:
        """Run ``go`` under the guard: it must not outlive this process, which may be killed at any moment."""
        guard: list[str | Path] = [sys.executable, "-I", "-S", Path(__file__).with_name("_guard.py")]
        argv = [*guard, str(os.getpid()), self.log, self.go.go, *arguments]
        return run_command(argv, timeout=timeout, env=self.env, cwd=self.work).stdout


def module_file(modules: Sequence[str], version: Version, upstream: Mapping[str, Any]) -> str:
    """The ``go.mod`` to build ``modules`` with; ``upstream`` is theirs, as ``go mod edit -json`` prints it."""
    staging = [
        replace["Old"]["Path"]
        for replace in upstream.get("Replace") or []
        if replace["New"]["Path"].startswith("./staging/")
    ]
    lines = ["module kina.invalid/build", "", f"go {upstream['Go']}", ""]
    lines += [f"godebug {setting['Key']}={setting['Value']}" for setting in upstream.get("Godebug") or []]
    lines += [f"require {module} {version}" for module in modules]
    lines += [f"replace {path} => {path} v0.{version.minor}.{version.patch}" for path in staging]
    return "\n".join(lines) + "\n"


def _stamps(version: Version, released: str) -> dict[str, str]:
    """Values for ``-X``, the same for everybody who builds this version."""
    values = {
        "gitVersion": str(version),
        "gitMajor": str(version.major),
        "gitMinor": str(version.minor),
        "gitCommit": "0" * 40,
        "gitTreeState": "clean",
        "buildDate": released,
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    kubernetes = {f"{package}.{name}": value for package in packages for name, value in values.items()}
    return kubernetes | {"sigs.k8s.io/kwok/pkg/consts.Version": str(version)}


def _full(go_directive: str) -> str:
    return go_directive if go_directive.count(".") == 2 else f"{go_directive}.0"


def _emptied(directory: Path) -> Path:
    """A place for what Go leaves when it is killed, which is hundreds of megabytes; it goes with the next build."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    return directory


def _environment(store: Store) -> dict[str, str]:
    """The user's own proxies and caches, and nothing that changes what is built.

    ``GOFLAGS`` is set because the user's ``go env -w`` file could hold others; a variable that is set wins. Without
    a home the caches are ours.
    """
    env = environment(also=_PASSED_ON) | {
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOARCH": store.platform.arch,
        "GOFLAGS": "-modcacherw",
        "GOOS": store.platform.os,
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    if "HOME" not in env:
        caches = store.hidden("go")
        env = {"GOCACHE": str(caches / "build"), "GOMODCACHE": str(caches / "modules"), **env}
    return env


@contextmanager
def _ticking(log: Path, what: str, total: int, progress: Progress) -> Iterator[None]:
    """Report once a second how many packages the compiler has named in ``log``."""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(_TICK):
            progress(what, log.read_bytes().count(b"\n"), total)

    progress(what, 0, total)
    thread = threading.Thread(target=tick, name="kina-build-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
    return "\n" + "\n".join(lines) if lines else ""
