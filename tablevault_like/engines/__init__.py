"""Engines run user code for a coordinator: in threads now, elsewhere later. ``base`` is what they have in common."""
