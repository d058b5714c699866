"""The command ``pytest-kina``: look at the pool, warm it up, empty it and tidy it, without a test run.

Exit codes: 0 it is done, 1 it could not be done (the reason is printed), 2 it was asked wrongly. Those of the commands
that judge measurements (gate, compare, ab, accept, report): 0 fine, 1 slower or over budget, 2 no usable data.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pytest_kina import __version__
from pytest_kina.cli import (
    ab,
    accepting,
    bench,
    comparing,
    doctor,
    down,
    gating,
    load,
    prefetch,
    reap,
    reporting,
    status,
    templates,
    up,
)
from pytest_kina.cli.output import fail
from pytest_kina.errors import KinaError, SettingsError, SpecError, StateError
from pytest_kina.settings import Settings, for_command

FAILED, USAGE = 1, 2

_JUDGING = {"gate": gating, "compare": comparing, "ab": ab, "accept": accepting, "report": reporting}
_LOOKING_AFTER = {"status": status, "up": up, "down": down, "reap": reap, "templates": templates, "doctor": doctor}
_COMMANDS = {**_LOOKING_AFTER, "load": load, "prefetch": prefetch, "bench": bench, **_JUDGING}
_SETTINGS = ("home", "provider", "assets", "mirror", "pool_size", "ttl", "start_timeout")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``arguments`` are those of the process by default."""
    chosen = parser().parse_args(arguments)
    try:
        return _run(chosen)
    except (SettingsError, SpecError) as error:
        return fail(error, chosen, USAGE)
    except StateError as error:
        return fail(error, chosen, USAGE if chosen.command in _JUDGING else FAILED)
    except (KinaError, OSError) as error:
        return fail(error, chosen, FAILED)
    except KeyboardInterrupt:
        return fail("interrupted; what was half done is finished or removed by `pytest-kina reap`", chosen, FAILED)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    from pytest_kina.binaries import commands as binaries

    top = argparse.ArgumentParser(
        prog="pytest-kina",
        description="Look after the Kubernetes clusters that pytest-kina keeps on this machine.",
        epilog="Exit codes: 0 done, 1 could not be done, 2 asked wrongly. Judging: 1 slower, 2 no usable data.",
    )
    top.add_argument("--version", action="version", version=f"pytest-kina {__version__}")
    top.add_argument("--home", metavar="DIR", help="where clusters, binaries and records live (default: KINA_HOME)")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__)
        command.add_argument("--json", action="store_true", help="print one JSON document instead of text")
        module.add_arguments(command)
    binaries.add_parser(commands)
    return top


def _run(chosen: argparse.Namespace) -> int:
    settings = _settings(chosen)
    if chosen.command in _COMMANDS:
        return int(_COMMANDS[chosen.command].run(chosen, settings))
    from pytest_kina.binaries import commands as binaries
    from pytest_kina.pool import open_root

    open_root(settings.root)
    return binaries.run(chosen, settings)


def _settings(chosen: argparse.Namespace) -> Settings:
    taken = _SETTINGS if chosen.command in _COMMANDS else ("home",)
    given = {name: getattr(chosen, name, None) for name in taken}
    given["offline"] = "true" if getattr(chosen, "offline", False) else None
    try:
        return for_command(given, Path.cwd())
    except SettingsError as error:  # it names pytest's flags; ours have no prefix
        raise SettingsError(error.message.replace("--kina-", "--"), next_step=error.next_step) from error
