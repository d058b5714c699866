"""What the options and the project's ``[tool.kina]`` say, and which source said it.

The first source that names an option decides: command line, environment, pytest configuration, ``[tool.kina]``,
default. All values are parsed and checked together, so that one error names everything that is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pytest_kina.errors import SettingsError
from pytest_kina.options import FALSE, OPTIONS, Option, duration

Keep = Literal["never", "failed", "always"]
Reset = Literal["restore", "sweep"]
Gate = Literal["off", "warn", "fail"]

SPEC_KEYS = (
    "provider",
    "version",
    "profile",
    "simulated_nodes",
    "feature_gates",
    "api_server_args",
    "workers",
    "cpus",
    "memory",
    "images",
    "needs",
    "provider_options",
    "crds",
    "helm",
    "manifests",
    "bootstrap",
)
"""Keys of a cluster spec, as ``[tool.kina]`` and ``[tool.kina.clusters.<name>]`` may hold them."""

DEFAULT_VERSION = "1.36"
"""The Kubernetes version of a cluster spec that names none."""

_TABLES = ("clusters", "alerts")
_IN_CI = {"ttl": "0", "gate_budget": "2m"}
"""Defaults where ``CI`` is set: nobody comes back for what is warm, and somebody relies on the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What ``[tool.kina]`` of a project says: options, the default cluster spec and named specs, all unchecked.

    ``problems`` names unknown keys and tables that are none; :func:`resolve` refuses them with all else that is wrong.
    """

    path: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    clusters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    alerts: Sequence[Mapping[str, Any]] = ()
    problems: Sequence[str] = ()

    @property
    def directory(self) -> Path:
        """Where relative paths of its specs begin: the file's directory, or the current one when there is none."""
        return self.path.parent if self.path else Path.cwd()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of one run. Durations are in seconds; ``sources`` says for each where its value comes from."""

    home: Path | None
    provider: str
    kubeconfig: Path | None
    context: str | None
    allow_context: str | None
    assets: tuple[Path, ...]
    offline: bool
    mirror: str | None
    image_mirrors: Mapping[str, str]
    pool_size: int | None
    spares: int
    prewarm: bool
    ttl: float
    lease_timeout: float
    start_timeout: float
    keep: Keep
    reset: Reset
    bench_json: Path | None
    gate: Gate
    gate_samples: int
    gate_budget: float | None
    gate_store: Path | None
    require_baseline: bool
    probe_requests: int
    find_leaks: bool
    slow_threshold: float
    html: Path | None
    prometheus: Path | None
    plan: bool
    sources: Mapping[str, str]
    project: Project

    @property
    def root(self) -> Path:
        """The root directory: ``home``, else the user's state directory. It need not exist."""
        if self.home is not None:
            return self.home.absolute()
        return user_root()

    @property
    def provider_options(self) -> dict[str, Any]:
        """What a provider may have parameters for."""
        obtaining = ("root", "offline", "mirror", "image_mirrors", "assets")
        named = (*obtaining, "kubeconfig", "context", "allow_context", "reset")
        return {name: getattr(self, name) for name in named}

    @property
    def measuring_seconds(self) -> float:
        """How long the gate may measure further clusters: ``gate_budget``, else as in CI when it is to fail."""
        if self.gate_budget is not None:
            return self.gate_budget
        return duration(_IN_CI["gate_budget"]) if self.gate == "fail" else 0.0

    @property
    def capacity(self) -> int:
        """How many clusters may exist on this machine: ``pool_size``, or what the machine carries."""
        return self.pool_size or default_size()


def user_root() -> Path:
    """The root directory of who has chosen none: the user's state directory."""
    from platformdirs import user_state_path

    return user_state_path("pytest-kina")


def default_root() -> Path:
    """The root directory for code that was given no settings: ``KINA_HOME``, else :func:`user_root`."""
    home = os.environ.get("KINA_HOME")
    return Path(home).expanduser() if home else user_root()


def default_size() -> int:
    """How many clusters this machine carries: two per core, as far as 650 MiB each fit into its memory; at least 1."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(2 * (os.cpu_count() or 1), memory // (650 * 1024 * 1024)))


def read_project(directory: Path) -> Project:
    """``[tool.kina]`` of the nearest ``pyproject.toml`` in ``directory`` or above, up to the top of the repository.

    Raises :class:`SettingsError` for a file that is not TOML, and for a ``tool.kina`` that is no table.
    """
    for place in (directory, *directory.parents):
        if (path := place / "pyproject.toml").is_file():
            return _project(path)
        if (place / ".git").exists():
            break
    return Project()


def _project(path: Path) -> Project:
    content = path.read_bytes()
    if b"kina" not in content:  # parsing a file that cannot concern us would cost every bare run milliseconds
        return Project()
    table = _table(content, path)
    known = {option.name for option in OPTIONS if not option.flag_only}
    problems = [_unknown(path, key, {*known, *SPEC_KEYS, *_TABLES}) for key in table]
    clusters = table.get("clusters", {})
    if not isinstance(clusters, dict) or not all(isinstance(spec, dict) for spec in clusters.values()):
        problems.append(f"[tool.kina] clusters in {path}: expected one table per name, like [tool.kina.clusters.east]")
        clusters = {}
    alerts = table.get("alerts", [])
    if not isinstance(alerts, list) or not all(isinstance(rule, dict) for rule in alerts):
        problems.append(f"[tool.kina] alerts in {path}: expected tables, each headed [[tool.kina.alerts]]")
        alerts = []
    return Project(
        path=path,
        options={key: value for key, value in table.items() if key in known},
        spec={key: value for key, value in table.items() if key in SPEC_KEYS and key not in known},
        clusters=clusters,
        alerts=alerts,
        problems=tuple(problem for problem in problems if problem),
    )


def _table(content: bytes, path: Path) -> dict[str, Any]:
    import tomli

    try:
        document = tomli.loads(content.decode())
    except ValueError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}", next_step="correct the file") from error
    table = document.get("tool", {}).get("kina", {})
    if not isinstance(table, dict):
        raise SettingsError(f"tool.kina in {path}: expected a table, got {table!r}", next_step="write [tool.kina]")
    return table


def _unknown(path: Path, key: str, known: Iterable[str]) -> str:
    if key in known:
        return ""
    import difflib

    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(known))}"
    return f"[tool.kina] {key} in {path}: no such key; {hint}"


def resolve(
    *,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    project: Project,
    ini: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    directory: Path | None = None,
) -> Settings:
    """Settings from all sources.

    ``flags`` maps option names to unparsed values, None where absent; ``ini`` maps those that pytest's configuration
    names to value and place.

    Relative paths in configuration files count from ``directory`` (default: the current one). Raises
    :class:`SettingsError` that names every wrong value with its source, the expected form and an example, and all
    problems of ``project``.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems = list(project.problems)
    for option in OPTIONS:
        raw, sources[option.name], from_file = _first(option, flags, environ, ini, project)
        try:
            value = () if raw is None and option.name == "assets" else _parsed(option, raw)
        except (ValueError, TypeError):
            problems.append(f"{sources[option.name]}: expected {option.form}, like {option.example!r}; got {raw!r}")
            continue
        values[option.name] = _anchored(value, directory if from_file else None)
    _refuse(problems)
    return Settings(**values, sources=MappingProxyType(sources), project=project)


def _first(
    option: Option,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    ini: Mapping[str, tuple[str, str]],
    project: Project,
) -> tuple[Any, str, bool]:
    """The raw value of the first source that has one, the source in words, and whether that is a file."""
    if (flag := flags.get(option.name)) is not None:
        return flag, option.flag, False
    if not option.flag_only and (variable := environ.get(option.variable)):
        return variable, f"environment variable {option.variable}", False
    if option.name in ini:
        value, place = ini[option.name]
        return value, f"{option.key} in {place}", True
    if option.name in project.options:
        return project.options[option.name], f"[tool.kina] {option.name} in {project.path}", True
    if option.name in _IN_CI and environ.get("CI", "").lower() not in ("", *FALSE):
        return _IN_CI[option.name], "default (CI is set)", False
    return option.default, "default", False


def _parsed(option: Option, raw: Any) -> Any:
    """The value of ``raw``: text, or the integer or boolean that TOML allows where the text would be that number."""
    if raw is None:
        return None
    if isinstance(raw, bool):
        raw = str(raw).lower() if option.switch else ""
    if isinstance(raw, list) and option.name == "assets" and all(isinstance(part, str) for part in raw):
        raw = os.pathsep.join(raw)
    if isinstance(raw, dict) and option.name == "image_mirrors":
        raw = ",".join(f"{registry}={mirror}" for registry, mirror in raw.items())
    if not isinstance(raw, str | int):
        raise TypeError(raw)
    return option.parse(str(raw))


def _anchored(value: Any, directory: Path | None) -> Any:
    if directory is None:
        return value
    if isinstance(value, Path):
        return directory / value
    if isinstance(value, tuple):
        return tuple(directory / path for path in value)
    return value


def _refuse(problems: Iterable[str]) -> None:
    if found := [problem for problem in problems if problem]:
        raise SettingsError("\n".join(found), next_step="correct " + ("it" if len(found) == 1 else "them"))


def for_command(arguments: Mapping[str, str | None], directory: Path) -> Settings:
    """Settings for a command outside pytest: its arguments, the environment, ``[tool.kina]`` above ``directory``.

    Raises :class:`SettingsError`. What only pytest's configuration says is not known here.
    """
    project = read_project(directory)
    anchor = project.path.parent if project.path else directory
    return resolve(flags=arguments, environ=os.environ, project=project, directory=anchor)
