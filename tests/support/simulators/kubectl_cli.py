"""``kubectl config …`` as kina calls it on the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from state import Failed, Refused, State, say

_LISTS = ("clusters", "contexts", "users")


FAILURE = "error: "


def have_yaml(state: State) -> None:
    """Import PyYAML, from where the tests have it: these programs run without site-packages."""
    if state.settings["packages"] not in sys.path:
        sys.path.append(state.settings["packages"])
    import yaml  # noqa: F401 - for those below


def run(state: State, arguments: list[str]) -> int:
    """One command line."""
    have_yaml(state)
    import yaml

    state.note("kubectl", arguments, "C10" if "use-context" in arguments else "C9")
    named = os.environ.get("KUBECONFIG", "")
    paths = [Path(part) for part in named.split(":")] if named else [Path(os.environ["HOME"], ".kube", "config")]
    if arguments == ["config", "view", "--flatten"]:
        say(yaml.safe_dump(_merged(paths)).rstrip())
        return 0
    match arguments:
        case ["config", "use-context", name]:
            document = _read(paths[0])
            if name not in [entry["name"] for entry in document["contexts"]]:
                raise Failed(f'no context exists with the name: "{name}"')
            document["current-context"] = name
        case ["config", "delete-context" | "delete-cluster" | "delete-user" as what, name]:
            kind = f"{what.removeprefix('delete-')}s"
            document = _read(paths[0])
            kept = [entry for entry in document[kind] if entry["name"] != name]
            if len(kept) == len(document[kind]):
                raise Failed(f"cannot delete {kind} {name}, not in {paths[0]}")
            document[kind] = kept
        case _:
            raise Refused("the contract lists `kubectl config …` only", 1)
    paths[0].write_text(yaml.safe_dump(document))
    return 0


def _merged(paths: list[Path]) -> dict[str, Any]:
    """For equal names the first file wins."""
    merged: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        **{name: [] for name in _LISTS},
        "current-context": "",
    }
    for path in paths:
        document = _read(path)
        for kind in _LISTS:
            known = {entry["name"] for entry in merged[kind]}
            merged[kind] += [entry for entry in document[kind] if entry["name"] not in known]
        merged["current-context"] = merged["current-context"] or document.get("current-context", "")
    return merged


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text()) or {}
        return {**document, **{name: document.get(name) or [] for name in _LISTS}}
    except FileNotFoundError:
        return {name: [] for name in _LISTS}
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise Failed(f'error loading config file "{path}": {error}') from error
