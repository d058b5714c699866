"""Handing out clusters to concurrent processes and runs: see docs/pool.md for the protocol."""

from __future__ import annotations

from pytest_kina.pool.leases import Lease
from pytest_kina.pool.pool import Pool
from pytest_kina.pool.root import Root, open_root
from pytest_kina.pool.status import SlotStatus
from pytest_kina.pool.wants import Want
from pytest_kina.settings import default_size

__all__ = ["Lease", "Pool", "Root", "SlotStatus", "Want", "default_size", "open_root"]
