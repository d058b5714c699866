"""The key of a machine class: measurements are compared only when their keys are equal.

What changes from run to run on equal hardware is left out: host name, kernel release, current clock rate. On hosted
GitHub runners the processor changes with every run, so it is not in the key there; the gate's run-to-run variance
absorbs it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from typing import Any

from pytest_kina.report.machine import machine_info, memory_bytes

_GIB_STEP = 4


def machine_key(environ: Mapping[str, str]) -> str:
    """A directory name like ``linux-x86_64-2cpu-8gib-1f3a9c`` or ``gha-ubuntu24-x86_64-4cpu``.

    ``environ`` tells hosted GitHub runners apart (``RUNNER_ENVIRONMENT`` and ``ImageOS``, which GitHub sets).
    """
    cpus = f"{os.cpu_count() or 1}cpu"
    if environ.get("RUNNER_ENVIRONMENT") == "github-hosted" and environ.get("ImageOS"):
        return _clean(f"gha-{environ['ImageOS']}-{platform.machine()}-{cpus}")
    return local_key(machine_info(), memory_bytes())


def local_key(info: Mapping[str, Any], memory: int) -> str:
    """The key of a machine with this ``machine_info`` and so many bytes of memory, rounded to 4 GiB."""
    memory_gib = max(_GIB_STEP, _GIB_STEP * round(memory / 2**30 / _GIB_STEP))
    cpu = info["cpu"]
    digest = hashlib.sha256(str(cpu.get("brand_raw", "")).encode()).hexdigest()[:6]
    return _clean(f"{info['system'].lower()}-{info['machine']}-{cpu.get('count') or 1}cpu-{memory_gib}gib-{digest}")


def _clean(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", key)
