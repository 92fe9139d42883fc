"""Say in commands what the library says in Python: ``stop_process('p1')`` is ``tvl stop p1`` on the command line."""

from __future__ import annotations

import ast
import inspect
import re
import shlex

from tablevault_like.vault import TableVault

COMMANDS = {
    "check": ("check", ("table_name",)),
    "create_builder_file": ("create-builder-file", ("table_name", "builder_name")),
    "create_code_module": ("create-code-module", ("module_name",)),
    "create_instance": ("create-instance", ("table_name",)),
    "create_table": ("create-table", ("table_name",)),
    "delete_builder_file": ("delete-builder-file", ("table_name", "builder_name")),
    "delete_code_module": ("delete-code-module", ("module_name",)),
    "delete_instance": ("delete-instance", ("table_name", "instance_id")),
    "delete_table": ("delete-table", ("table_name",)),
    "execute_instance": ("execute", ("table_name",)),
    "generate_process_id": ("new-id", ()),
    "export_instance": ("export", ("table_name", "instance_id")),
    "get_active_processes": ("ps", ()),
    "get_artifact_folder": ("artifact-folder", ("table_name",)),
    "get_errors": ("errors", ("name",)),
    "get_dataframe": ("show", ("table_name",)),
    "get_descriptions": ("describe", ("table_name", "instance_id")),
    "get_process": ("ps", ("process_id",)),
    "get_process_history": ("history", ("table_name",)),
    "get_table_instances": ("ls", ("table_name",)),
    "import_instance": ("import", ("path",)),
    "inspect": ("inspect", ("name",)),
    "plan": ("plan", ("table_name",)),
    "quickcheck": ("quickcheck", ()),
    "report": ("report", ("name",)),
    "rename_table": ("rename-table", ("table_name", "new_table_name")),
    "get_trash": ("trash", ()),
    "pause_process": ("pause", ("process_id",)),
    "pin": ("pin", ("table_name", "instance_id")),
    "unpin": ("unpin", ("table_name", "instance_id")),
    "prune": ("prune", ()),
    "set_description": ("describe", ("table_name", "instance_id")),
    "stop_process": ("stop", ("process_id",)),
    "wait": ("wait", ("process_id",)),
    "why": ("why", ("table_name", "row", "column")),
    "write_instance": ("write-instance", ("table_name",)),
}
"""For each method of the vault its command, and which of its arguments are given there without an option's name."""

OPTIONS = {
    "builders": "--builder",
    "copy": "--copy",
    "copy_dir": "--from",
    "dependencies": "--made-from",
    "description": "--description",
    "dtypes": "--dtype",
    "existing": "--existing",
    "external_edit": "--external-edit",
    "force": "--force",
    "force_execute": "--force-execute",
    "from_builder": "--from-builder",
    "ignore_workers": "--ignore-workers",
    "instance_id": "--instance",
    "keep": "--keep",
    "limit": "--limit",
    "lock_timeout": "--lock-timeout",
    "materialize": "--materialize",
    "max_bytes": "--max-bytes",
    "older_than": "--older-than",
    "on_change": "--on-change",
    "on_damage": "--on-damage",
    "origin_id": "--origin",
    "origin_table": "--origin-table",
    "output": "--output",
    "parent_id": "--parent-id",
    "preset": "--preset",
    "process_id": "--process-id",
    "repair": "--repair",
    "replace": "--replace",
    "row": "--row",
    "rows": "--rows",
    "sample": "--sample",
    "start_at": "--start-at",
    "until": "--until",
    "version": "--version",
}
"""For each argument of the library the option that gives it."""

_WHOLE_COMMANDS = {"create": "tvl init", "restart": "tvl restart"}
_SPOKEN_BARE = (
    "external_edit",
    "force_execute",
    "from_builder",
    "lock_timeout",
    "origin_id",
    "origin_table",
    "parent_id",
    "process_id",
)

_METHODS = "|".join(COMMANDS)
_PHRASE = re.compile(
    rf"\b(?P<method>{_METHODS})\((?P<arguments>[^()]*)\)"
    rf"|(?<=[Cc]all )(?P<called>{_METHODS})\b"
    rf"|\b(?P<whole>{'|'.join(_WHOLE_COMMANDS)})=True\b"
    rf"|\b(?P<option>{'|'.join(OPTIONS)})=(?P<value>True\b|'[^']*'|\"[^\"]*\"|)"
    rf"|\b(?P<bare>{'|'.join(_SPOKEN_BARE)})\b"
)


def as_commands(text: str) -> str:
    """Return a message of the library with its calls and arguments as commands and options.

    >>> as_commands("Stop it with stop_process('p1', force=True).")
    'Stop it with `tvl stop p1 --force`.'
    >>> as_commands("Create one with create_instance('stories', version='base').")
    'Create one with `tvl create-instance stories --version base`.'
    >>> as_commands("Call execute_instance again with process_id='my run' to go on (or restart=True).")
    "Call `tvl execute` again with `--process-id 'my run'` to go on (or `tvl restart`)."
    >>> as_commands("Copy the folder: create_code_module('tools', copy_dir=...).")
    'Copy the folder: `tvl create-code-module tools --from ...`.'
    """
    return _PHRASE.sub(_translated, text)


def command_line(method: str, **arguments: object) -> str:
    """Return the command that does what a method does with these arguments.

    >>> command_line("execute_instance", table_name="stories", process_id="p1")
    'tvl execute stories --process-id p1'
    """
    command, positional = COMMANDS[method]
    words = ["tvl", command, *(_word(arguments.pop(name)) for name in positional if name in arguments)]
    words += [_option(OPTIONS[name], value) for name, value in arguments.items() if name in OPTIONS]
    return " ".join(words)


def _translated(phrase: re.Match[str]) -> str:
    if method := phrase["method"]:
        return _call(method, phrase["arguments"]) or phrase[0]
    if called := phrase["called"]:
        return f"`tvl {COMMANDS[called][0]}`"
    if whole := phrase["whole"]:
        return f"`{_WHOLE_COMMANDS[whole]}`"
    if bare := phrase["bare"]:
        return f"`{OPTIONS[bare]}`"
    value = phrase["value"]
    return f"`{_option(OPTIONS[phrase['option']], ast.literal_eval(value) if value else True)}`"


def _call(method: str, arguments: str) -> str | None:
    """Return the command for a call whose arguments are literals, else ``None``."""
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
        if not isinstance(call, ast.Call):
            return None
        names = [name for name in inspect.signature(getattr(TableVault, method)).parameters if name != "self"]
        given = dict(zip(names, map(ast.literal_eval, call.args), strict=False))
        given.update({keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg})
    except (SyntaxError, ValueError):
        return None
    return f"`{command_line(method, **given)}`"


def _option(name: str, value: object) -> str:
    return name if value is True else f"{name} {_word(value)}"


def _word(value: object) -> str:
    """Return a value as one types it; what is left open as dots."""
    return "..." if value is ... else shlex.quote(str(value))
