"""The binaries of a cluster: found, downloaded, built, and kept.

``obtain`` is all that providers call; ``commands`` is the command line.
"""

from pytest_kina.binaries.obtaining import Assets, obtain

__all__ = ["Assets", "obtain"]
