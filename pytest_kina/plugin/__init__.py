"""The pytest entry point: options, configuration, and the registration of the parts that do the work."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pytest_kina import hookspecs
from pytest_kina.errors import KinaError, SettingsError
from pytest_kina.fixtures import (
    kina_artifacts,
    kina_client,
    kina_cluster,
    kina_clusters,
    kina_kubeconfig,
    kina_kubectl,
    kina_load,
    kina_namespace,
    kina_timings,
)
from pytest_kina.options import OPTIONS
from pytest_kina.plugin.header import existing_lines, header_lines
from pytest_kina.plugin.lobby import Lobby
from pytest_kina.plugin.xdist import distributes, is_controller
from pytest_kina.settings import Project, Settings, read_project, resolve

__all__ = [
    "kina_artifacts",
    "kina_client",
    "kina_cluster",
    "kina_clusters",
    "kina_kubeconfig",
    "kina_kubectl",
    "kina_load",
    "kina_namespace",
    "kina_timings",
]

LOBBY: pytest.StashKey[Lobby] = pytest.StashKey()

MARK = (
    "kina_cluster(name=None, *, version, versions, provider, profile, simulated_nodes, feature_gates, "
    "api_server_args, workers, cpus, memory, images, needs, provider_options, "
    "crds, helm, manifests, bootstrap, isolation, scope): "
    "the Kubernetes cluster that the test needs; stack it with names for several"
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
    """Read the settings, and register what waits for the first test that needs a cluster."""
    config.addinivalue_line("markers", MARK)
    try:
        settings = _settings(config)
    except KinaError as error:
        raise pytest.UsageError(str(error)) from error
    lobby = config.stash[LOBBY] = Lobby(config, settings)
    config.pluginmanager.register(lobby, "kina-lobby")
    if settings.plan or settings.bench_json or settings.project.alerts or distributes(config):
        lobby.enter()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say where clusters come from."""
    settings = config.stash[LOBBY].settings
    # Who distributes tests never learns which of them need clusters; others tell what is there after collection.
    existing = existing_lines(settings) if is_controller(config) else []
    return header_lines(settings, verbose=config.get_verbosity() > 0) + existing


def _settings(config: pytest.Config) -> Settings:
    """The settings of this run. Raises :class:`KinaError` that names all that is wrong with options and specs."""
    project = read_project(config.rootpath)
    flags = {option.name: config.getoption(option.key) for option in OPTIONS}
    wrong = _wrong_specs(project)
    try:
        found = resolve(flags=flags, environ=os.environ, project=project, ini=_ini(config), directory=config.rootpath)
    except SettingsError as error:
        raise SettingsError("\n".join([*wrong, str(error)])) from error
    if wrong:
        raise SettingsError("\n".join(wrong))
    return found


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


def _wrong_specs(project: Project) -> list[str]:
    """What is wrong with the default spec and the named specs, each with its table."""
    if not (project.spec or project.clusters):
        return []
    from pytest_kina.marks import wrong_specs  # here: runs without specs do not need it

    return wrong_specs(project)
