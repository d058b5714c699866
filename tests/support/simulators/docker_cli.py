"""``docker`` (and what podman and nerdctl do alike), as far as we call it (the contract's rows O…)."""

from __future__ import annotations

import container_cli
import control_plane
import guest
from state import Failed, Refused, State, complain, say

FAILURE = "Error response from daemon: "


def run(state: State, line: list[str]) -> int:
    """One command line."""
    return act(state, "docker", line, line)


def act(state: State, tool: str, said: list[str], line: list[str]) -> int:
    """What ``tool`` was ``said``, and what that is as docker's ``line``; a difference means a registry without TLS."""
    plain = said != line
    if not state.settings["daemon"]:
        state.note(tool, said, "O1")
        complain("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
        return 1
    match line:
        case ["--version"]:
            state.note(tool, said, "O9")
            say("Docker version 29.1.0, build 0000000")
        case ["info", "--format", "{{.ID}}"]:
            state.note(tool, said, "O1")
            say("simulated")
        case ["image", "inspect", "--format", "{{.Id}}", image]:
            state.note(tool, said, "O2")
            with state.images() as images:
                digest = images.get(container_cli.full(image))
            if digest is None:
                complain(f"Error: No such image: {image}")
                return 1
            say(digest)
        case ["pull", image]:
            state.note(tool, said, "O3")
            _pull(state, image, plain=plain or _insecure(state, image))
        case ["save", "--output", path, image]:
            state.note(tool, said, "O4")
            _save(state, path, image)
        case ["tag", image, name]:
            state.note(tool, said, "O10")
            container_cli.tag(state, image, name)
        case ["load", "--input", path]:
            state.note(tool, said, "O11")
            for reference in container_cli.load(state, path):
                say(f"Loaded image: {reference}")
        case ["ps", "--all", "--filter", label, "--format", "{{.Names}}\t{{.Status}}"]:
            state.note(tool, said, "O5")
            _ps(state, label.removeprefix("label="))
        case ["rm", "--force", "--volumes", *names]:
            state.note(tool, said, "O6")
            for name in names:
                remove(state, name)
        case ["logs", "--tail", lines, name]:
            state.note(tool, said, "O7")
            complain("\n".join([f"log of {name}"] * int(lines)))
        case ["exec", name, "crictl", "images", "-o", "json"]:
            state.note(tool, said, "O8")
            machine = state.machine(name)
            if machine is None:
                raise Failed(f"No such container: {name}")
            return guest.find(line[2:])[1](state, machine, line[2:], b"")
        case _:
            raise Refused(f"nothing of ours calls {tool} {line}", 125)
    return 0


def _insecure(state: State, image: str) -> bool:
    return image.partition("/")[0] in state.settings["insecure_registries"]


def _pull(state: State, image: str, *, plain: bool) -> None:
    import image_files

    state.stumble("docker pull")
    registry = image.partition("/")[0]
    if registry in state.settings["plain_registries"] and not plain:
        raise Failed(f'Get "https://{registry}/v2/": http: server gave HTTP response to HTTPS client')
    if not container_cli.pullable(state, image):
        raise Failed(f"manifest for {image} not found: manifest unknown")
    with state.images() as images:
        images[container_cli.full(image)] = f"sha256:{image_files.digest(image.encode())}"


def _save(state: State, path: str, image: str) -> None:
    import image_files

    state.stumble("image save")
    with state.images() as images:
        found = {each: images[each] for each in (container_cli.full(image),) if each in images}
    if not found:
        raise Failed(f"reference does not exist: {image}")
    with open(path, "wb") as stream:
        stream.write(image_files.pack(found, index=False))


def _ps(state: State, label: str) -> None:
    key, _, value = label.partition("=")
    if (fault := state.fault("list")) is not None:
        raise Failed(fault.get("text", ""))
    with state.machines() as machines:
        for machine in machines.values():
            if key in machine["labels"] and value in ("", machine["labels"][key]):
                up = machine["state"] == "running"
                print(f"{machine['name']}\t{'Up 3 minutes' if up else 'Exited (137) 2 minutes ago'}")


def remove(state: State, name: str) -> None:
    """Remove a container by force; an absent one is only a complaint."""
    state.stumble("docker rm")
    if state.machine(name) is None:
        complain(f"Error response from daemon: No such container: {name}")
        return
    control_plane.end(state, name)
    with state.machines() as machines:
        machines.pop(name, None)


def boot(state: State, name: str, image: str, labels: dict[str, str]) -> None:
    """Start a container as a node, its image pulled if need be."""
    with state.images() as images:
        missing = container_cli.full(image) not in images
    if missing:
        _pull(state, image, plain=_insecure(state, image))
    given = {"--label": [f"{key}={value}" for key, value in labels.items()]}
    container_cli.launch(state, name, image, given, unmasked=True, quiet=True)


def load(state: State, name: str, path: str) -> None:
    """Import an archive into a node's containerd, for the kubelet."""
    with open(path, "rb") as stream:
        content = stream.read()
    machine = state.machine(name)
    assert machine is not None
    guest.import_archive(state, machine, content, "k8s.io", quiet=True)
