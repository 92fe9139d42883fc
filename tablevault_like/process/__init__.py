"""Processes: claim, run, checkpoint, pause, revert, stop and restart any operation. Knows nothing of builders."""
