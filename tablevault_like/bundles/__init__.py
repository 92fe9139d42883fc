"""An instance, or what one builder has made of it, as one file that another vault can take in.

A bundle is a ``tar.xz`` that any tar can unpack: a label first, which lists every other member with its size and
SHA-256, then the files of an instance. ``label`` is its form; ``unpacking`` and ``verification`` read it, ``packing``
makes it.
What is taken in becomes a materialized instance, byte for byte, or lies as *results* beside a temporary instance, whose
execution reuses them (``operations.imported``).
"""
