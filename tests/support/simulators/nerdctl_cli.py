"""``nerdctl``: docker's commands, and a flag for registries without TLS (the contract's rows O…)."""

from __future__ import annotations

import docker_cli
from state import State

FAILURE = "FATA[0000] "


def run(state: State, line: list[str]) -> int:
    """One command line."""
    plain = line[:2] == ["--insecure-registry", "pull"]
    return docker_cli.act(state, "nerdctl", line, line[1:] if plain else line)
