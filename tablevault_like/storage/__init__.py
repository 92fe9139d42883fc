"""Files: synced writes, manifests, Parquet tables, row stores and artifacts. The only package that touches the disk."""
