"""The binaries of a cluster: found, downloaded, built, and kept.

``obtain`` is what providers call, ``why_missing`` what a test's ``skipif`` asks; ``commands`` is the command line.
"""

from pytest_kina.binaries.missing import why_missing
from pytest_kina.binaries.obtaining import Assets, obtain

__all__ = ["Assets", "obtain", "why_missing"]
