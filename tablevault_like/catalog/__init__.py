"""The catalog: one SQLite file that is the truth about tables, instances, processes, locks and lineage.

All SQL of the vault is in this package. ``Catalog`` opens the file and gives transactions; the modules named after a
subject hold the queries, which take the connection of a transaction as ``db``.
"""

from tablevault_like.catalog.catalog import Catalog, Database

__all__ = ["Catalog", "Database"]
