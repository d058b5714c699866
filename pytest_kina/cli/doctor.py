"""Look at everything that a cluster needs here, and say what to do about what is wrong. Changes nothing."""

from __future__ import annotations

import argparse

from pytest_kina.cli.output import columns, say, say_json
from pytest_kina.doctor import Level, examine
from pytest_kina.settings import Settings

HELP = "look for what keeps clusters from being made here"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    command.add_argument("--provider", help="who makes the clusters (default: as a test run)")
    command.add_argument("--pool-size", metavar="N", help="how many clusters there should be room for")
    command.add_argument("--offline", action="store_true", help="assume that binaries cannot be fetched")


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Print the findings; 1 when one of them is bad."""
    found = examine(settings)
    bad = sum(each.level is Level.BAD for each in found)
    if chosen.json:
        say_json({"root": str(settings.root), "findings": [each.to_json() for each in found], "bad": bad})
        return 1 if bad else 0
    say(columns([("", "what", ""), *((each.level.value, each.subject, each.what) for each in found)])[1:])
    remedies = [f"{each.subject}: {each.remedy}" for each in found if each.remedy]
    say(["", "What to do:", *remedies] if remedies else [])
    say(["", f"{bad} bad finding{'' if bad == 1 else 's'}" if bad else "nothing that keeps clusters from being made"])
    return 1 if bad else 0
