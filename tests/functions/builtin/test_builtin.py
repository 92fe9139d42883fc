from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from tablevault_like.errors import TVBuilderError
from tablevault_like.functions import builtin
from tablevault_like.functions.file_arguments import file_arguments

EVERY = [(module, name) for module in builtin.modules() for name in builtin.functions(module)]


def test_has_what_users_of_tablevault_know() -> None:
    assert builtin.modules() == ["llm", "random_string", "table_generation"]
    assert builtin.functions("random_string") == ["random_column_string", "random_gen_string", "random_row_string"]
    assert {
        "create_data_table_from_csv",
        "create_data_table_from_list",
        "create_data_table_from_table",
        "create_paper_table_from_folder",
    } <= set(builtin.functions("table_generation"))


def test_a_function_may_be_named_with_its_module() -> None:
    one = builtin.function("random_string", "random_row_string")
    assert one is builtin.function("random_string", "random_string.random_row_string")


def test_unknown_module_names_the_nearest_and_the_other_kind() -> None:
    with pytest.raises(TVBuilderError, match=r"Did you mean 'random_string'\? .* needs is_custom: true"):
        builtin.function("random_strings", "random_row_string")


def test_unknown_function_names_the_nearest() -> None:
    with pytest.raises(TVBuilderError, match=r"no function 'random_row'\. Did you mean 'random_row_string'\?"):
        builtin.function("random_string", "random_row")


@pytest.mark.parametrize("name", ["pd", "random", "built_in", "_row", "__name__", "declared"])
def test_nothing_else_of_the_module_can_be_called(name: str) -> None:
    with pytest.raises(TVBuilderError):
        builtin.function("random_string", name)


@pytest.mark.parametrize(("module", "name"), EVERY)
def test_declared_files_are_arguments_and_all_paths_are_declared(module: str, name: str) -> None:
    function = builtin.function(module, name)
    parameters = inspect.signature(function).parameters
    paths = {parameter for parameter in parameters if parameter.endswith(("_path", "_dir"))}
    assert set(file_arguments(function)) == paths


def test_fingerprint_is_the_name_and_the_version() -> None:
    found = builtin.fingerprint("random_string", "random_string.random_row_string")
    assert found.parts == {"built-in random_string.random_row_string": "version 1"}
    assert found == builtin.fingerprint("random_string", "random_row_string")
    assert len({builtin.fingerprint(module, name).digest for module, name in EVERY}) == len(EVERY)


def test_listing_modules_needs_no_pandas() -> None:
    code = (
        "import sys; from tablevault_like.functions import builtin; builtin.modules(); print('pandas' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
