"""Queries about the vault itself."""

from __future__ import annotations

from collections.abc import Mapping

from tablevault_like.catalog.catalog import Database


def write(db: Database, fields: Mapping[str, str]) -> None:
    """Record what describes the vault: ``description``, ``author``, ``created_at``."""
    db.executemany("INSERT OR REPLACE INTO vault (key, value) VALUES (?, ?)", list(fields.items()))


def read(db: Database) -> dict[str, str]:
    """Return what describes the vault."""
    return {row["key"]: row["value"] for row in db.execute("SELECT key, value FROM vault ORDER BY key")}
