"""kubectl for one cluster: the cluster's kubeconfig and no other, and a home and cache of its own."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from pytest_kina.cluster import programs
from pytest_kina.cluster.namespace import Namespace
from pytest_kina.errors import BinaryError, CommandError
from pytest_kina.process import CommandResult, environment, run_command

if TYPE_CHECKING:
    from pytest_kina.cluster.cluster import Cluster

_TIMEOUT = 60.0


class Kubectl:
    """Runs kubectl as the user of a handle; for a namespace's handle, in that namespace unless told otherwise.

    ``binary`` is the program; without it, the one in ``KINA_ASSETS`` is taken, else the one on ``PATH``.
    """

    def __init__(self, handle: Cluster | Namespace, binary: Path | None = None) -> None:
        self._handle = handle
        self._binary = binary

    @overload
    def __call__(self, *arguments: str, json: Literal[False] = False, stdin: str | None = None) -> str: ...
    @overload
    def __call__(self, *arguments: str, json: Literal[True], stdin: str | None = None) -> Any: ...
    def __call__(self, *arguments: str, json: bool = False, stdin: str | None = None) -> Any:
        """What kubectl printed, as text; with ``json`` it is asked for JSON (``-o json``) and that is parsed.

        Raises :class:`~pytest_kina.errors.CommandError` with all output when it fails, and
        :class:`~pytest_kina.errors.BinaryError` when there is no kubectl.
        """
        if not json:
            return self.run(*arguments, stdin=stdin).stdout
        result = self.run(*arguments, "--output=json", stdin=stdin)
        try:
            return json_.loads(result.stdout)
        except ValueError as error:
            raise CommandError(
                f"`kubectl {' '.join(arguments)}` did not print one JSON document: {error}",
                next_step="not every command knows -o json: leave json=True out and read the text",
                argv=result.argv,
                returncode=result.returncode,
                stdout=result.stdout,
                stderr=result.stderr,
                seconds=result.seconds,
            ) from error

    def run(
        self, *arguments: str, stdin: str | None = None, timeout: float = _TIMEOUT, check: bool = True
    ) -> CommandResult:
        """Run kubectl to its end; the result has exit code, output, errors and duration.

        ``timeout`` is in seconds. Raises like a call, without ``check`` not for an exit code.
        """
        scope = [f"--namespace={self._handle.name}"] if isinstance(self._handle, Namespace) else []
        argv: list[str | Path] = [self.binary, *scope, *arguments]
        return run_command(argv, timeout=timeout, env=self._environment(), stdin=stdin, check=check)

    @property
    def binary(self) -> Path:
        """The program that is run. Raises BinaryError when there is none."""
        found = self._binary or programs.find("kubectl")
        if found is None:
            raise BinaryError(
                "there is no kubectl: none was given, none is in KINA_ASSETS, none is on PATH",
                next_step="run `pytest-kina binaries get kubectl`",
            )
        return found

    def _environment(self) -> dict[str, str]:
        home = self._cluster.directory / "kubectl"
        home.mkdir(mode=0o700, exist_ok=True)
        ours = {"KUBECONFIG": str(self._handle.kubeconfig), "HOME": str(home), "KUBECACHEDIR": str(home / "cache")}
        return environment(ours)

    @property
    def _cluster(self) -> Cluster:
        return self._handle.cluster if isinstance(self._handle, Namespace) else self._handle
