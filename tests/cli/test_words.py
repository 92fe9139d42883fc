from __future__ import annotations

import pytest
import typer

from tablevault_like.cli import app
from tablevault_like.cli.words import COMMANDS, OPTIONS, as_commands, command_line
from tablevault_like.vault import TableVault

SAID = {
    "stop_process('p1')": "`tvl stop p1`",
    "vault: stop_process('p1', force=True)": "vault: `tvl stop p1 --force`",
    "create_instance('stories', version='v2')": "`tvl create-instance stories --version v2`",
    "create_instance('stories', 'v2')": "`tvl create-instance stories --version v2`",
    "delete_instance('TEMP_base', 'stories').": "`tvl delete-instance stories TEMP_base`.",
    "call write_instance() with": "call `tvl write-instance` with",
    "Call execute_instance again with process_id='p1'": "Call `tvl execute` again with `--process-id p1`",
    "(or restart=True)": "(or `tvl restart`)",
    "the same process_id to go on": "the same `--process-id` to go on",
    "(lock_timeout= waits longer)": "(`--lock-timeout` waits longer)",
    "with on_change='continue' (finished": "with `--on-change continue` (finished",
    'with process_id="it\'s"': "with `--process-id 'it'\"'\"'s'`",
    "set_description('New', 'stories')": "`tvl describe stories --description New`",
    "get_descriptions(table_name='stories')": "`tvl describe stories`",
    "or call without parent_id.": "or call without `--parent-id`.",
    "Leave out builders= or external_edit.": "Leave out `--builder` or `--external-edit`.",
}


@pytest.mark.parametrize(("python", "shell"), SAID.items())
def test_calls_and_arguments_become_commands_and_options(python: str, shell: str) -> None:
    assert as_commands(python) == shell


@pytest.mark.parametrize(
    "text",
    [
        "create_table needs a lock that is held",
        "process 'p1' (execute_instance by ada, running)",
        "Call reset_index() to make it a column.",
        "stop_process(process_id)",
        "stop_process('p1'",
        "stop_process('p1' 'p2' = 3)",
        "stories/TEMP_base has no builder 'force'.",
    ],
)
def test_all_else_stays_as_it_is(text: str) -> None:
    assert as_commands(text) == text


def test_a_command_line_can_be_pasted_into_a_shell() -> None:
    assert command_line("delete_table", table_name="a b; rm x") == "tvl delete-table 'a b; rm x'"


@pytest.mark.parametrize("method", COMMANDS)
def test_every_spoken_command_exists_with_its_arguments(method: str) -> None:
    name, positional = COMMANDS[method]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]

    assert callable(getattr(TableVault, method))
    assert len([each for each in command.params if each.param_type_name == "argument"]) >= len(positional)


@pytest.mark.parametrize("argument", OPTIONS)
def test_every_spoken_option_exists(argument: str) -> None:
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]

    assert OPTIONS[argument] in {option for each in commands for parameter in each.params for option in parameter.opts}
