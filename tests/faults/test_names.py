"""Names that nobody should give, wherever one is asked for: refused by the vault's own errors, with nothing changed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TableVaultError
from tests import library, states
from tests.faults import tally
from tests.faults.tally import Row

SEED = 17

NAMES = {
    "nothing but a dot": ".",
    "two dots": "..",
    "up": "../outside",
    "from the root": "/etc",
    "a part": "words/TEMP_base",
    "a backslash": "a\\b",
    "NUL": "a\0b",
    "a new line": "a\nb",
    "a new line at the end": "words\n",
    "a carriage return": "a\rb",
    "an escape": "a\x1b[2Jb",
    "a bell": "a\x07",
    "256 bytes": "a" * 256,
    "101 bytes": "a" * 101,
    "a megabyte": "a" * (1 << 20),
    "a space": "a b",
    "a space at the end": "words ",
    "a dot at the end": "words.",
    "a space first": " words",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "full width": "\uff57ords",
    "Cyrillic": "w\u043erds",
    "a ligature": "\ufb01n",
    "a long s": "word\u017f",
    "digits of another script": "\u0661\u0662",
    "right to left": "a\u202eb",
    "zero width": "wo\u200brds",
    "half a character": "a\ud800",
    "a byte that is no text": "a\udcff",
    "a wildcard": "wor*",
    "a variable": "$HOME",
    "a home": "~root",
    "a reference": "<<words.word>>",
    "markup": "[red]a[/red]",
    "SQL": "words; DROP TABLE tables",
    "quotes": "a'\"b",
}

TAKERS: Mapping[str, Callable[[TableVault, str, str], object]] = {
    "create_table": lambda vault, name, made: vault.create_table(name),
    "rename_table": lambda vault, name, made: vault.rename_table(name, "words"),
    "delete_table": lambda vault, name, made: vault.delete_table(name),
    "create_instance, version": lambda vault, name, made: vault.create_instance("words", name),
    "create_instance, origin": lambda vault, name, made: vault.create_instance("words", "x", name),
    "create_instance, builder": lambda vault, name, made: vault.create_instance("words", "x", builders=[name]),
    "delete_instance": lambda vault, name, made: vault.delete_instance(name, "words"),
    "create_builder_file": lambda vault, name, made: vault.create_builder_file("words", name, text="a: 1"),
    "delete_builder_file": lambda vault, name, made: vault.delete_builder_file(name, "words"),
    "create_code_module": lambda vault, name, made: vault.create_code_module(name, text="A = 1\n"),
    "delete_code_module": lambda vault, name, made: vault.delete_code_module(name),
    "process_id": lambda vault, name, made: vault.create_table("papers", process_id=name),
    "parent_id": lambda vault, name, made: TableVault(vault.db_dir, parent_id=name).create_table("papers"),
    "execute_instance, until": lambda vault, name, made: vault.execute_instance("words", until=name),
    "write_instance, dtype": lambda vault, name, made: vault.write_instance(
        library.scores(), "scores", dtypes={"name": name}
    ),
    "get_dataframe": lambda vault, name, made: vault.get_dataframe(name),
    "get_dataframe, instance": lambda vault, name, made: vault.get_dataframe("words", name),
    "get_dataframe, column": lambda vault, name, made: vault.get_dataframe("words", made, columns=[name]),
    "get_builder_str": lambda vault, name, made: vault.get_builder_str("words", name, instance_id=made),
    "get_code_module_str": lambda vault, name, made: vault.get_code_module_str(name),
    "get_artifact_folder": lambda vault, name, made: vault.get_artifact_folder("words", instance_id=name),
    "get_process": lambda vault, name, made: vault.get_process(name),
    "stop_process": lambda vault, name, made: vault.stop_process(name),
    "export_instance": lambda vault, name, made: vault.export_instance(name, made),
    "why": lambda vault, name, made: vault.why("words", 0, name),
    "a builder's table": lambda vault, name, made: (
        vault.create_builder_file(
            "words", "shout", text=library.BUILDERS["shout"].replace("shout]", f"{json.dumps(name)}]")
        )
        and vault.execute_instance("words")
    ),
    "a reference": lambda vault, name, made: (
        vault.create_builder_file(
            "words", "shout", text=library.BUILDERS["shout"].replace('"<<self.word', json.dumps(f"<<{name}.word")[:-1])
        )
        and vault.execute_instance("words")
    ),
}
_ALLOWED = {(taker, kind) for taker in ("process_id", "parent_id") for kind in ("a dot at the end", "101 bytes")}
"""Process ids may be longer, and have dots."""
_EDITS = ("a builder's table", "a reference")


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("taker", TAKERS)
def test_names_that_nobody_should_give(
    taker: str, library_dir: Path, made: str, scratch: Path, *, is_full: bool
) -> None:
    vault_dir, violations = scratch / "vault", list[str]()
    names = NAMES if is_full else {key: NAMES[key] for key in random.Random(SEED + len(taker)).sample(list(NAMES), 10)}
    shutil.copytree(library_dir / "vault", vault_dir)
    before, around = states.state(vault_dir), set(scratch.iterdir())
    for kind, name in names.items():
        if (taker, kind) in _ALLOWED:
            continue
        try:
            TAKERS[taker](TableVault(vault_dir, "ada", lock_timeout=0.1), name, made)
        except TableVaultError as error:
            if any(ord(character) < 32 and character != "\n" for character in str(error)):
                violations.append(f"{taker}, {kind}: the error says {str(error)[:300]!r}")
        else:
            if taker not in _EDITS or "/" in name:
                violations.append(f"{taker}, {kind}: it was taken")
        if taker not in _EDITS and (different := states.differences(states.state(vault_dir), before)):
            violations.append(f"{taker}, {kind}: {different[:3]}")
        if set(scratch.iterdir()) != around:
            violations.append(f"{taker}, {kind}: something is beside the vault")
    tally.add(Row.HOSTILE, len(names), violations)
    assert violations == []
