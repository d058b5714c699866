"""What timings become: a table for people, a summary and a benchmark file for programs. Knows nothing of pytest."""
