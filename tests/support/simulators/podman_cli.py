"""``podman``: docker's commands, and a flag for registries without TLS (the contract's rows O…)."""

from __future__ import annotations

import docker_cli
from state import State

FAILURE = "Error: "


def run(state: State, line: list[str]) -> int:
    """One command line."""
    plain = line[:2] == ["pull", "--tls-verify=false"]
    return docker_cli.act(state, "podman", line, ["pull", *line[2:]] if plain else line)
