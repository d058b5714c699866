"""Make a warm cluster, or find one, so that the next test run does not wait for it.

The cluster is not reserved: any test run that needs such a cluster may take it. It goes when it has been idle for
its time (``--ttl``).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from pytest_kina.cli.acting import acting
from pytest_kina.cli.output import Teller, say, say_json
from pytest_kina.cli.view import nodes, table, views
from pytest_kina.errors import PoolTimeoutError, SettingsError, SpecError
from pytest_kina.marks import Defaults, check_keys, requests, wrong_specs
from pytest_kina.pool import Want, open_root
from pytest_kina.pool.actor import Actor
from pytest_kina.pool.status import age
from pytest_kina.pool.warming import Warm, warm
from pytest_kina.providers import find, usable
from pytest_kina.providers.auto import Auto
from pytest_kina.run import provider_name
from pytest_kina.settings import Settings
from pytest_kina.spec import ClusterSpec

HELP = "make a warm cluster for the next test run"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("name", nargs="?", help="a cluster of [tool.kina.clusters] (default: the default spec)")
    command.add_argument("--version", help="Kubernetes version, like 1.36 or 1.36.3")
    command.add_argument("--profile", help="workloads or api")
    command.add_argument("--simulated-nodes", type=int, metavar="N", help="how many Ready nodes without a kubelet")
    command.add_argument("--feature-gates", type=json.loads, metavar="JSON", help='like {"SomeGate": true}')
    command.add_argument("--api-server-args", type=json.loads, metavar="JSON", help='like {"v": "4"}')
    command.add_argument("--provider", help="who makes the cluster (default: auto)")
    command.add_argument("--ttl", metavar="DURATION", help="how long it stays when nobody uses it (default: 15m)")
    command.add_argument("--start-timeout", metavar="DURATION", help="how long making it may take (default: 60s)")
    command.add_argument("--pool-size", metavar="N", help="how many clusters may exist on this machine")
    command.add_argument("--offline", action="store_true", help="never use the network to obtain binaries")
    command.add_argument("--mirror", metavar="URL", help="where to download binaries from")
    command.add_argument("--assets", metavar="DIRS", help="directories with control-plane binaries, searched first")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the cluster and its kubeconfig. Raises what preparing and creating raises, and when the pool is full."""
    if not settings.ttl:
        raise SettingsError(
            "the time that an idle cluster stays is 0, so a cluster that nobody uses would go at once",
            next_step="say how long it should stay, like --ttl=15m",
        )
    spec = spec_of(chosen, settings)
    root = open_root(settings.root)
    want = prepared(spec, settings)
    with acting(settings, root, {want.provider_name: want.provider}) as actor:
        made = warmed(actor, want)
    (say_json if chosen.json else _say)(_about(made, want, actor))
    return 0


def spec_of(chosen: argparse.Namespace, settings: Settings) -> ClusterSpec:
    """The spec that the arguments ask for, on top of the project's. Raises SpecError and SettingsError."""
    project = settings.project
    if wrong := wrong_specs(project):
        raise SettingsError("\n".join(wrong))
    if chosen.name is not None and chosen.name not in project.clusters:
        known = ", ".join(sorted(project.clusters)) or "none"
        raise SettingsError(
            f"there is no [tool.kina.clusters.{chosen.name}]; known are: {known}",
            next_step="add the table to pyproject.toml, or leave the name out",
        )
    given = ("provider", "version", "profile", "simulated_nodes", "feature_gates", "api_server_args")
    keys = {key: value for key in given if (value := getattr(chosen, key)) is not None}
    try:
        check_keys(keys, f"wrong option of `pytest-kina {chosen.command}`")
    except SpecError as error:
        raise SpecError(
            error.message, next_step=f"see `pytest-kina {chosen.command} --help` for what each option takes"
        ) from error
    defaults = Defaults(spec=project.spec, named=project.clusters, base=project.directory)
    (request,) = requests([((chosen.name,) if chosen.name else (), keys)], defaults, test="", module="")
    return request.specs[0]


def prepared(spec: ClusterSpec, settings: Settings) -> Want:
    """What to ask the pool for, with everything at hand that making it needs. Raises :class:`KinaError`."""
    name = provider_name(spec, settings, Auto(settings.provider_options))
    provider = usable(find(name, settings.provider_options), name, "--provider")
    return Want.prepared(spec, name, provider, Teller())


def warmed(actor: Actor, want: Want) -> Warm:
    """A READY cluster for ``want``; no other cluster goes for it. Raises when every slot is taken."""
    if (made := warm(actor, want)) is None:
        raise PoolTimeoutError(
            "no slot is free for another cluster:\n" + "\n".join(table(views(actor.root, actor.size))),
            next_step="delete one with `pytest-kina down NAME`, or raise --pool-size",
        )
    return made


def _about(made: Warm, want: Want, actor: Actor) -> dict[str, Any]:
    directory = actor.root.clusters / made.record.cluster
    return {
        "cluster": made.record.cluster,
        "slot": made.slot,
        "start": made.start,
        "directory": str(directory),
        "kubeconfig": str(directory / "kubeconfig"),
        "provider": want.provider.info.name,
        "kubernetes": want.identity.get("kubernetes", want.spec.version),
        "profile": want.spec.profile,
        "nodes": want.spec.simulated_nodes,
        "ttl_seconds": actor.ttl,
    }


def _say(about: dict[str, Any]) -> None:
    how = "found" if about["start"] in ("reused", "spare") else "made"
    what = f"{about['provider']}, Kubernetes {about['kubernetes']}, {about['profile']}, {nodes(about['nodes'])}"
    say(
        [
            f"{how} {about['cluster']}: {what}",
            f"kubeconfig: {about['kubeconfig']}",
            "It is READY and not reserved: any test run that needs such a cluster may take it.",
            f"Idle, it stays for {age(about['ttl_seconds'])}.",
        ]
    )
