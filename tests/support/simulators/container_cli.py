"""Apple's ``container``, as far as kina, ``container k8s`` and we use it (the contract's rows A…)."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import control_plane
import guest
from state import Failed, Refused, State, options, say

_USAGE = 64
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_RUN_VALUES = ("--name", "--label", "--tmpfs", "--cap-add", "--cpus", "--memory", "--kernel", "--env")
_UNMASKED = ("--masked-path", "--read-only-path")


def version(state: State) -> tuple[int, ...]:
    """The version of the simulated runtime."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", state.settings["container"])
    return tuple(map(int, found.groups())) if found else (0,)


FAILURE = "Error: "


def run(state: State, arguments: list[str]) -> int:
    """One command line."""
    if arguments == ["--version"]:
        state.note("container", arguments, "A1")
        state.stumble("--version")
        say(f"container CLI version {state.settings['container']} (build: release, commit: 0000000)")
        return 0
    if not arguments:
        raise Refused("no command", _USAGE)
    commands = {**_COMMANDS, "rm": _delete}
    words = 2 if arguments[0] in {"image", "system", "network"} else 1
    name = " ".join(arguments[:words])
    if arguments[0] == "k8s":
        import k8s_plugin

        return k8s_plugin.run(state, arguments[1:])
    if name not in commands:
        raise Refused(f"unknown command {name!r}", _USAGE)
    if name not in {"system status", "system start"} and not state.settings["daemon"]:
        raise Failed(
            "XPC connection error: Connection invalid. Ensure container system service has been started with "
            "`container system start`."
        )
    return commands[name](state, arguments[words:], arguments)


def _list(state: State, rest: list[str], line: list[str]) -> int:
    given, names = options(rest, values=("--format",), switches=("--all", "-a", "-q"), code=_USAGE)
    if names or given.get("--format") != ["json"]:
        raise Refused("the contract lists `list [-a] --format json` only", _USAGE)
    state.note("container", line, "A2")
    if (fault := state.fault("list")) is not None and "text" in fault:
        say(fault["text"])
        return int(fault.get("code", 0))
    with state.machines() as machines:
        found = [element(machine) for machine in machines.values()]
    if not {"-a", "--all"} & given.keys():
        found = [each for each in found if each["status"]["state"] == "running"]
    say(json.dumps(found, separators=(",", ":"), sort_keys=True))
    return 0


def element(machine: dict[str, Any]) -> dict[str, Any]:
    """A machine as ``list`` and ``inspect`` show it (1.0.0 and later)."""
    address = {"network": "default", "hostname": machine["name"], "ipv4Address": f"{machine['ip']}/24", "mtu": 1280}
    running = machine["state"] == "running"
    return {
        "id": machine["name"],
        "configuration": {
            "id": machine["name"],
            "labels": machine["labels"],
            "creationDate": machine["created"],
            "image": {"reference": machine["image"]},
            "publishedPorts": [],
            "resources": {"cpus": machine["cpus"], "memoryInBytes": 4 << 30},
        },
        "status": {
            "state": machine["state"],
            "networks": [address] if running and machine["ip"] else [],
            **({"startedDate": machine["started"]} if running else {}),
        },
    }


def _inspect(state: State, rest: list[str], line: list[str]) -> int:
    state.note("container", line, "A3")
    with state.machines() as machines:
        missing = [name for name in rest if name not in machines]
        if missing:
            raise Failed(f"container not found: {missing[0]}")
        say(json.dumps([element(machines[name]) for name in rest], indent=2, sort_keys=True))
    return 0


def _start_machine(state: State, line: list[str]) -> int:
    cut = next((i for i, word in enumerate(line) if word == "/sbin/init"), len(line))
    if line[cut:] != ["/sbin/init"]:
        raise Refused("kina runs /sbin/init in its nodes", _USAGE)
    known = version(state) >= (1, 2, 1)
    given, rest = options(
        line[1:cut], values=(*_RUN_VALUES, *(_UNMASKED if known else ())), switches=("-d",), code=_USAGE
    )
    if len(rest) != 1 or "-d" not in given or "--name" not in given:
        raise Refused("the contract lists `run -d --name N … IMAGE /sbin/init` only", _USAGE)
    unmasked = all(given.get(flag) == ["NONE"] for flag in _UNMASKED)
    state.note("container", line, "A4")
    return launch(state, given["--name"][0], rest[0], given, unmasked=unmasked or version(state) < (1, 2, 0))


def launch(
    state: State, name: str, image: str, given: dict[str, list[str]], *, unmasked: bool, quiet: bool = False
) -> int:
    """Boot a machine."""
    if not _NAME.fullmatch(name) or (version(state) >= (1, 2, 0) and len(name) > 63):
        raise Failed(f"invalidArgument: \"invalid container name '{name}'\"")
    state.stumble("run")
    with state.images() as images:
        local = full(image) in images
    if not local and not pullable(state, image):
        raise Failed(f'notFound: "image {image} could not be pulled"')
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with state.machines() as machines:
        if name in machines:
            raise Failed(f"container with id {name} already exists")
        hung = state.settings.get("never_running", False)
        machines[name] = {
            "name": name,
            "labels": dict(label.split("=", 1) for label in given.get("--label", [])),
            "image": image,
            "cpus": int(given.get("--cpus", ["4"])[0]),
            "memory": given.get("--memory", ["1g"])[0],
            "kernel": given.get("--kernel", [""])[0],
            "unmasked": unmasked,
            "state": "stopped" if hung else "running",
            "ip": "" if state.settings.get("no_address") else state.address(machines),
            "created": now,
            "started": now,
            "files": {},
            "stores": {},
            "processes": [],
        }
    if not quiet:
        say(name)
    return 0


def _exec(state: State, rest: list[str], line: list[str]) -> int:
    interactive = rest[:1] == ["-i"]
    name, *command = rest[interactive:] or [""]
    machine = state.machine(name)
    if machine is None:
        raise Failed(f'notFound: "container with ID {name} not found"')
    if machine["state"] != "running":
        raise Failed(f'invalidState: "container {name} is not running"')
    row, act = guest.find(command)
    state.note("container", line, row)
    stdin = sys.stdin.buffer.read() if interactive else b""
    return act(state, machine, command, stdin)


def _stop(state: State, rest: list[str], line: list[str]) -> int:
    given, names = options(rest, values=("--signal", "-s", "--time", "-t"), code=_USAGE)
    state.note("container", line, "A6")
    for name in names:
        if state.machine(name) is None:
            raise Failed(f'notFound: "container with ID {name} not found"')
        state.stumble("stop --signal SIGKILL" if given.get("--signal") == ["SIGKILL"] else "stop")
        control_plane.end(state, name, keep=True)
        with state.machines() as machines:
            machines[name]["state"] = "stopped"
        say(name)
    return 0


def _delete(state: State, rest: list[str], line: list[str]) -> int:
    given, names = options(rest, switches=("--force", "-f"), code=_USAGE)
    state.note("container", line, "A7")
    for name in names:
        machine = state.machine(name)
        forced = "--force" in given or "-f" in given
        state.stumble("delete --force" if forced else "delete")
        if machine is None:
            raise Failed(
                f'internalError: "failed to delete container" (cause: "notFound: container with ID {name} not found")'
            )
        if machine["state"] == "running" and not forced:
            raise Failed(
                f'internalError: "failed to delete container" '
                f'(cause: "invalidState: container {name} is running and can not be deleted")'
            )
        control_plane.end(state, name)
        with state.machines() as machines:
            machines.pop(name, None)
        say(name)
    return 0


def _image_save(state: State, rest: list[str], line: list[str]) -> int:
    given, references = options(rest, values=("--platform", "-o", "--output"), code=_USAGE)
    import image_files

    state.note("container", line, "A8")
    state.stumble("image save")
    with state.images() as images:
        missing = [reference for reference in references if full(reference) not in images]
        if missing or not references:
            raise Failed(f'invalidArgument: "failed to save image(s)": {", ".join(missing)}')
        archive = image_files.pack(
            {full(each): images[full(each)] for each in references}, index="--platform" not in given
        )
    state.sleep(float(state.settings.get("save_seconds", 0)))
    target = (given.get("-o") or given.get("--output") or [""])[0]
    if not target:
        sys.stdout.buffer.write(archive)
        return 0
    with open(target, "wb") as stream:
        stream.write(archive)
    for reference in references:
        say(reference)
    return 0


def full(reference: str) -> str:
    """The full name of an image."""
    name = reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
    first = name.partition("/")[0]
    if "/" in name and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if "/" in name else f"docker.io/library/{name}"


def pullable(state: State, reference: str) -> bool:
    """Whether a registry has an image."""
    return full(reference) in map(full, state.settings["pullable"])


def tag(state: State, image: str, name: str) -> None:
    """Give a local image another name."""
    with state.images() as images:
        if full(image) not in images:
            raise Failed(f"No such image: {image}")
        images[full(name)] = images[full(image)]


def load(state: State, path: str) -> list[str]:
    """Add the images of an archive, and return their references."""
    import image_files

    state.stumble("image load")
    found = image_files.archived(Path(path).read_bytes())
    with state.images() as images:
        images.update(found)
    return list(found)


def _image_tag(state: State, rest: list[str], line: list[str]) -> int:
    if len(rest) != 2:
        raise Refused("the contract lists `image tag SOURCE TARGET` only", _USAGE)
    state.note("container", line, "A14")
    tag(state, *rest)
    say(full(rest[1]))
    return 0


def _image_load(state: State, rest: list[str], line: list[str]) -> int:
    given, others = options(rest, values=("-i", "--input"), code=_USAGE)
    if others or len(given) != 1:
        raise Refused("the contract lists `image load -i FILE` only", _USAGE)
    state.note("container", line, "A15")
    for reference in load(state, next(iter(given.values()))[0]):
        say(reference)
    return 0


def _image_inspect(state: State, rest: list[str], line: list[str]) -> int:
    state.note("container", line, "A10")
    with state.images() as images:
        found = [{"name": full(ref), "index": {"digest": images[full(ref)]}} for ref in rest if full(ref) in images]
    if found:
        say(json.dumps(found))
    if len(found) < len(rest):
        raise Failed("image inspect failed")
    return 0


def _image_pull(state: State, rest: list[str], line: list[str]) -> int:
    import image_files

    given, references = options(rest, values=("--platform", "--scheme"), code=_USAGE)
    state.note("container", line, "A9")
    state.stumble("image pull")
    for reference in references:
        plain = reference.partition("/")[0] in state.settings["plain_registries"]
        if not pullable(state, reference) or plain != (given.get("--scheme") == ["http"]):
            raise Failed(f'notFound: "image {reference} could not be pulled"')
        with state.images() as images:
            images.setdefault(full(reference), f"sha256:{image_files.digest(reference.encode())}")
    return 0


def _system_status(state: State, rest: list[str], line: list[str]) -> int:
    if rest not in ([], ["--format", "json"]):
        raise Refused("the contract lists `system status [--format json]` only", _USAGE)
    state.note("container", line, "A11")
    up = state.settings["daemon"]
    word = "running" if up else "unregistered"
    nested = version(state) >= (1, 4, 1)
    document: dict[str, Any] = {"status": word}
    if up:
        document |= {"server": {}, "client": {}} if nested else {"apiServerVersion": state.settings["container"]}
    say(json.dumps(document) if rest else word)
    return 0 if up else 1


def _system_dns(state: State, rest: list[str], line: list[str]) -> int:
    if rest != ["list"]:
        raise Refused("the contract lists `system dns list` only", _USAGE)
    state.note("container", line, "A12")
    say("DOMAIN")
    return 0


def _network_inspect(state: State, _rest: list[str], line: list[str]) -> int:
    state.note("container", line, "A13")
    raise Failed("unknown option '--format'", _USAGE)


_COMMANDS = {
    "list": _list,
    "inspect": _inspect,
    "run": lambda state, _rest, line: _start_machine(state, line),
    "exec": _exec,
    "stop": _stop,
    "delete": _delete,
    "image save": _image_save,
    "image inspect": _image_inspect,
    "image load": _image_load,
    "image pull": _image_pull,
    "image tag": _image_tag,
    "system status": _system_status,
    "system dns": _system_dns,
    "network inspect": _network_inspect,
}
