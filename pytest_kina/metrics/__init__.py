"""What a run costs beside time: memory, processor time and disk per cluster and per process, and the API's latency."""
