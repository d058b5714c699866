"""Show, make and remove templates: what embedded clusters of a kind start from instead of from nothing.

The first cluster of a kind leaves one by itself; `build` makes one ahead of the first test run, of a cluster that is
deleted again.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from typing import Any

from pytest_kina.cli import up
from pytest_kina.cli.acting import acting, opened
from pytest_kina.cli.output import columns, say, say_json
from pytest_kina.errors import PoolTimeoutError, ProviderUnavailableError, SettingsError, StateError
from pytest_kina.pool import Want, open_root, records
from pytest_kina.pool.actor import Actor
from pytest_kina.pool.permits import StartsBusy
from pytest_kina.pool.slot import HeldSlot
from pytest_kina.pool.status import age
from pytest_kina.providers.embedded import EmbeddedProvider
from pytest_kina.providers.embedded.templates import Template, found, remove
from pytest_kina.settings import Settings

HELP = "show, make and remove templates of embedded clusters"
_BUILD = (
    "Make the template of a kind of cluster, unless it is there. It is made of a new cluster in an empty slot, which "
    "is deleted again. The cluster is described as for `pytest-kina up`."
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    acts = command.add_subparsers(dest="act", metavar="ACT", required=True)
    shown = acts.add_parser("list", help="show all templates, the one used last first")
    build = acts.add_parser("build", help="make the template of a cluster, unless it is there", description=_BUILD)
    up.add_arguments(build)
    removal = acts.add_parser("remove", help="remove templates; clusters made of them are not affected")
    removal.add_argument("key", nargs="*", help="keys, as `pytest-kina templates list` shows them")
    removal.add_argument("--all", action="store_true", help="remove all of them")
    for act in (shown, build, removal):
        act.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Do one of the three. Raises SettingsError, StateError, and what making a cluster raises."""
    return {"list": _list, "build": _build, "remove": _remove}[chosen.act](chosen, settings)


def _list(chosen: argparse.Namespace, settings: Settings) -> int:
    rows = [_about(template) for template in _found(settings)]
    if chosen.json:
        say_json({"templates": rows})
        return 0
    now = time.time()
    heading = ("KEY", "KUBERNETES", "PROFILE", "NODES", "SIZE", "MADE", "USED")
    cells = [
        (
            row["key"],
            row["kubernetes"],
            row["profile"],
            str(row["nodes"]),
            f"{row['bytes'] / 2**20:.1f} MiB",
            f"{age(now - row['created'])} ago",
            f"{age(now - row['used'])} ago",
        )
        for row in rows
    ]
    say(columns([heading, *cells]) if rows else ["there are no templates"])
    return 0


def _remove(chosen: argparse.Namespace, settings: Settings) -> int:
    if bool(chosen.key) == chosen.all:
        raise SettingsError("name the templates to remove, or all with --all", next_step="pytest-kina templates list")
    known = {template.key: template for template in _found(settings)}
    if unknown := sorted(set(chosen.key) - known.keys()):
        raise StateError(f"there is no template {', '.join(unknown)}", next_step="pytest-kina templates list")
    keys = sorted(known) if chosen.all else chosen.key
    for key in keys:
        remove(known[key].directory)
    if chosen.json:
        say_json({"removed": keys})
    else:
        say([f"removed {key}" for key in keys] or ["there are no templates"])
    return 0


def _build(chosen: argparse.Namespace, settings: Settings) -> int:
    spec = up.spec_of(chosen, settings)
    root = open_root(settings.root)
    want = up.prepared(spec, settings)
    if not isinstance(want.provider, EmbeddedProvider):
        raise ProviderUnavailableError(
            f"clusters of the provider {want.provider.info.name!r} are not made of templates",
            next_step="use --provider=embedded",
        )
    made = (template := want.provider.template(spec)) is None
    if made:
        with acting(settings, root, {want.provider_name: want.provider}) as actor:
            _make(actor, want)
        template = want.provider.template(spec)
    if template is None:
        raise StateError(
            "a cluster was made, but no template of it",
            next_step="use an etcd that comes with etcdutl: pytest-kina binaries",
        )
    if chosen.json:
        say_json({"made": made, **_about(template)})
    else:
        say([f"{'made' if made else 'found'} {template.key}: Kubernetes {template.kubernetes}, {spec.profile}"])
    return 0


def _make(actor: Actor, want: Want) -> None:
    """Make a cluster in an empty slot, which leaves the template, and delete it."""
    for number in range(actor.size):
        if records.peek(actor.root.slots, number) is None and (held := HeldSlot.take(actor, number)) is not None:
            with closing(held):
                if held.look() is None and _fill(held, want):
                    record = held.look()
                    assert record is not None, "a slot that was filled has a record"
                    held.delete(held.doom(record, ""))
                    return
    raise PoolTimeoutError(
        "no slot is empty, and a template is made of a new cluster",
        next_step="delete a cluster with `pytest-kina down NAME`, or raise --pool-size",
    )


def _fill(held: HeldSlot, want: Want) -> bool:
    try:
        return held.fill(want) is not None
    except StartsBusy as error:
        raise PoolTimeoutError(str(error), next_step="try again when they are ready") from error


def _found(settings: Settings) -> list[Template]:
    root = opened(settings)
    return found(root.templates) if root else []


def _about(template: Template) -> dict[str, Any]:
    return {
        "key": template.key,
        "kubernetes": template.kubernetes,
        "profile": template.spec.get("profile", ""),
        "nodes": template.spec.get("simulated_nodes", 0),
        "bytes": template.size,
        "created": template.created,
        "used": template.used,
        "directory": str(template.directory),
    }
