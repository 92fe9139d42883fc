"""One call over the rows of a frame, with a file that remembers: no vault is needed.

- ``rows``: ``map_rows``, a function over rows.
- ``extraction``: ``extract_df``, a model's structured output for rows.
- ``job``: what both do; ``running`` calls and records, ``handing`` hands out, ``cache`` is the file, ``frames`` the
  frames, ``meaning`` tells whether a function does what it did, ``limits`` what its name says.
"""
