"""The options, declared once: flag ``--kina-*``, pytest key ``kina_*``, variable ``KINA_*``, key of ``[tool.kina]``.

Here are their names, forms and defaults; :mod:`pytest_kina.settings` finds their values.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
_TRUE = ("1", "true", "yes", "on")

FALSE = ("0", "false", "no", "off")
"""Words that switch something off."""


def duration(text: str) -> float:
    """Seconds in ``90s``, ``15m``, ``1h30m``, ``250ms`` or ``0``. Raises :class:`ValueError`."""
    if text.strip() == "0":
        return 0.0
    parts = re.findall(_DURATION, text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ValueError(text)
    return math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)


def positive_duration(text: str) -> float:
    """Like :func:`duration`, without zero."""
    if not (seconds := duration(text)):
        raise ValueError(text)
    return seconds


def truth(text: str) -> bool:
    """The boolean in ``true``, ``1``, ``yes``, ``on`` and their opposites. Raises :class:`ValueError`."""
    if text.lower() not in (*_TRUE, *FALSE):
        raise ValueError(text)
    return text.lower() in _TRUE


def _path(text: str) -> Path:
    return Path(_filled(text)).expanduser()


def _paths(text: str) -> tuple[Path, ...]:
    return tuple(_path(part) for part in _filled(text).split(os.pathsep) if part)


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError(text)
    return text


def _provider(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?", text):
        raise ValueError(text)
    return text


def _mirror(text: str) -> str:
    if not re.match(r"(https?|file)://.", text):
        raise ValueError(text)
    return text.rstrip("/")


_HOST = r"(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:))(?::\d+)?"


def _mirrors(text: str) -> dict[str, str]:
    pairs = [pair.strip().partition("=") for pair in text.split(",")] if text.strip() else []
    for registry, _, mirror in pairs:
        if not re.fullmatch(_HOST, registry) or not re.fullmatch(rf"(?:http://)?{_HOST}(/[a-z0-9._-]+)*", mirror):
            raise ValueError(text)
    if len({registry for registry, _, _ in pairs}) < len(pairs):
        raise ValueError(text)
    return {registry: mirror for registry, _, mirror in pairs}


def _size(text: str) -> int | None:
    if text == "auto":
        return None
    if not re.fullmatch(r"\d+", text) or int(text) < 1:
        raise ValueError(text)
    return int(text)


def _keep(text: str) -> str:
    if text not in {"never", "failed", "always"}:
        raise ValueError(text)
    return text


def _reset(text: str) -> str:
    if text not in {"restore", "sweep"}:
        raise ValueError(text)
    return text


def _gate(text: str) -> str:
    if text not in {"off", "warn", "fail"}:
        raise ValueError(text)
    return text


def _count(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise ValueError(text)
    return int(text)


def _samples(text: str) -> int:
    if not 3 <= (count := _count(text)) <= 100:
        raise ValueError(text)
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: its name without prefix, how it is read, and the words for help texts and errors."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    form: str
    example: str
    help: str
    switch: bool = False
    flag_only: bool = False

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return f"--kina-{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """The key in pytest's configuration, and the name of the parsed flag."""
        return f"kina_{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"KINA_{self.name.upper()}"


_A_DURATION = "a duration with a unit (ms, s, m, h, d)"

OPTIONS = (
    Option(
        name="home",
        default=None,
        parse=_path,
        form="a directory of yours on a local disk",
        example="~/.local/state/pytest-kina",
        help="where clusters, binaries and records live (default: the user's state directory)",
    ),
    Option(
        name="provider",
        default="auto",
        parse=_provider,
        form="auto, the name of a provider, or module:factory",
        example="embedded",
        help="who makes the clusters (default: auto)",
    ),
    Option(
        name="kubeconfig",
        default=None,
        parse=_path,
        form="the path of a kubeconfig",
        example="ci/kubeconfig",
        help="provider external: the kubeconfig of the cluster to use",
    ),
    Option(
        name="context",
        default=None,
        parse=_filled,
        form="the name of a context",
        example="kind-ci",
        help="provider external: the context to use; never the current one",
    ),
    Option(
        name="allow_context",
        default=None,
        parse=_filled,
        form="a pattern that the context must match",
        example="kind-*",
        help="provider external: which contexts may be used at all, as a pattern",
    ),
    Option(
        name="assets",
        default=None,
        parse=_paths,
        form=f"directories separated by {os.pathsep!r}",
        example="/opt/kubernetes/bin",
        help="directories with control-plane binaries, searched first",
    ),
    Option(
        name="offline",
        default="false",
        parse=truth,
        form="true or false",
        example="true",
        help="never use the network to obtain binaries or node images",
        switch=True,
    ),
    Option(
        name="mirror",
        default=None,
        parse=_mirror,
        form="a URL that begins with https://, http:// or file://",
        example="https://mirror.example.com/kubernetes",
        help="where to download binaries from, instead of the official places",
    ),
    Option(
        name="image_mirrors",
        default="",
        parse=_mirrors,
        form="REGISTRY=MIRROR pairs separated by commas (in [tool.kina] a table), each registry once, without https:// "
        "(http:// before a mirror that has no TLS)",
        example="docker.io=mirror.example.com/dockerhub",
        help="where to pull node images from, and where the nodes of kind and k3d pull from, instead of a registry",
    ),
    Option(
        name="pool_size",
        default="auto",
        parse=_size,
        form="auto, or a whole number of at least 1",
        example="4",
        help="how many clusters may exist on this machine, over all runs (default: auto, from memory and cores)",
    ),
    Option(
        name="spares",
        default="0",
        parse=_count,
        form="a whole number",
        example="1",
        help="how many clusters to keep ready ahead of tests with clusters of their own (default: 0)",
    ),
    Option(
        name="prewarm",
        default="false",
        parse=truth,
        form="true or false",
        example="true",
        help="start the clusters that the selected tests need at the end of collection, in the background",
        switch=True,
    ),
    Option(
        name="ttl",
        default="15m",
        parse=duration,
        form=f"{_A_DURATION}, or 0",
        example="15m",
        help="how long an idle cluster stays for the next run (default: 15m; 0 when CI is set)",
    ),
    Option(
        name="lease_timeout",
        default="10m",
        parse=positive_duration,
        form=_A_DURATION,
        example="10m",
        help="how long a test waits for a cluster (default: 10m)",
    ),
    Option(
        name="start_timeout",
        default="60s",
        parse=positive_duration,
        form=_A_DURATION,
        example="60s",
        help="how long creating or resetting a cluster may take (default: 60s)",
    ),
    Option(
        name="keep",
        default="never",
        parse=_keep,
        form="never, failed or always",
        example="failed",
        help="which tests' namespaces and clusters stay after the test, for a look at them (default: never)",
    ),
    Option(
        name="reset",
        default="restore",
        parse=_reset,
        form="restore or sweep",
        example="sweep",
        help="how used embedded clusters are cleaned: made again with new keys, or swept in place (default: restore)",
    ),
    Option(
        name="bench_json",
        default=None,
        parse=_path,
        form="the path of a file to write",
        example="timings.json",
        help="write the timings in pytest-benchmark's JSON format to this file",
    ),
    Option(
        name="gate",
        default="warn",
        parse=_gate,
        form="off, warn or fail",
        example="fail",
        help="compare the timings with those of earlier runs, and say so or fail (default: warn)",
    ),
    Option(
        name="gate_samples",
        default="5",
        parse=_samples,
        form="a whole number from 3 to 100",
        example="5",
        help="how many clusters per kind the gate wants to see made (default: 5)",
    ),
    Option(
        name="gate_budget",
        default=None,
        parse=duration,
        form=f"{_A_DURATION}, or 0",
        example="2m",
        help="how long measuring further clusters may take (default: 2m in CI and with --kina-gate=fail)",
    ),
    Option(
        name="gate_store",
        default=None,
        parse=_path,
        form="a directory",
        example=".kina-bench",
        help="where the timings of accepted runs are kept (default: .kina-bench in pytest's root directory)",
    ),
    Option(
        name="require_baseline",
        default="false",
        parse=truth,
        form="true or false",
        example="true",
        help="let the gate fail where there is nothing to compare with",
        switch=True,
    ),
    Option(
        name="probe_requests",
        default="0",
        parse=_count,
        form="a whole number",
        example="100",
        help="how many requests measure the API server of a cluster before it is given back (default: 0)",
    ),
    Option(
        name="find_leaks",
        default="false",
        parse=truth,
        form="true or false",
        example="true",
        help="look after every lease for what tests have left, changed or removed outside of namespaces",
        switch=True,
    ),
    Option(
        name="slow_threshold",
        default="0",
        parse=duration,
        form=f"{_A_DURATION}, or 0",
        example="10s",
        help="list operations that took longer than this (default: 0, none)",
    ),
    Option(
        name="html",
        default=None,
        parse=_path,
        form="the path of a file to write",
        example="kina.html",
        help="write a report of the timings as one HTML file",
    ),
    Option(
        name="prometheus",
        default=None,
        parse=_path,
        form="the path of a file to write",
        example="kina.prom",
        help="write the timings for Prometheus's textfile collector",
    ),
    Option(
        name="plan",
        default="false",
        parse=truth,
        form="true or false",
        example="true",
        help="list cluster specs, tests and provider, and run nothing",
        switch=True,
        flag_only=True,
    ),
)
