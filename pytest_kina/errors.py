"""What can go wrong, as one tree.

KinaError
├── SettingsError            an option, environment variable or ``[tool.kina]`` key is wrong
├── SpecError                a mark or a spec is wrong
├── StateError               something on disk is not usable (path, owner, schema)
├── CommandError             a command that we ran failed (argv, exit code, output, duration)
├── ManifestError            something to apply is not a Kubernetes object (place, what is missing)
├── BinaryError              a binary could not be found, fetched, verified or built
├── ProviderUnavailableError the provider cannot run here
├── ProvisionError           a cluster could not be made, reset or deleted
│   └── NotReadyError        it started, but did not become ready in time
├── PoolTimeoutError         no cluster became free before the deadline
├── ClusterDiedError         a leased cluster is gone
└── ApiError                 the API server refused a request
    ├── Forbidden            403
    ├── NotFound             404
    ├── Conflict             409
    └── WaitTimeoutError     a condition did not come true in time

Every message says what was tried, what came back, what was left behind, and the next step. Details are attributes.
All of them survive pickling, because xdist workers are processes.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ApiError",
    "BinaryError",
    "ClusterDiedError",
    "CommandError",
    "Conflict",
    "Forbidden",
    "KinaError",
    "ManifestError",
    "NotFound",
    "NotReadyError",
    "PoolTimeoutError",
    "ProviderUnavailableError",
    "ProvisionError",
    "SettingsError",
    "SpecError",
    "StateError",
    "WaitTimeoutError",
]


def _rebuild(cls: type[KinaError], message: str, next_step: str | None, details: dict[str, Any]) -> KinaError:
    return cls(message, next_step=next_step, **details)


class KinaError(Exception):
    """Base of all errors of this package.

    ``message`` says what was tried and what came back, ``next_step`` what to do now; every further keyword becomes
    an attribute (and is found again in ``details``).
    """

    def __init__(self, message: str, *, next_step: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.details = details
        for name, value in details.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return f"{self.message}\nNext step: {self.next_step}" if self.next_step else self.message

    def explain(self, paragraph: str) -> None:
        """Add a paragraph to the message, once; an empty one adds nothing."""
        if paragraph and paragraph not in self.message:
            self.message = f"{self.message}\n{paragraph}"
            self.args = (self.message,)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.next_step, self.details)


def told(error: Exception) -> str:
    """What happened: the message of an error of ours without its next step, any other with its type."""
    return error.message if isinstance(error, KinaError) else f"{type(error).__name__}: {error}"


def one_line(error: Exception) -> str:
    """What happened, without the logs and details that follow."""
    return told(error).partition("\n")[0]


class SettingsError(KinaError):
    """An option, environment variable or ``[tool.kina]`` key has a wrong type or value."""


class SpecError(KinaError):
    """A ``kina_cluster`` mark or a named spec is wrong; raised at collection, before anything starts."""


class StateError(KinaError):
    """A file or directory below the root cannot be used. Attribute: ``path``."""


class CommandError(KinaError):
    """A command failed. Attributes: ``argv``, ``returncode`` (None: timed out), ``stdout``, ``stderr``, ``seconds``."""


class ManifestError(KinaError):
    """Something that was to be applied is not a Kubernetes object, or does not belong where it was sent."""


class BinaryError(KinaError):
    """A control-plane binary could not be found, downloaded, verified or built."""


class ProviderUnavailableError(KinaError):
    """The chosen provider cannot run on this machine."""


class ProvisionError(KinaError):
    """Creating, resetting or deleting a cluster failed. Attribute: ``cluster``."""


class NotReadyError(ProvisionError):
    """A cluster did not become ready. Attributes: ``cluster``, ``rung``, ``component``."""


class PoolTimeoutError(KinaError):
    """No cluster became free before the deadline; the message lists every slot."""


class ClusterDiedError(KinaError):
    """A cluster that somebody had leased is no longer there."""


class ApiError(KinaError):
    """The API server refused a request.

    ``status`` is the HTTP code (0: there was no answer), ``reason`` and ``body`` are the server's, ``fields`` the
    fields that another field manager owns.
    """

    status: int = 0
    reason: str = ""
    body: Any = ""
    fields: tuple[str, ...] = ()


class Forbidden(ApiError):
    """403: the user may not do this."""


class NotFound(ApiError):
    """404: the object or its type does not exist."""


class Conflict(ApiError):
    """409: the object exists already, changed meanwhile, or another field manager owns a field."""


class WaitTimeoutError(ApiError):
    """A condition did not come true in time; the message has the last status and the latest events."""
