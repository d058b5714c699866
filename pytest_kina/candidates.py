"""Who may stand behind the provider ``auto``, in which order, and who can be ruled out by a look at ``PATH`` alone."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from types import MappingProxyType

CANDIDATES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "kina": ("container", "kina"),
        "embedded": (),
        "kind": ("kind",),
        "k3d": ("k3d",),
        "apple_k8s": ("container",),  # last of those that we drive: Apple calls it experimental
        "minikube": ("minikube",),
    }
)
"""Each candidate, best first, with the programs that it cannot do without."""


def absent(candidate: str) -> str | None:
    """One sentence that names the candidate's programs that are not on ``PATH``; None when all are."""
    missing = [f"`{program}`" for program in CANDIDATES[candidate] if shutil.which(program) is None]
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not on PATH" if missing else None


def likely() -> list[str]:
    """The candidates that a run without special needs may take, best first: the last one needs no program."""
    found = []
    for candidate, programs in CANDIDATES.items():
        if absent(candidate) is None:
            found.append(candidate)
            if not programs:
                break
    return found
