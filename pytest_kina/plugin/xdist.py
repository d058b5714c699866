"""What differs when xdist distributes the tests: who makes the run's ticket, and who only runs tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # every pytest run loads this module
    from pytest_kina.run import Run, Ticket

_INPUT = "kina"
_REFUSAL = "kina_refusal"
_SAID = "kina_said"


class XdistHooks:
    """Registered in the xdist controller only; its hooks are unknown without xdist."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._attends = False

    def pytest_configure_node(self, node: Any) -> None:
        """Hand the ticket to an xdist worker, also to one that replaces another."""
        from dataclasses import asdict

        node.workerinput[_INPUT] = asdict(self._run.ticket)

    def pytest_xdist_node_collection_finished(self) -> None:
        """Keep the run alive between the workers' leases, once a worker has prepared clusters."""
        if not self._attends and self._run.used:
            self._run.attend()
            self._attends = True

    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker said, and refuse the run as it did; xdist itself would see a worker without tests.

        Raises :class:`pytest.UsageError`.
        """
        output = getattr(node, "workeroutput", None) or {}
        self._run.said += output.get(_SAID, [])
        if text := output.get(_REFUSAL):
            raise pytest.UsageError(text)


def tell_controller(config: pytest.Config, refusal: str) -> None:
    """In an xdist worker, leave a usage error for the controller, the only one that can show it."""
    if is_worker(config):
        config.workeroutput[_REFUSAL] = refusal  # type: ignore[attr-defined]


def tell_said(config: pytest.Config, said: list[str]) -> None:
    """In an xdist worker, leave sentences for the report of the controller."""
    config.workeroutput[_SAID] = said  # type: ignore[attr-defined]


def is_worker(config: pytest.Config) -> bool:
    """True in an xdist worker."""
    return hasattr(config, "workerinput")


def is_controller(config: pytest.Config) -> bool:
    """True in a process that distributes tests and runs none."""
    return config.pluginmanager.hasplugin("dsession")


def distributes(config: pytest.Config) -> bool:
    """Like :func:`is_controller`, at the time when pytest is configured and xdist has not yet begun."""
    return not is_worker(config) and config.getoption("dist", "no") != "no"


def role(config: pytest.Config) -> str:
    """The name of this process in records and timings: ``gw0``, …, or ``main``."""
    return str(config.workerinput["workerid"]) if is_worker(config) else "main"  # type: ignore[attr-defined]


def given_ticket(config: pytest.Config) -> Ticket | None:
    """The run's ticket from the controller in an xdist worker; None elsewhere."""
    from pytest_kina.run import Ticket

    given = config.workerinput.get(_INPUT) if is_worker(config) else None  # type: ignore[attr-defined]
    return Ticket(**given) if given else None
