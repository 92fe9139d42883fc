"""Which release this is: for those that write it into a file, and must not import the whole package for it."""

__version__ = "0.1.0"
