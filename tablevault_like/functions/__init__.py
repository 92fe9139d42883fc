"""The functions that builders name: user code from a vault's code modules, and built-in ones.

- ``modules``: load code modules, isolated from everything else in the interpreter.
- ``imports``: which files a code module needs, without running it.
- ``fingerprint``: what a function does, as a digest that only changes of meaning change.
- ``signature``: whether a builder's arguments fit a function.
- ``file_arguments``: which arguments of a function are files that count by their content.
- ``builtin``: the functions that come with this library.
"""
