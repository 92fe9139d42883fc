"""The operations: one frozen dataclass for each kind of change to a vault. Importing its module registers it."""
