"""The plugin beside its real peers, on the same binaries, in turns; a table, and the data for the plots.

    KINA_ASSETS=/path/to/binaries python -m benchmarks.peers --peers DIR --repeat 10 --record

That command measures every goal with ten repetitions, in about 40 minutes; only the growth of pods is repeated less, a
third as often. ``--peers`` keeps the peers' programs, which are built there at the first time (Go, a few minutes;
alone: ``python -m benchmarks.peers.building DIR``). Every repetition asks each subject the same once, in an order that
changes; one repetition before fills the caches. ``--only`` chooses parts. ``--record`` appends the tables to
RESULTS.md, and puts the figures into ``data/peers.json``, from which ``python -m benchmarks.plots`` draws. Run it on a
machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from benchmarks.peers import building, questions, suite
from benchmarks.peers.questions import API, LARGE, WORKLOADS
from benchmarks.peers.subjects import Envtest, Kwokctl, Plugin, programs
from benchmarks.recording import HERE, machine_line, markdown_table, publish, spread

DATA = HERE / "data" / "peers.json"
_DEFAULT = "as it is"
PARTS = ("starts", "resets", "leases", "slots", "spares", "suite", "namespaces", "pods", "memory", "growth")

Figures = dict[str, dict[str, list[float]]]


class Bench:
    """Collects figures by subject and name; everything that it makes is below ``place``."""

    def __init__(self, place: Path, peers: Path, repeat: int) -> None:
        self.place = place
        self.repeat = repeat
        self.figures: Figures = defaultdict(lambda: defaultdict(list))
        programs()  # or every subject would obtain binaries of its own
        os.environ["KINA_PEERS"] = str(peers)
        self.envtest, self.kwokctl = building.build(peers)

    def home(self, name: str) -> Path:
        """A root of the plugin's; the same name is the same root."""
        (self.place / name).mkdir(exist_ok=True)
        return self.place / name / "home"

    def note(self, subject: str, found: Mapping[str, float], *, warm_up: bool) -> None:
        """Keep figures, those of the repetition that fills the caches apart."""
        for name, value in found.items() if not warm_up else ():
            self.figures[subject][name].append(value)
        print(f"{subject}: {', '.join(f'{name} {value:.3f}' for name, value in found.items())}", flush=True)

    def in_turns(self, subjects: Mapping[str, Callable[[], Mapping[str, float]]], repeat: int | None = None) -> None:
        """Ask every subject once per repetition, in an order that changes."""
        for number in range((self.repeat if repeat is None else repeat) + 1):
            for name in sorted(subjects, reverse=number % 2 == 0):
                self.note(name, subjects[name](), warm_up=number == 0)

    def starts(self) -> None:
        """Life and memory of each kind of cluster."""
        envtest = Envtest(self.envtest)
        kwokctl = Kwokctl(self.kwokctl, self.place / "kwokctl", nodes=1)
        ours = {
            f"{profile} {how}": Plugin(self.home(f"{profile}-{how}"), spec, how=how)
            for profile, spec in (("api", API), ("workloads", WORKLOADS))
            for how in ("fresh", "template")
        }
        try:
            peers = {"envtest": lambda: questions.life(envtest), "kwokctl": lambda: questions.life(kwokctl)}
            self.in_turns({name: self._life(name, one) for name, one in ours.items()} | peers)
        finally:
            for subject in (envtest, kwokctl, *ours.values()):
                subject.close()

    def _life(self, name: str, subject: Plugin) -> Callable[[], Mapping[str, float]]:
        def ask() -> Mapping[str, float]:
            found = questions.life(subject)
            if name.endswith("template") and subject.came_about != "template":
                print(f"{name}: no template, it came about {subject.came_about}", flush=True)
            return found

        return ask

    def resets(self) -> None:
        """An exclusive cluster that was used, again."""
        subject = Plugin(self.home("resets"), WORKLOADS, how="template", isolation=questions.Isolation.EXCLUSIVE)
        self.in_turns({"workloads reset": lambda: questions.reset(subject)})
        subject.close()

    def spares(self) -> None:
        """A cluster that was made ahead."""
        subject = Plugin(self.home("spares"), API, how="template", isolation=questions.Isolation.EXCLUSIVE)
        self.in_turns({"spare": lambda: questions.spare(subject)})

    def leases(self) -> None:
        """Warm leases: one process, and sixteen."""
        self.figures["one process"]["lease"] = questions.warm_leases(self.home("leases"))
        self.figures["16 processes"]["lease"] = questions.crowded_leases(self.home("leases"))

    def slots(self) -> None:
        """Warm leases in pools of different sizes."""
        os.environ["KINA_FAKE"] = str(self.place / "fake.json")
        (self.place / "fake.json").write_text("{}")
        for number in (1, 4, 16, 64):
            self.figures[f"{number} slots"]["lease"] = questions.slots(self.home(f"slots-{number}"), number)

    def suite(self) -> None:
        """Forty tests on four workers."""
        mine = suite.write(self.place / "suite-plugin", envtest=None)
        assets = Path(os.environ["KINA_PEERS"]) / "assets"
        Envtest(self.envtest).close()  # it makes the assets
        peer = suite.write(self.place / "suite-envtest", envtest=self.envtest, assets=assets)
        home = self.home("suite")
        self.in_turns(
            {
                "suite, shared": lambda: questions.suite(mine, home, peer={}),
                "suite, envtest per worker": lambda: questions.suite(peer, home, peer={}),
            }
        )

    def namespaces(self) -> None:
        """What a namespace adds to a test."""
        for name, spec in (("api", API), ("workloads", WORKLOADS)):
            subject = Plugin(self.home(f"namespaces-{name}"), spec, how="template")
            subject.lease()
            self.figures[f"namespace per test, {name}"]["added"] = questions.namespaces(subject.cluster)
            subject.stop()

    def pods(self) -> None:
        """A thousand pods on a hundred nodes."""
        kwokctl = Kwokctl(self.kwokctl, self.place / "kwokctl", nodes=100)
        unlimited = Kwokctl(self.kwokctl, self.place / "unlimited", nodes=100, flags=("--disable-qps-limits",))
        subject = Plugin(self.home("pods"), LARGE, how="template")
        asked = {
            "workloads, 100 nodes": lambda: questions.many_pods(subject),
            "kwokctl, 100 nodes": lambda: questions.many_pods(kwokctl),
            "kwokctl, 100 nodes, no limits": lambda: questions.many_pods(unlimited),
        }
        self.in_turns(asked)
        kwokctl.close()
        unlimited.close()

    def memory(self) -> None:
        """Idle clusters with other settings of the garbage collector."""
        subject = Plugin(self.home("memory"), WORKLOADS, how="template")

        def ask(percent: int) -> Mapping[str, float]:
            with questions.garbage(percent):
                return questions.life(subject, memory=True)

        asked = {f"GOGC={percent}": lambda percent=percent: ask(percent) for percent in (100, 200, 400)}
        default = {_DEFAULT: lambda: questions.life(subject, memory=True)}
        self.in_turns(asked | default)  # type: ignore[arg-type]

    def growth(self) -> None:
        """More clusters at once, more pods."""
        for clusters in (1, 2, 4, 8):
            homes = [self.home(f"growth-{number}") for number in range(clusters)]
            self.in_turns({f"{clusters} clusters": lambda homes=homes: questions.at_once(homes, API)})  # type: ignore[dict-item]
        for pods in (100, 500, 1000, 2000, 5000) * max(1, self.repeat // 3):
            self.note(f"{pods} pods", questions.growing_load(self.home("load"), pods), warm_up=False)


def main() -> int:
    """Measure, print, record."""
    options = argparse.ArgumentParser(
        "python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--peers", type=Path, required=True, metavar="DIR", help="where the peers' programs are kept")
    options.add_argument("--repeat", type=int, default=10, metavar="N", help="repetitions (default: 10)")
    options.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help=f"of {', '.join(PARTS)}")
    options.add_argument("--record", action="store_true", help="append to RESULTS.md, and keep the data for the plots")
    chosen = options.parse_args()
    parts = chosen.only.split(",")
    if unknown := sorted(set(parts) - set(PARTS)):
        options.error(f"--only takes {', '.join(PARTS)}, not {', '.join(unknown)}")
    place = Path(tempfile.mkdtemp(prefix="kina-peers-"))
    try:
        bench = Bench(place, chosen.peers.absolute(), chosen.repeat)
        for part in parts:
            getattr(bench, part)()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    lines = report(bench.figures)
    publish("Beside the peers", machine_line(), lines, record=chosen.record)
    if chosen.record:
        keep(bench.figures)
    return 0


def report(figures: Figures) -> list[str]:
    """All figures, then the ratios that were asked for."""
    rows = []
    for subject, named in figures.items():
        for name, values in named.items():
            unit, scale = ("MiB", 2**-20) if name.endswith("bytes") else ("ms", 1000)
            rows.append((f"{subject}: {name}, {unit}", str(len(values)), *spread(values, scale)))
    lines = markdown_table(("figure", "n", "median", "middle half", "range"), rows)
    lines += ["", *markdown_table(("goal", "is", "should be at most"), goals(figures))]
    return lines


def goals(figures: Figures) -> list[tuple[str, str, str]]:
    """The figures that have a goal, as far as they were measured."""
    middle = {(s, n): median(values) for s, named in figures.items() for n, values in named.items() if values}
    rows = []
    for what, over, under, most in _RATIOS:
        if over in middle and under in middle:
            rows.append((what, f"{middle[over] / middle[under]:.2f}", f"{most}"))
    for what, subject, percent, seconds in _LIMITS:
        if len(values := figures.get(subject[0], {}).get(subject[1], [])) > 1:
            value = median(values) if percent == 50 else questions.percentile(values, percent)
            rows.append((what, f"{value * 1000:.1f} ms", f"{seconds * 1000:.0f} ms"))
    if (idle := (_DEFAULT, "bytes")) in middle:
        rows.append(("PSS of an idle `workloads` cluster", f"{middle[idle] / 2**20:.0f} MiB", "430 MiB"))
    return rows


_RATIOS = (
    ("`api` usable, from template / envtest start", ("api template", "usable"), ("envtest", "usable"), 0.33),
    ("`api` usable, fresh / envtest start", ("api fresh", "usable"), ("envtest", "usable"), 0.85),
    ("first pod Running, from template / kwokctl", ("workloads template", "first pod"), ("kwokctl", "pod"), 0.40),
    ("the same, once leased / kwokctl", ("workloads template", "pod"), ("kwokctl", "pod"), 0.40),
    ("fresh namespace, from template / kwokctl", ("workloads template", "namespace"), ("kwokctl", "namespace"), 0.70),
    ("delete / envtest stop", ("api template", "stop"), ("envtest", "stop"), 0.10),
    ("reset to first pod / fresh", ("workloads reset", "reset first pod"), ("workloads fresh", "first pod"), 0.5),
    (
        "the same, once leased / fresh",
        ("workloads reset", "reset pod"),
        ("workloads fresh", "pod"),
        0.5,
    ),
    ("reset to namespace / fresh", ("workloads reset", "reset namespace"), ("workloads fresh", "namespace"), 0.85),
    ("40 tests, wall / envtest per worker", ("suite, shared", "wall"), ("suite, envtest per worker", "wall"), 0.5),
    ("40 tests, memory / same", ("suite, shared", "bytes"), ("suite, envtest per worker", "bytes"), 0.4),
    ("1000 pods Ready / kwokctl", ("workloads, 100 nodes", "1000 pods"), ("kwokctl, 100 nodes", "1000 pods"), 0.8),
    (
        "1000 pods Ready / kwokctl --disable-qps-limits",
        ("workloads, 100 nodes", "1000 pods"),
        ("kwokctl, 100 nodes, no limits", "1000 pods"),
        0.8,
    ),
    ("lease with 64 slots / with 4", ("64 slots", "lease"), ("4 slots", "lease"), 1.5),
)
_LIMITS = (
    ("warm lease in one process, median", ("one process", "lease"), 50, 0.005),
    ("warm lease, p99 of 16 processes", ("16 processes", "lease"), 99, 0.120),
    ("lease when a spare is ready", ("spare", "leased"), 50, 0.050),
    ("namespace per test, `api`", ("namespace per test, api", "added"), 50, 0.015),
    ("namespace per test, `workloads`", ("namespace per test, workloads", "added"), 50, 0.015),
)


def keep(figures: Figures) -> None:
    """Put the figures into the data file, over those of the same subjects."""
    DATA.parent.mkdir(exist_ok=True)
    before = json.loads(DATA.read_text()) if DATA.exists() else {}
    measured = {subject: dict(named) for subject, named in figures.items()}
    DATA.write_text(json.dumps(before | measured, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
