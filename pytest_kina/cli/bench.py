"""Compare providers on this machine, in turns: each makes a cluster, runs a first Deployment, and deletes it.

What the clusters need (binaries, node images) is obtained before, and the first round does not count. Providers that
cannot run here are skipped with the reason; one that fails does not end the others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_kina.cli import up
from pytest_kina.cli.output import say, say_json, write_page
from pytest_kina.errors import KinaError, ProviderUnavailableError, SettingsError
from pytest_kina.gate.contest import Contest, Entrant, contest_lines
from pytest_kina.pool import Want
from pytest_kina.providers import find, measured_with, names
from pytest_kina.run import Run
from pytest_kina.settings import Settings
from pytest_kina.spec import ClusterSpec, Isolation
from pytest_kina.workload import PHASES, WHOLE, Turn, Workload

HELP = "compare providers on this machine"

IMAGE = "registry.k8s.io/pause:3.10"
"""Small, and in the node images of kubeadm's offspring already."""

_RUNS_PODS = {"pods", "simulated-nodes"}


@dataclass(slots=True, kw_only=True)
class _Side:
    """One provider that takes part, and its turns so far; the first of them gives no samples."""

    name: str
    want: Want
    workload: Workload
    left_out: str
    turns: list[Turn] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def entrant(self) -> Entrant:
        """What it has come to."""
        about = measured_with(self.want.provider, self.want.identity)
        version = f"Kubernetes {self.want.identity.get('kubernetes', self.want.spec.version)}"
        starts = " and ".join(sorted({turn.start for turn in self.turns[1:]} - {""}))
        provider = "" if about["provider"] == self.name else f"{about['provider']} "
        parts = [provider + about["provider_version"], about["runtime"], version, starts and f"start: {starts}"]
        keys = (*PHASES, WHOLE)
        found = {key: tuple(turn.seconds[key] for turn in self.turns[1:] if key in turn.seconds) for key in keys}
        return Entrant(
            name=self.name,
            about=", ".join(filter(None, parts)),
            turns=len(self.turns),
            samples={key: values for key, values in found.items() if values},
            failures=tuple(self.failures),
            left_out=self.left_out,
            busy=sum(turn.busy for turn in self.turns),
        )


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument(
        "--providers", required=True, metavar="NAMES", help="separated by commas; ratios are against the first"
    )
    command.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds that count (default: 5)")
    command.add_argument("--version", help="Kubernetes version, like 1.36 (default: the project's)")
    command.add_argument("--image", default=IMAGE, help=f"what the Deployment runs (default: {IMAGE})")
    command.add_argument("--no-deployment", action="store_true", help="make and delete clusters only")
    command.add_argument("--start-timeout", metavar="DURATION", help="how long making one may take (default: 60s)")
    command.add_argument("--html", type=Path, metavar="PATH", help="also write a page of HTML")
    command.add_argument("--offline", action="store_true", help="never use the network to obtain binaries")
    command.add_argument("--mirror", metavar="URL", help="where to download binaries from")
    command.add_argument("--assets", metavar="DIRS", help="directories with control-plane binaries, searched first")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the comparison; 1 when a turn failed or nobody could take part. Raises SettingsError and SpecError."""
    asked = _names(chosen.providers)
    if chosen.repeat < 1:
        raise SettingsError(f"--repeat {chosen.repeat}: expected at least 1", next_step="5 is a good beginning")
    if chosen.html and not chosen.html.absolute().parent.is_dir():
        raise SettingsError(
            f"--html: there is no directory {chosen.html.absolute().parent}", next_step="make it, or name another"
        )
    specs = {name: up.spec_of(_as_up(chosen, name), settings) for name in asked}
    # A cluster that stays, or one that is made ahead, would be measured as something else.
    alone = replace(settings, ttl=0.0, spares=0)
    with closing(Run(alone, worker="bench")) as process:
        try:
            contest = _contest(chosen, specs, process)
        finally:
            process.retire()
    _tell(process.said)
    (say_json(contest.to_json()) if chosen.json else say(contest_lines(contest)))
    if chosen.html:
        from pytest_kina.html.contest import contest_page

        write_page(chosen.html, contest_page(contest))
    return 1 if contest.failed else 0


def _contest(chosen: argparse.Namespace, specs: Mapping[str, ClusterSpec], process: Run) -> Contest:
    sides: list[_Side] = []
    skipped: dict[str, str] = {}
    for name, spec in specs.items():
        met = _met(name, spec, chosen, process)
        if isinstance(met, str):
            skipped[name] = met
            _tell([f"{name}: skipped, {met}"])
        else:
            sides.append(met)
    ended = _rounds(sides, chosen.repeat, process)
    return Contest(
        rounds=chosen.repeat,
        phases=(*PHASES, WHOLE),
        entrants=tuple(side.entrant() for side in sides),
        skipped=skipped,
        ended=ended,
    )


def _met(name: str, spec: ClusterSpec, chosen: argparse.Namespace, process: Run) -> _Side | str:
    """The provider with everything at hand that its clusters need, or one line that says why it cannot take part."""
    try:
        process.validate(spec, Isolation.FRESH)
        want = up.prepared(spec, process.settings)
    except ProviderUnavailableError as error:
        return _one_line(error.message)
    except (KinaError, OSError) as error:
        return _one_line(str(error))
    why = _no_deployment(chosen, want)
    workload = Workload(image=None if why else chosen.image, timeout=process.settings.start_timeout)
    return _Side(name=name, want=want, workload=workload, left_out=why)


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines())


def _no_deployment(chosen: argparse.Namespace, want: Want) -> str:
    if chosen.no_deployment:
        return "--no-deployment"
    if want.spec.profile != "workloads":
        return f"the profile {want.spec.profile} has no controllers"
    if not _RUNS_PODS & want.provider.info.capabilities:
        return f"it has neither of the capabilities {' and '.join(sorted(_RUNS_PODS))}"
    return ""


def _rounds(sides: Sequence[_Side], repeat: int, process: Run) -> str:
    """Let all take their turns, each round beginning with another one; returns why it was not all of them."""
    for number in range(repeat + 1):
        which = f"round {number} of {repeat}" if number else "round that does not count"
        first = number % max(len(sides), 1)
        for side in (*sides[first:], *sides[:first]):
            _tell([f"{which}: {side.name}"])
            try:
                turn = side.workload.turn(process, side.want.spec, number)
            except KeyboardInterrupt:
                return f"interrupted in {which}"
            side.turns.append(turn)
            if turn.failure:
                side.failures.append(f"{which}: {turn.failure}")
                _tell([f"{side.name} failed: {turn.failure}"])
    return ""


def _names(text: str) -> list[str]:
    """The names that ``--providers`` gives. Raises :class:`SettingsError`."""
    asked = [name.strip() for name in text.split(",")]
    again = sorted({name for name in asked if asked.count(name) > 1})
    unknown = [name for name in asked if ":" not in name and name not in names()]
    if unknown:
        raise SettingsError(
            f"--providers: there is no provider called {', '.join(map(repr, unknown))}",
            next_step=f"name some of {', '.join(names())}, or module:attribute, separated by commas",
        )
    if again:
        raise SettingsError(f"--providers: {', '.join(again)} twice", next_step="name each provider once")
    for name in asked:
        if ":" in name:
            _loadable(name)
    return asked


def _loadable(name: str) -> None:
    try:
        find(name)
    except ProviderUnavailableError as error:
        raise SettingsError(f"--providers: {error.message}", next_step=error.next_step) from error


def _as_up(chosen: argparse.Namespace, provider: str) -> argparse.Namespace:
    """The arguments of ``up`` for the project's default cluster of this provider."""
    unset: dict[str, Any] = dict.fromkeys(("name", "profile", "simulated_nodes", "feature_gates", "api_server_args"))
    return argparse.Namespace(**unset, command=chosen.command, provider=provider, version=chosen.version)


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        sys.stderr.write(f"{line}\n")
