"""The page of the commands: all that ``tvl --help`` and ``tvl COMMAND --help`` tell, read off the application."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import typer

from tablevault_like.cli import app

NAME = "tvl"
_EXAMPLE = "Example:\n"
_EXIT_CODES = "Exit codes:\n"
_SHARED = "shared options"
_VALUES = {"<str>": "TEXT", "<int>": "N", "<int range>": "N"}  # what options take that name nothing better


def page() -> str:
    """Return the page as Markdown."""
    return "".join(_parts())


def _parts() -> Iterator[str]:
    # Typer may bring a click of its own, so click's classes aren't named here.
    group = cast("Any", typer.main.get_command(app))
    context = group.make_context(NAME, [], resilient_parsing=True)
    commands = [_Command.read(each, parent=context) for each in group.commands.values() if not each.hidden]
    about, _, exit_codes = group.help.partition(_EXIT_CODES)
    yield f"# All commands\n\n{_text(about)}\n\n"
    yield "They are introduced one by one in [the command line](command-line.md).\n"
    yield f"\n```text\n{' '.join([NAME, *group.collect_usage_pieces(context)])}\n```\n"
    yield "\n" + _table("option", (_Parameter.read(each, context) for each in _shown(group)))
    shared = {each.name: each for command in commands for each in command.shared}
    yield f"\n## {_SHARED.capitalize()}\n\nMost commands take these:\n\n{_table('option', shared.values())}"
    for panel, members in groupby(commands, key=lambda command: command.panel):
        yield f"\n## {panel}\n{''.join(map(str, members))}"
    yield f"\n## Exit codes\n\n| exit code | what it means |\n|---|---|\n{_codes(exit_codes)}"


@dataclass(frozen=True)
class _Parameter:
    """An argument or option. ``name`` is how it is written, ``told`` what its help says; both are Markdown."""

    name: str
    told: str
    is_argument: bool
    is_shared: bool

    @classmethod
    def read(cls, parameter: Any, context: Any) -> _Parameter:
        written, told = parameter.get_help_record(context)
        is_argument = parameter.param_type_name == "argument"
        if is_argument:
            name = f"`{written.split(' ')[0].strip('[]{}')}`"
        else:
            names, _, value = written.replace(", ", ",").partition(" ")
            words = [*sorted(names.split(","), key=len, reverse=True), _VALUES.get(value, value.strip("<>"))]
            name = " ".join(f"`{each}`" for each in words if each).replace("|", "\\|")
        text, _, limits = told.partition("  [")
        limits = re.sub(r"(\S+)<=x<=(\S+)", r"\1 to \2", re.sub(r"x>=(\S+?)(?=[;\]]|$)", r"\1 or more", limits))
        shown = [each.replace("default: ", "by default ") for each in limits.rstrip("]").split("; ")]
        shown = [each for each in shown if each not in ("", "required")]
        told = _text(text) + (f" ({_text(', '.join(shown))})" if shown else "")
        is_shared = str(getattr(parameter, "rich_help_panel", "")) == "Options of most commands"
        return cls(name, told, is_argument, is_shared)


@dataclass(frozen=True)
class _Command:
    """A command, as the page shows it."""

    name: str
    panel: str
    usage: str
    about: str
    example: str
    parameters: tuple[_Parameter, ...]

    @classmethod
    def read(cls, command: Any, *, parent: Any) -> _Command:
        context = command.make_context(command.name, [], parent=parent, resilient_parsing=True)
        about, _, example = command.help.partition(_EXAMPLE)
        usage = " ".join(command.collect_usage_pieces(context)).replace("{", "").replace("}", "")
        parameters = tuple(_Parameter.read(each, context) for each in _shown(command))
        name, panel = f"{NAME} {command.name}", str(command.rich_help_panel)
        return cls(name, panel, usage, _text(about), _plain(example).strip(), parameters)

    @property
    def shared(self) -> list[_Parameter]:
        return [each for each in self.parameters if each.is_shared]

    def __str__(self) -> str:
        parts = [f"\n### {self.name}", self.about, f"```text\n{self.name} {self.usage}\n```"]
        for kind in ("argument", "option"):
            own = [each for each in self.parameters if not each.is_shared and each.is_argument == (kind == "argument")]
            parts += [_table(kind, own)] if own else []
        if self.shared:
            names = ", ".join(each.name.split(" ")[0] for each in self.shared)
            parts.append(f"[Shared options](#{_SHARED.replace(' ', '-')}): {names}.")
        return "\n\n".join([*parts, f"```console\n$ {self.example}\n```\n"])


def _shown(command: Any) -> list[Any]:
    return [each for each in command.params if not getattr(each, "hidden", False)]


def _table(kind: str, parameters: Iterable[_Parameter]) -> str:
    rows = [f"| {each.name} | {' '.join(each.told.split())} |" for each in parameters]
    return "\n".join([f"| {kind} | |", "|---|---|", *rows]) + "\n"


def _codes(text: str) -> str:
    found = re.findall(r"^ *(\d+)  (.*)$", text, re.MULTILINE)
    return "".join(f"| {code} | {_text(meaning)} |\n" for code, meaning in found)


def _text(text: str) -> str:
    """Return a help text as Markdown: all but code as it stands there."""
    quoted = re.sub(r"(?<![\w`-])(--\w[\w-]*)(?!`)", r"`\1`", _plain(text).strip())
    parts = re.split(r"(`[^`]*`)", quoted)
    return "".join(part if part.startswith("`") else re.sub(r"([\\<>*_\[\]|])", r"\\\1", part) for part in parts)


def _plain(text: str) -> str:
    """Return a help text without the escapes that rich needs."""
    return text.replace("\\[", "[")
