"""Imported by the server that forks workers: it builds what each of them would build anew, the parser of references."""

from tablevault_like.references import grammar

grammar.parse("<<words.word[index]>>")
