"""Programs that measure; run them as modules, for example ``python -m benchmarks.lifecycle``."""
