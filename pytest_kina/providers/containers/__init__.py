"""What providers with real nodes share: programs on PATH, access to what a tool made, readiness, image archives."""
