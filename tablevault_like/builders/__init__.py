"""Builders: read from YAML, planned, and run. Knows nothing of processes."""
