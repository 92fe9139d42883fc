"""The builder files that are written for people to begin with."""

from __future__ import annotations

from tablevault_like.model import BuilderType


def template(table_name: str, kind: BuilderType) -> str:
    """Return the text of a builder file with every field explained. It runs as it stands.

    >>> print(template("stories", BuilderType.INDEX).splitlines()[0])
    # Makes the rows of the table stories.
    """
    text = _INDEX if kind is BuilderType.INDEX else _COLUMN
    return text.replace("TABLE", table_name) + _COMMON


_INDEX = """\
# Makes the rows of the table TABLE.
builder_type: IndexBuilder

# The columns that the function returns.
changed_columns: [id]

# The columns that tell rows apart.
primary_key: [id]

# The function to call, and the module it is in. With is_custom: true, a module of this vault's code_functions.
python_function: create_data_table_from_list
code_module: table_generation
is_custom: false

# What the function is called with. A value may hold references to other tables, such as '<<stories.text>>', and the
# keywords ~ARTIFACT_FOLDER~ and ~PROCESS_ID~.
arguments:
  vals: [1, 2, 3]
  column: id

# How the function gives its rows: dataframe (all at once), generator (it yields them one by one), or batch (batch_size
# of total_rows at a time).
return_type: dataframe
"""

_COLUMN = """\
# Fills columns of the table TABLE.
builder_type: ColumnBuilder

# The columns that the function returns.
changed_columns: [text]

# The function to call, and the module it is in. With is_custom: true, a module of this vault's code_functions.
python_function: random_row_string
code_module: random_string
is_custom: false

# What the function is called with. A value may hold references, such as '<<self.id[index]>>' (the current row's id) or
# '<<stories.text>>', and the keywords ~ARTIFACT_FOLDER~, ~PROCESS_ID~ and ~ROW_KEY~.
arguments:
  column_names: [text]

# How the function gives its values: row-wise (it is called once a row), batch (for batch_size rows at once),
# dataframe (for all at once) or generator.
return_type: row-wise

# How many rows are worked on at once.
n_threads: 1

# What a row that fails means for the others: stop (no more are begun), continue (they are made, and the next start
# tries those that failed) or null (its cells stay empty); and how many may fail.
# on_error: continue
# max_failures: 5%

# Calls that fail are made again; what a call may take, in seconds; how many there may be, over all threads.
# retries: {attempts: 3, wait: 1}
# timeout: 60
# rate: 60/min

# What one start may spend before it pauses.
# budget: {seconds: 3600, cost: 5.0}
"""

_COMMON = """
# The pandas dtypes of columns; artifact_string for the names of files in the artifact folder.
# dtypes:
#   text: string

# Tables that are read but can't be told from the references above.
# dependencies: [stories.text]
"""
