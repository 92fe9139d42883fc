"""docs/compared-with-tablevault.md leaves nothing out, and names tests that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tablevault_like import TableVault
from tests import held

PAGE = held.CHECKOUT / "docs" / "compared-with-tablevault.md"

# What TableVault 0.1.1 offers: the methods of its class and their arguments, its functions, the fields of its builders.
OFFERED = (
    *("TableVault", "author", "create=True", "description", "parent_id", "restart=True", "verbose=True"),
    *("create_builder_file", "create_code_module", "create_instance", "create_table", "delete_builder_file"),
    *("delete_code_module", "delete_instance", "delete_table", "execute_instance", "generate_process_id"),
    *("get_active_processes", "get_artifact_folder", "get_builder_str", "get_builders_list", "get_code_module_str"),
    *("get_code_modules_list", "get_dataframe", "get_descriptions", "get_file_tree", "get_process_completion"),
    *("get_table_instances", "rename_table", "stop_process", "write_instance"),
    *("active_only", "allow_multiple_artifacts", "background=True", "copy=True", "dependencies", "dtypes"),
    *("external_edit", "force=True", "force_execute", "full_artifact_path", "has_side_effects", "materialize=True"),
    *("origin_id", "origin_table", "process_id", "rows", "successful_only"),
    *("compress_vault", "decompress_vault", "delete_vault"),
    *("IndexBuilder", "ColumnBuilder", "arguments", "changed_columns", "code_module", "is_custom", "keep_old"),
    *("n_threads", "primary_key", "python_function", "return_type"),
    *("dataframe", "row-wise", "generator", "artifact_string", "~ARTIFACT_FOLDER~", "~PROCESS_ID~"),
    *("table_generation", "random_string"),
)


def rows() -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield each row: the feature, what either does, and the tests. What only this library has is in three columns."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith("| |"):
            feature, *theirs, ours, tests = held.cells(line)
            yield feature, theirs[0] if theirs else "nothing", ours, held.named(tests)


NAMED = sorted({test for *_, tests in rows() for test in tests})


@pytest.mark.parametrize("test", NAMED)
def test_every_test_that_is_named_is_there(test: str) -> None:
    held.check(PAGE, test)


def test_every_row_is_whole() -> None:
    found = list(rows())

    assert len(found) > 125
    for feature, theirs, ours, tests in found:
        assert all((feature, theirs, ours)), feature
        assert tests, f"no test holds {feature}"


# What only this library has: the methods and arguments, as far as they are no others' names, and what goes on around.
OWN = (
    *(name for name in dir(TableVault) if name[0] != "_" and name not in (*OFFERED, "make_table")),
    *("columns", "filters", "lock_timeout", "max_bytes", "observer", "on_change", "timeout", "replace=True"),
    *("reuse: never", "~RESUME_FROM~", "~ROW_KEY~", "output.log", "tvl ps", "tvl migrate", "--json", "left_out"),
)


@pytest.mark.parametrize("name", OWN)
def test_everything_that_only_this_library_offers_is_there(name: str) -> None:
    assert any(
        re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", f"{feature} {ours}") for feature, _, ours, _ in rows()
    )


@pytest.mark.parametrize("name", OFFERED)
def test_everything_that_tablevault_offers_is_there(name: str) -> None:
    assert any(
        re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", f"{feature} {ours}") for feature, _, ours, _ in rows()
    )
