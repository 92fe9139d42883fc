"""What is different between two instances of a table: columns, rows, cells, inputs, builders and code.

Nothing is run for that, and nothing is changed: frames are read column by column, builders and code as text.
"""
