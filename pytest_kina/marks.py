"""From ``kina_cluster`` marks to cluster requests, checked completely before anything starts.

Works on plain (positional, keyword) pairs, so that the rules can be tested and used without pytest.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_kina import charts
from pytest_kina.capabilities import ASKABLE
from pytest_kina.errors import SpecError
from pytest_kina.settings import SPEC_KEYS, Project
from pytest_kina.spec import ARCHIVES, MOST_NODES, ClusterSpec, Isolation, as_option

MARK_KEYS = (*SPEC_KEYS, "versions", "isolation", "scope")
"""The keywords of the mark."""

UNNAMED = ""
"""The name of the cluster whose mark has none."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)")
_PROVIDER = re.compile(r"[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?")
_MEMORY = re.compile(r"([1-9]\d*)(Mi|Gi)")
_IMAGE = re.compile(r"[^\s-]\S*")

_CONTENT = ("images", "crds", "helm", "manifests", "bootstrap")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

Keys = Mapping[str, Any]
Mark = tuple[Sequence[Any], Keys]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRequest:
    """What one test asks for: its clusters by name, leased together, and how it shares them.

    ``holder`` is the id of the test or module that an exclusive or fresh lease is for, so that equal specs of two
    holders are different requests; it is empty for shared clusters.
    """

    clusters: tuple[tuple[str, ClusterSpec], ...]
    isolation: Isolation = Isolation.NAMESPACE
    scope: str = "function"
    holder: str = ""

    @property
    def specs(self) -> tuple[ClusterSpec, ...]:
        """The specs without their names."""
        return tuple(spec for _, spec in self.clusters)

    @property
    def shared(self) -> bool:
        """True when other tests and the run's other processes use the clusters meanwhile."""
        return self.isolation is Isolation.NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What marks are merged onto: the default spec's keys, and those of named specs; ``base`` is where paths begin."""

    spec: Keys = field(default_factory=dict)
    named: Mapping[str, Keys] = field(default_factory=dict)
    base: Path = field(default_factory=Path.cwd)


def requests(marks: Iterable[Mark], defaults: Defaults, *, test: str, module: str) -> list[ClusterRequest]:
    """The requests of a test: one, or one per combination of ``versions``.

    ``marks`` come closest first (as ``iter_markers`` yields them) and are merged key by key per name; the closest
    wins. ``test`` and ``module`` are ids. Raises :class:`SpecError` that lists everything wrong with these marks.
    """
    farthest_first = list(marks)[::-1]
    problems = [problem for mark in farthest_first for problem in _problems(*mark)]
    _refuse(problems or _misspelt(farthest_first, defaults.named))
    merged: dict[str, dict[str, Any]] = {}
    for args, keys in farthest_first:
        name = args[0] if args else UNNAMED
        base = merged.setdefault(name, _overlaid(defaults.spec, defaults.named.get(name, {})))
        merged[name] = _overlaid(base, keys)
    merged = merged or {UNNAMED: dict(defaults.spec)}
    isolation, scope = _shared_choice(merged)
    holder = "" if isolation is Isolation.NAMESPACE else (module if scope == "module" else test)
    return [
        ClusterRequest(clusters=clusters, isolation=isolation, scope=scope, holder=holder)
        for clusters in itertools.product(*(_variants(name, keys, defaults.base) for name, keys in merged.items()))
    ]


def request_from_parameter(
    keys: Any, marks: Iterable[Mark], defaults: Defaults, *, test: str, module: str
) -> ClusterRequest:
    """The request of a test that parametrises ``kina_cluster`` itself with a mapping of keys, the closest of all.

    Raises :class:`SpecError` for anything else than a mapping, for ``versions``, and like :func:`requests`.
    """
    if not isinstance(keys, Mapping):
        raise SpecError(f"a parameter of kina_cluster must be a mapping of keys, got {keys!r}", next_step=_allowed())
    if "versions" in keys:
        raise SpecError("versions: not in a parameter of kina_cluster; the parameters are the matrix already")
    return requests([((), dict(keys)), *marks], defaults, test=test, module=module)[0]


def check_keys(keys: Any, place: str) -> None:
    """Raise :class:`SpecError` naming ``place`` when ``keys`` is not a mapping of valid spec keys."""
    if not isinstance(keys, Mapping):
        raise SpecError(
            f"{place}: expected a mapping of cluster spec keys, got {keys!r}", next_step=_allowed(SPEC_KEYS)
        )
    unfit = [f"{key}: belongs on a mark, not into a spec" for key in keys if key in set(MARK_KEYS) - set(SPEC_KEYS)]
    try:
        _refuse([*unfit, *(_problems((), keys))])
    except SpecError as error:
        raise SpecError(f"{place}: {error.message}", next_step=_allowed(SPEC_KEYS)) from error


def wrong_specs(project: Project) -> list[str]:
    """What is wrong with the default spec and the named specs, each with its table."""
    tables = {"[tool.kina]": project.spec} | {f"[tool.kina.clusters.{n}]": keys for n, keys in project.clusters.items()}
    wrong = [_wrong(check_keys, keys, f"{table} in {project.path}") for table, keys in tables.items()]
    if not any(wrong):  # whether keys contradict each other can be asked of valid ones only
        wrong = [
            _wrong(_check_together, _overlaid(project.spec, keys), f"{table} in {project.path}")
            for table, keys in tables.items()
        ]
    return [problem for problem in wrong if problem]


def _wrong(check: Callable[[Keys, str], None], keys: Keys, place: str) -> str:
    try:
        check(keys, place)
    except SpecError as error:
        return str(error)
    return ""


def _check_together(keys: Keys, place: str) -> None:
    try:
        default_spec(Defaults(spec=keys))
    except SpecError as error:
        raise SpecError(f"{place}: {error.message}", next_step="leave one of them out") from error


def request_ids(wanted: Sequence[ClusterRequest], default: ClusterSpec) -> list[str]:
    """Short readable ids: what differs from the default spec, such as ``1.35``, ``api`` or ``east:nodes=3``.

    In a matrix the version is always told.
    """
    varied = [len({request.clusters[place] for request in wanted}) > 1 for place in range(len(wanted[0].clusters))]
    return [_request_id(request, default, varied) for request in wanted]


def _request_id(request: ClusterRequest, default: ClusterSpec, varied: Sequence[bool]) -> str:
    parts = []
    for (name, spec), told in zip(request.clusters, varied, strict=True):
        if text := _differences(spec, replace(default, version="") if told else default):
            parts.append(f"{name}:{text}" if name else text)
    return ",".join(parts)


def is_default(request: ClusterRequest, default: ClusterSpec) -> bool:
    """True when every cluster of the request has the default spec."""
    return all(spec == default for spec in request.specs)


def default_spec(defaults: Defaults) -> ClusterSpec:
    """The spec of a test without marks."""
    return _variants(UNNAMED, defaults.spec, defaults.base)[0][1]


def _differences(spec: ClusterSpec, default: ClusterSpec) -> str:
    parts = [spec.provider] if spec.provider != default.provider else []
    parts += [spec.version] if spec.version != default.version else []
    parts += [spec.profile] if spec.profile != default.profile else []
    if spec.simulated_nodes != default.simulated_nodes and spec.profile != "api":
        parts.append(f"nodes={spec.simulated_nodes}")
    parts += [f"{gate}={str(on).lower()}" for gate, on in spec.feature_gates if (gate, on) not in default.feature_gates]
    parts += [f"{flag}={value}" for flag, value in spec.api_server_args if (flag, value) not in default.api_server_args]
    for name in ("workers", "cpus", "memory_mib"):
        if (value := getattr(spec, name)) != getattr(default, name) and value is not None:
            parts.append(f"{name.removesuffix('_mib')}={value}")
    parts += [
        f"{key}={_short(value)}" for key, value in spec.provider_options if (key, value) not in default.provider_options
    ]
    parts += [need for need in spec.needs if need not in default.needs]
    parts += [name for name in _CONTENT if getattr(spec, name) not in ((), getattr(default, name))]
    return "-".join(parts) or ("" if spec == default else "plain")


def _overlaid(far: Keys, near: Keys) -> dict[str, Any]:
    """``near`` over ``far``; a near key also removes the far keys that it contradicts."""
    removed = {
        "version": "versions",
        "versions": "version",
        **({"profile": "simulated_nodes"} if near.get("profile") == "api" else {}),
        **({"isolation": "scope"} if near.get("isolation") == Isolation.NAMESPACE else {}),
    }
    gone = {removed[key] for key in near if key in removed} - set(near)
    return {key: value for key, value in far.items() if key not in gone} | dict(near)


def _shared_choice(merged: Mapping[str, Keys]) -> tuple[Isolation, str]:
    """Isolation and scope of clusters that are leased together. Raises :class:`SpecError` when they disagree."""
    problems = []
    chosen: dict[str, str] = {}
    for key, default in (("isolation", "namespace"), ("scope", "function")):
        values = {str(keys[key]) for keys in merged.values() if key in keys} or {default}
        if len(values) > 1:
            problems.append(f"{key}: clusters of one test are leased together, but the marks say {sorted(values)}")
        chosen[key] = min(values)
    if any("scope" in keys for keys in merged.values()) and chosen["isolation"] == "namespace":
        problems.append("scope: only together with isolation='exclusive' or isolation='fresh'")
    _refuse(problems)
    return Isolation(chosen["isolation"]), chosen["scope"]


def _variants(name: str, keys: Keys, base: Path) -> list[tuple[str, ClusterSpec]]:
    versions = keys.get("versions") or [keys.get("version", ClusterSpec().version)]
    profile = keys.get("profile", "workloads")
    nodes = keys.get("simulated_nodes", 0 if profile == "api" else 1)
    if profile == "api" and nodes:
        _refuse([f"simulated_nodes: profile='api' has no nodes, but simulated_nodes={nodes}"])
    return [
        (
            name,
            ClusterSpec(
                provider=keys.get("provider", "auto"),
                version=str(version).removeprefix("v"),
                profile=profile,
                simulated_nodes=nodes,
                feature_gates=tuple(sorted(keys.get("feature_gates", {}).items())),
                api_server_args=tuple(sorted(keys.get("api_server_args", {}).items())),
                workers=keys.get("workers", 0),
                cpus=keys.get("cpus"),
                memory_mib=mebibytes(keys["memory"]) if "memory" in keys else None,
                images=tuple(sorted({_image(base, image) for image in keys.get("images", ())})),
                needs=tuple(sorted(set(keys.get("needs", ())))),
                provider_options=_provider_options(base, keys.get("provider_options", {})),
                crds=_absolute(base, keys.get("crds", ())),
                helm=charts.declared(keys["helm"], base) if "helm" in keys else (),
                manifests=_absolute(base, keys.get("manifests", ())),
                bootstrap=_bootstrap(base, keys["bootstrap"]) if "bootstrap" in keys else (),
            ),
        )
        for version in versions
    ]


def _absolute(base: Path, paths: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(os.path.abspath(base / path) for path in ([paths] if isinstance(paths, str) else paths))  # noqa: PTH100


def _image(base: Path, image: str) -> str:
    """A reference as it is; of an archive the absolute path."""
    return _absolute(base, os.path.expanduser(image))[0] if image.endswith(ARCHIVES) else image  # noqa: PTH111


def _provider_options(base: Path, options: Keys) -> tuple[tuple[str, Any], ...]:
    """Sorted pairs, for any provider: a ``config`` is a document or a path, a ``node_image`` may be an archive."""
    if isinstance(file := options.get("config"), str) and file:
        (path,) = _absolute(base, file)
        options = {**options, "config": path}
    if isinstance(image := options.get("node_image"), str):
        options = {**options, "node_image": _image(base, image)}
    return tuple(sorted((key, as_option(value)) for key, value in options.items()))


def _bootstrap(base: Path, declared: Keys) -> tuple[str, ...]:
    return declared["function"], declared["key"], *_absolute(base, declared.get("files", ()))


def _problems(args: Sequence[Any], keys: Keys) -> list[str]:
    found = [_bad_name(args)] if args else []
    for key, value in keys.items():
        if key not in _CHECKS:
            import difflib

            near = difflib.get_close_matches(str(key), MARK_KEYS, n=1)
            found.append(f"{key}: no such key" + (f"; did you mean {near[0]!r}?" if near else ""))
            continue
        expected, fits = _CHECKS[key]
        if not fits(value):
            found.append(f"{key}: expected {expected}, got {value!r}")
        elif key == "versions":
            found += _repeated(value)
    if "version" in keys and "versions" in keys:
        found.append("version and versions: only one of them")
    return [problem for problem in found if problem]


def _misspelt(marks: Iterable[Mark], tables: Mapping[str, Keys]) -> list[str]:
    """Names that bring no keys and are no table, but almost a table that these marks do not name as well."""
    import difflib

    bare: dict[str, bool] = {}
    for args, keys in marks:
        if args:
            bare[args[0]] = bare.get(args[0], True) and not keys
    others = [table for table in tables if table not in bare]
    return [
        f"{name!r}: no [tool.kina.clusters.{name}]; did you mean {near[0]!r}? If not, add that table, empty or not"
        for name in bare
        if bare[name] and name not in tables and (near := difflib.get_close_matches(name, others, n=1))
    ]


def _repeated(versions: Sequence[str]) -> list[str]:
    """The patch versions that are asked for more than once, be it by their minor, as far as our table knows it."""
    from pytest_kina.binaries.releases import known  # here: only a matrix needs it

    table = {series: patch.number for series, patch in known().items()}
    asked: dict[str, list[str]] = {}
    for version in versions:
        plain = version.removeprefix("v")
        asked.setdefault(table.get(plain, plain), []).append(version)
    return [
        f"versions: each version once, but {' and '.join(map(repr, alike))} are the same, {patch}"
        for patch, alike in asked.items()
        if len(alike) > 1
    ]


def _bad_name(args: Sequence[Any]) -> str:
    if len(args) > 1:
        several = "a test with several clusters has one mark for each"
        return f"at most one positional argument, the cluster's name ({several}); got {tuple(args)!r}"
    if not (isinstance(args[0], str) and _NAME.fullmatch(args[0])):
        return f"the positional argument is the cluster's name (letters, digits, '_', '.', '-'); got {args[0]!r}"
    return ""


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise SpecError("; ".join(problems), next_step=_allowed())


def _allowed(keys: Iterable[str] = MARK_KEYS) -> str:
    return f"allowed keys are {', '.join(sorted(keys))}"


def mebibytes(memory: str) -> int:
    """MiB in ``512Mi`` or ``4Gi``. Raises :class:`ValueError`."""
    if (found := _MEMORY.fullmatch(memory)) is None:
        raise ValueError(memory)
    return int(found[1]) * (1024 if found[2] == "Gi" else 1)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    text = str(value)
    if text.startswith("{"):  # a document
        import hashlib

        return hashlib.sha256(text.encode()).hexdigest()[:8]
    return Path(text).name if text.startswith(os.sep) else text


def _is_version(value: Any) -> bool:
    return isinstance(value, str) and _VERSION.fullmatch(value) is not None


def _is_count(value: Any, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int)


def _is_document(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(key, str) and _is_document(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_document, value))
    return value is None or isinstance(value, str | int | float)


def _lists(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(fits(each) for each in value)


def _maps_names_to(kind: type) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and name and not name.startswith("-") and isinstance(entry, kind)
            for name, entry in value.items()
        )

    return fits


def _names_paths(value: Any) -> bool:
    paths = [value] if isinstance(value, str) else value
    return isinstance(paths, list | tuple) and bool(paths) and all(isinstance(path, str) and path for path in paths)


def _is_bootstrap(value: Any) -> bool:
    if not isinstance(value, Mapping) or not {"function", "key"} <= set(value) <= {"function", "key", "files"}:
        return False
    function, key = value["function"], value["key"]
    named = isinstance(function, str) and _FUNCTION.fullmatch(function) is not None
    return named and isinstance(key, str) and bool(key) and ("files" not in value or _names_paths(value["files"]))


_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "provider": (
        "'auto', a provider's name or module:factory",
        lambda value: isinstance(value, str) and _PROVIDER.fullmatch(value) is not None,
    ),
    "version": ("a Kubernetes version as text, like '1.36' or '1.36.3'", _is_version),
    "versions": (
        "a list of Kubernetes versions as text, like ['1.35', '1.36']",
        lambda value: isinstance(value, list | tuple) and bool(value) and all(map(_is_version, value)),
    ),
    "profile": ("'workloads' or 'api'", lambda value: value in ("workloads", "api")),
    "simulated_nodes": (f"a whole number from 0 to {MOST_NODES}", lambda value: _is_count(value, MOST_NODES)),
    "feature_gates": ("a mapping of gate names to booleans, like {'SomeGate': True}", _maps_names_to(bool)),
    "api_server_args": ("a mapping of flags without dashes to text, like {'v': '4'}", _maps_names_to(str)),
    "workers": ("a whole number of at least 0", _is_count),
    "cpus": ("a whole number of at least 1", lambda value: _is_count(value) and value > 0),
    "memory": (
        "memory per node as text, like '512Mi' or '4Gi'",
        lambda value: isinstance(value, str) and _MEMORY.fullmatch(value) is not None,
    ),
    "images": (
        "a list of image references, like ['app:test']",
        lambda value: _lists(value, lambda image: isinstance(image, str) and _IMAGE.fullmatch(image) is not None),
    ),
    "needs": (
        f"a set or list of {', '.join(ASKABLE)}",
        lambda value: _lists(value, lambda need: need in ASKABLE),
    ),
    "provider_options": (
        "a mapping of the provider's own options to text, numbers, booleans, lists of them or a document",
        lambda value: (
            isinstance(value, Mapping)
            and all(isinstance(key, str) and key for key in value)
            and all(
                _is_plain(each) or _lists(each, _is_plain) or (isinstance(each, Mapping) and _is_document(each))
                for each in value.values()
            )
        ),
    ),
    "crds": ("a path or a list of paths, like ['config/crd']", _names_paths),
    "helm": (charts.EXPECTED, charts.is_declaration),
    "manifests": ("a path or a list of paths, like ['deploy/cert-manager.yaml']", _names_paths),
    "bootstrap": (
        "{'function': 'package.module:function', 'key': '1', 'files': [...]}, the key to be changed with the function",
        _is_bootstrap,
    ),
    "isolation": ("'namespace', 'exclusive' or 'fresh'", lambda value: value in tuple(Isolation)),
    "scope": ("'function' or 'module'", lambda value: value in ("function", "module")),
}
