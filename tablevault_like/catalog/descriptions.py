"""What people say of the vault, its tables and instances, and may say anew."""

from __future__ import annotations

from tablevault_like.catalog.catalog import Database


def set_of_vault(db: Database, text: str) -> None:
    """Describe the vault anew."""
    db.execute("INSERT OR REPLACE INTO vault (key, value) VALUES ('description', ?)", (text,))


def set_of_table(db: Database, table_id: int, text: str) -> None:
    """Describe a table anew."""
    db.execute("UPDATE tables SET description = ? WHERE table_id = ? AND deleted_at IS NULL", (text, table_id))


def set_of_instance(db: Database, table_id: int, instance_id: str, text: str) -> None:
    """Describe an instance anew."""
    db.execute(
        "UPDATE instances SET description = ? WHERE table_id = ? AND instance_id = ? AND deleted_at IS NULL",
        (text, table_id, instance_id),
    )
