"""The functions that builders name: user code from a vault's code modules, and built-in ones.

- ``modules``: load code modules, isolated from everything else in the interpreter.
- ``imports``: which files a code module needs, without running it.
- ``fingerprint``: what a function does, as a digest that only changes of meaning change.
- ``signature``: whether a builder's arguments fit a function.
- ``file_arguments``: which arguments of a function are files that count by their content. User code declares its own
  with ``from tablevault_like.functions import reads_files``.
- ``given``: a function of a script or a notebook as a code module: its source where that stands alone, else pickled.
- ``builtin``: the functions that come with this library.
"""

from tablevault_like.functions.file_arguments import reads_files

__all__ = ["reads_files"]
