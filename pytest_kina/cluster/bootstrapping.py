"""Call a user's bootstrap function: ``python -m pytest_kina.cluster.bootstrapping <module>:<function> <directory>``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pytest_kina.cluster.cluster import Cluster


def main(arguments: Sequence[str]) -> int:
    """Import the function and call it with the handle of the cluster; raises what it raises."""
    name, directory = arguments
    module, _, attribute = name.partition(":")
    getattr(import_module(module), attribute)(Cluster.open(Path(directory)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
