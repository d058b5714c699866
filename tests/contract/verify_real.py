"""``python -m tests.contract.verify_real kina``: the conformance suite on the real tools of this machine, with a report.

Makes and deletes about forty clusters, one or four at a time; with ``--only create`` just the checks of that name.
The report (docs/verify-on-a-mac.md) is printed and written into the current directory.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_kina import __version__
from pytest_kina.cluster import Cluster
from pytest_kina.errors import KinaError
from pytest_kina.process import run_command
from pytest_kina.progress import silent
from pytest_kina.providers import Provider, find
from pytest_kina.settings import default_root
from pytest_kina.testing import ProviderConformance
from pytest_kina.timing import Phase

PROVIDER = os.environ.get("VERIFY_PROVIDER", "kina")
IMAGE = os.environ.get("VERIFY_IMAGE", "docker.io/library/busybox:latest")
_ROOT = default_root()
_QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # what is examined has been imported to look for it

phases: dict[str, list[float]] = {}
"""Seconds of every phase that succeeded, by its name."""


class TestReal(ProviderConformance):
    """The suite, with pods that really use the image that was loaded."""

    timeout = 900.0
    grace = 120.0

    def provider(self) -> Provider:
        """The provider that was named on the command line."""
        return find(PROVIDER, {"root": _ROOT})

    def teardown_method(self) -> None:
        """Keep the timings."""
        for event in self.bench.recorder.drain():
            if event.ok:
                phases.setdefault(event.phase.value, []).append(event.seconds)
        super().teardown_method()

    def image_archive(self, directory: Path) -> Path:
        """That of an image of this machine, which docs/verify-on-a-mac.md lets the user pull."""
        archive = self.provider().save_image(IMAGE)  # type: ignore[attr-defined]
        assert isinstance(archive, Path)
        return archive

    def has_image(self, directory: Path, archive: Path) -> bool:
        """A pod that may not pull it runs to its end."""
        namespace = Cluster.open(directory).create_namespace(f"image-{secrets.token_hex(2)}")
        container = {"name": "a", "image": IMAGE, "imagePullPolicy": "Never", "command": ["true"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "a"},
            "spec": {"containers": [container], "restartPolicy": "Never"},
        }
        namespace.apply(pod)
        namespace.wait("pod/a", until=lambda found: found["status"]["phase"] in ("Running", "Succeeded"), timeout=60)
        return archive.exists()


@dataclass(slots=True)
class Outcomes:
    """What each check came to; a pytest plugin."""

    rows: list[tuple[str, str, float, str]] = field(default_factory=list)
    phases: Mapping[str, list[float]] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Find the timings: pytest has imported this file under another name."""
        self.phases = vars(sys.modules[type(items[0].instance).__module__])["phases"] if items else {}  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One row per check; of its set-up and teardown only what failed."""
        if report.when == "call" or not report.passed:
            name = report.nodeid.rpartition("::")[2]
            text = report.longreprtext if report.failed else ""
            self.rows.append((name, report.outcome, report.duration, text))


def main() -> int:
    """Run the suite and write the report. Exit code 0: all checks passed."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("provider", help="kina, apple_k8s, kind, k3d or another that is installed")
    options.add_argument(
        "--only", default="", metavar="WORDS", help="only checks whose names match, as pytest's -k does"
    )
    options.add_argument("--image", default=IMAGE, help="an image of this machine, to be loaded into clusters")
    chosen = options.parse_args()
    os.environ |= {"VERIFY_PROVIDER": chosen.provider, "VERIFY_IMAGE": chosen.image}
    why = find(chosen.provider).unavailable()
    if why:
        print(f"{chosen.provider} cannot run here: {why}", file=sys.stderr)
        return 1
    outcomes = Outcomes()
    arguments = [
        str(Path(__file__)),
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-m",
        "",
        "--tb=short",
        "-q",
        *_QUIET,
    ]
    code = int(pytest.main([*arguments, *(["-k", chosen.only] if chosen.only else [])], plugins=[outcomes]))
    report = _report(chosen.provider, outcomes)
    path = Path(f"kina-verification-{re.sub(r'[^a-z0-9_]+', '-', chosen.provider.lower())}.md")
    path.write_text(report, encoding="utf-8")
    print(f"\n{report}\nwritten to {path.absolute()}")
    return code


def _report(provider: str, outcomes: Outcomes) -> str:
    lines = [f"# pytest-kina {__version__} with {provider}", "", *_machine(provider), ""]
    lines += ["| check | outcome | seconds |", "| --- | --- | ---: |"]
    lines += [f"| {name} | {outcome} | {seconds:.1f} |" for name, outcome, seconds, _ in outcomes.rows]
    lines += ["", "| phase | clusters | shortest s | longest s |", "| --- | ---: | ---: | ---: |"]
    for phase in (Phase.CREATE, Phase.STARTUP, Phase.KUBECTL_READY):
        if values := outcomes.phases.get(phase.value):
            lines.append(f"| {phase.value} | {len(values)} | {min(values):.1f} | {max(values):.1f} |")
    failed = [(name, text) for name, outcome, _, text in outcomes.rows if outcome == "failed"]
    lines += [line for name, text in failed for line in ("", f"## {name}", "", "```", text, "```")]
    return "\n".join(lines) + "\n"


def _machine(provider: str) -> list[str]:
    """The machine and the tools, without names of people or hosts."""
    about: dict[str, Any] = {
        "system": f"{platform.system()} {platform.mac_ver()[0] or platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    one = find(provider)
    try:
        about |= one.prepare(TestReal.spec, silent)
    except KinaError as error:
        about["prepare"] = str(error)
    if sys.platform == "darwin":
        about["model"] = run_command(
            ["sysctl", "-n", "machdep.cpu.brand_string"], timeout=10, check=False
        ).stdout.strip()
    return [f"* {key}: {value}" for key, value in about.items()]


if __name__ == "__main__":
    raise SystemExit(main())
