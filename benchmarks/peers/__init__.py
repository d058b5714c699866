"""The real peers, measured beside the plugin on the same binaries."""
