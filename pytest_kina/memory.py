"""How much memory this machine has to spare, as its kernel says (proc(5), ``/proc/meminfo``)."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def available() -> int | None:
    """Bytes that new processes can have without swapping; None where nobody says."""
    return _field("MemAvailable:")


def free_swap() -> int:
    """Bytes of swap that nothing uses; 0 where nobody says."""
    return _field("SwapFree:") or 0


def _field(name: str) -> int | None:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    found = next((line.split()[1] for line in lines if line.startswith(name)), None)
    return int(found) * 1024 if found is not None else None
