"""Ordering clusters ahead: a process in the background makes them, so that no test waits for what can be foreseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pytest_kina.pool import Want
from pytest_kina.process import Outliving
from pytest_kina.spec import ClusterSpec, Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """For which run, on which root, and within what (slots, seconds) clusters are made ahead."""

    root: str
    run: str
    size: int
    ttl: float
    start_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """So many READY clusters of one kind; crosses to another process as text."""

    limits: Limits
    want: Want
    count: int
    options: Mapping[str, Any]

    def to_text(self) -> str:
        """The order as one line of JSON."""
        want, options = self.want, self.options
        described = {
            "spec": want.spec.to_json(),
            "provider_name": want.provider_name,
            "identity": dict(want.identity),
            "fingerprint": want.fingerprint,
            "isolation": want.isolation.value,
        }
        plain = {**options, "root": str(options["root"]), "assets": [str(path) for path in options["assets"]]}
        return json.dumps({"limits": asdict(self.limits), "want": described, "count": self.count, "options": plain})

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The order that :meth:`to_text` wrote. Raises :class:`~pytest_kina.errors.ProviderUnavailableError`."""
        from pytest_kina.providers import find

        document = json.loads(text)
        described, options = document["want"], document["options"]
        options |= {"root": Path(options["root"]), "assets": tuple(map(Path, options["assets"]))}
        want = Want(
            spec=ClusterSpec.from_json(described["spec"]),
            provider_name=described["provider_name"],
            provider=find(described["provider_name"], options),
            identity=described["identity"],
            fingerprint=described["fingerprint"],
            isolation=Isolation(described["isolation"]),
        )
        return cls(limits=Limits(**document["limits"]), want=want, count=document["count"], options=options)


class Spares:
    """The orders of one process of a run. Who fills them is asked nothing and may outlive this process."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._started: list[Outliving] = []

    def order(self, limits: Limits, want: Want, count: int, options: Mapping[str, Any]) -> None:
        """Start a process that makes ``count`` clusters READY; what it complains about goes to the log.

        ``options`` are those that the provider is found with. Raises :class:`OSError`.
        """
        self.reap()
        order = Order(limits=limits, want=want, count=count, options=options)
        # It stands in for this process: what its provider and a bootstrap function import must be found there, too.
        env = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
        env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        with self._log.open("ab") as errors:
            process = Outliving(
                [sys.executable, "-m", "pytest_kina._warm", order.to_text()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=env,
                start_new_session=True,
            )
        self._started.append(process)

    def reap(self) -> None:
        """Take the exit status of those that have ended."""
        self._started = [process for process in self._started if process.poll() is None]
