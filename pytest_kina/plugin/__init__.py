"""The pytest entry point: options, configuration, and the registration of the parts that do the work."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_kina import hookspecs
from pytest_kina.errors import KinaError
from pytest_kina.fixtures import (
    KEEPER,
    kina_artifacts,
    kina_client,
    kina_cluster,
    kina_clusters,
    kina_kubeconfig,
    kina_kubectl,
    kina_namespace,
    kina_timings,
)
from pytest_kina.plugin.asked import Asked
from pytest_kina.plugin.collection import Collection
from pytest_kina.plugin.header import header_lines
from pytest_kina.plugin.keeper import Keeper
from pytest_kina.plugin.preparation import Preparation
from pytest_kina.plugin.xdist import XdistHooks, is_worker, role, ticket_for
from pytest_kina.plugin_benchmark import PLUGIN as BENCHMARK
from pytest_kina.plugin_benchmark import BenchmarkRows
from pytest_kina.plugin_gate import GatePlugin, rules_of
from pytest_kina.plugin_metrics import MetricsPlugin
from pytest_kina.plugin_timings import TimingPlugin
from pytest_kina.run import Run
from pytest_kina.settings import OPTIONS, Project, Settings, read_project, resolve

__all__ = [
    "kina_artifacts",
    "kina_client",
    "kina_cluster",
    "kina_clusters",
    "kina_kubeconfig",
    "kina_kubectl",
    "kina_namespace",
    "kina_timings",
]

MARK = (
    "kina_cluster(name=None, *, version, versions, provider, profile, simulated_nodes, feature_gates, "
    "api_server_args, isolation, scope): the Kubernetes cluster that the test needs; stack it with names for several"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register every option as a flag and as a key, from the one table."""
    group = parser.getgroup("kina", "Kubernetes clusters (pytest-kina)")
    for option in OPTIONS:
        how: dict[str, Any] = {"action": "store_const", "const": "true"} if option.switch else {"metavar": "VALUE"}
        group.addoption(option.flag, dest=option.key, default=None, help=option.help, **how)
        if not option.flag_only:
            parser.addini(option.key, option.help, default=None)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Publish the hooks that a project may implement."""
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Any:
    """Make the plan in this process: xdist's workers have no terminal."""
    if config.getoption("kina_plan") and config.pluginmanager.hasplugin("xdist"):
        config.option.numprocesses = 0
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings, and register what does the work."""
    config.addinivalue_line("markers", MARK)
    try:
        settings = _settings(config)
    except KinaError as error:
        raise pytest.UsageError(str(error)) from error
    run = Run(settings, ticket_for(config, settings), worker=role(config))
    asked = Asked(settings.project)
    keeper = Keeper(config, run, asked)
    config.stash[KEEPER] = keeper
    timings = TimingPlugin(
        recorder=lambda: run.recorder,
        run_directory=lambda: run.directory if run.used else None,
        bench_json=settings.bench_json,
        slow_threshold=settings.slow_threshold,
    )
    parts: dict[str, object] = {
        "kina-collection": Collection(run, asked),
        "kina-preparation": Preparation(config, run, asked),
        "kina-keeper": keeper,
        "kina-timings": timings,
    }
    if config.pluginmanager.hasplugin("xdist") and not is_worker(config):
        parts["kina-xdist"] = XdistHooks(run)
    if config.pluginmanager.hasplugin(BENCHMARK) and not is_worker(config):
        parts["kina-benchmark"] = BenchmarkRows(settle=keeper.settle, events=lambda: timings.timings().events)
    if not is_worker(config):
        # of several first wrappers, the one registered last runs first: measurements, the gate, pytest-benchmark's rows
        parts["kina-gate"] = GatePlugin(run, settle=keeper.settle, timings=timings, rules=rules_of(run))
    parts["kina-metrics"] = MetricsPlugin(run)
    for name, part in parts.items():
        config.pluginmanager.register(part, name)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say where clusters come from."""
    return header_lines(config.stash[KEEPER].run, verbose=config.get_verbosity() > 0)


def _settings(config: pytest.Config) -> Settings:
    """The settings of this run. Raises :class:`KinaError`."""
    project = read_project(config.rootpath)
    if project.spec or project.clusters:
        _check_specs(project)
    flags = {option.name: config.getoption(option.key) for option in OPTIONS}
    return resolve(flags=flags, environ=os.environ, project=project, ini=_ini(config), directory=config.rootpath)


def _ini(config: pytest.Config) -> dict[str, tuple[str, str]]:
    """The keys that pytest's configuration names, with their places. Raises UsageError for wrong TOML types."""
    overridden = {part.partition("=")[0] for part in config.getoption("override_ini") or ()}
    found, problems = {}, []
    for option in (option for option in OPTIONS if not option.flag_only):
        try:
            value = config.getini(option.key)
        except (TypeError, ValueError, pytest.UsageError) as error:
            problems.append(f"{error} (write {option.key} = {option.example!r}, as text)")
            continue
        if value is not None:
            place = "-o" if option.key in overridden else str(config.inipath or "pytest configuration")
            found[option.name] = (value, place)
    if problems:
        raise pytest.UsageError("\n".join(problems))
    return found


def _check_specs(project: Project) -> None:
    """Check the default spec and the named specs. Raises :class:`SpecError` naming the table."""
    from pytest_kina.marks import Defaults, check_keys, default_spec

    place = project.path
    check_keys(project.spec, f"[tool.kina] in {place}")
    default_spec(Defaults(spec=project.spec))
    for name, keys in project.clusters.items():
        check_keys(keys, f"[tool.kina.clusters.{name}] in {place}")
