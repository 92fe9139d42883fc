"""The form of a builder file: which fields there are, of what types, and what they must agree on.

The only place that lists the fields, and the only one that uses pydantic. Every mistake is a ``TVBuilderError`` that
names its line and column, what is allowed there, and the nearest name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, WrapValidator
from pydantic_core import ErrorDetails, PydanticCustomError

from tablevault_like.builders.document import Document, KeyPath
from tablevault_like.errors import Location, TVBuilderError, nearest
from tablevault_like.functions.sources import function_name
from tablevault_like.limits import Budget, MaxFailures, Rate, Retries, seconds
from tablevault_like.model import BuilderType, OnError, ReturnType, Reuse

_SHOWN_MISTAKES = 5


def _leave_references(value: object, check: Callable[[object], object], about: ValidationInfo) -> object:
    """Let a string with references stand for any value, until it is resolved."""
    is_resolved = bool(about.context)
    return value if isinstance(value, str) and "<<" in value and not is_resolved else check(value)


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_dependency(value: object) -> object:
    is_pair = isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)
    if isinstance(value, str) or is_pair:
        return value
    raise PydanticCustomError(
        "dependency", "text such as 'stories', 'stories.text' or 'stories(base).text', or a list of table and version"
    )


def _read_by(read: Callable[[object], Any]) -> BeforeValidator:
    """Return a validator for what ``read`` raises ValueError for."""

    def check(value: object) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise PydanticCustomError("limit", "{allowed}", {"allowed": str(error)}) from None

    return BeforeValidator(check)


_Resolvable = WrapValidator(_leave_references)
_Word = Annotated[str, Field(min_length=1)]
_Words = Annotated[list[_Word], BeforeValidator(_one_or_more), _Resolvable]
_Dependency = Annotated[Any, BeforeValidator(_check_dependency)]


class Form(BaseModel):
    """The fields of a builder file. Where a list of words is expected, one word alone will do."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    builder_type: Annotated[BuilderType, Field(strict=False), _Resolvable]
    changed_columns: _Words
    python_function: _Word
    code_module: _Word
    is_custom: Annotated[bool, _Resolvable] = False
    arguments: dict[_Word, Any] = Field(default_factory=dict)
    return_type: Annotated[ReturnType, Field(strict=False), _Resolvable] = ReturnType.DATAFRAME
    n_threads: Annotated[int, Field(ge=1), _Resolvable] = 1
    dtypes: Annotated[dict[_Word, _Word], _Resolvable] = Field(default_factory=dict)
    dependencies: Annotated[list[_Dependency], BeforeValidator(_one_or_more)] = Field(default_factory=list)
    primary_key: _Words = Field(default_factory=list)
    keep_old: Annotated[bool, _Resolvable] = False
    reuse: Annotated[Reuse, Field(strict=False), _Resolvable] = Reuse.AUTO
    batch_size: Annotated[int | None, Field(ge=1), _Resolvable] = None
    total_rows: Annotated[int | None, Field(ge=1), _Resolvable] = None
    checkpoint_every: Annotated[int | None, Field(ge=1), _Resolvable] = None
    on_error: Annotated[OnError, Field(strict=False), _Resolvable] = OnError.STOP
    max_failures: Annotated[MaxFailures | None, _read_by(MaxFailures.read), _Resolvable] = None
    retries: Annotated[Retries, _read_by(Retries.read), _Resolvable] = Retries()
    timeout: Annotated[float | None, _read_by(seconds), _Resolvable] = None
    rate: Annotated[Rate | None, _read_by(Rate.read), _Resolvable] = None
    budget: Annotated[Budget | None, _read_by(Budget.read), _Resolvable] = None


def validate(fields: Mapping[Any, object], document: Document, *, is_resolved: bool) -> Form:
    """Return the fields with their types, defaults filled in.

    While references aren't resolved, a string that holds some may stand for any value but ``arguments`` and
    ``dependencies`` as a whole; so the types of what is returned only hold with ``is_resolved``.
    """
    try:
        return Form.model_validate(fields, context=is_resolved)
    except ValidationError as error:
        mistakes = [_explain(details, document) for details in error.errors(include_url=False)]
    raise _told(mistakes) from None


def check_agreement(form: Form, document: Document) -> None:
    """Raise TVBuilderError where fields contradict each other. Nothing in them may be unresolved."""
    mistakes = [(document.location(path), message) for path, message in _contradictions(form)]
    if mistakes:
        raise _told(mistakes)


def _contradictions(form: Form) -> Iterable[tuple[KeyPath, str]]:
    columns = form.changed_columns
    if not columns:
        yield ("changed_columns",), "A builder changes at least one column."
    for position, column in enumerate(columns):
        if not column.strip():
            yield ("changed_columns", position), f"A column must have a name, not {column!r}."
    yield from _repetitions("changed_columns", columns)
    yield from _repetitions("primary_key", form.primary_key)
    for position, column in enumerate(form.primary_key):
        if column not in columns:
            hint = nearest(column, columns)
            yield (("primary_key", position), f"The primary key {column!r} is not among changed_columns.{hint}")
    for column in form.dtypes:
        if column not in columns:
            yield (("dtypes", column), f"The column {column!r} is not among changed_columns.{nearest(column, columns)}")
    if form.builder_type is not BuilderType.INDEX:
        for name in ("primary_key", "keep_old"):
            if getattr(form, name):
                yield (name,), f"{name} is about the rows of the table: only the IndexBuilder has it."
    yield from _contradictions_of_runs(form)
    if not all(part.isidentifier() for part in form.code_module.split(".")):
        yield (
            ("code_module",),
            f"code_module is the name of a module, without path and '.py', not {form.code_module!r}.",
        )
    elif not function_name(form.code_module, form.python_function).isidentifier():
        yield (
            ("python_function",),
            f"python_function is the name of a function in {form.code_module!r}, not {form.python_function!r}.",
        )


def _contradictions_of_runs(form: Form) -> Iterable[tuple[KeyPath, str]]:
    """Yield what fields about how the function is called have against each other."""
    is_batch = form.return_type is ReturnType.BATCH
    makes_batches = is_batch and form.builder_type is BuilderType.INDEX
    if is_batch and form.batch_size is None:
        yield ("return_type",), "A builder whose return_type is batch says how many rows are one: give it a batch_size."
    if makes_batches and form.total_rows is None:
        yield (
            ("return_type",),
            "An IndexBuilder that makes batches says how many rows there are to be: give total_rows.",
        )
    by_rows = (ReturnType.ROW_WISE, ReturnType.BATCH)
    at_once = (*by_rows, ReturnType.DATAFRAME)
    for name, is_known, known in (
        ("batch_size", is_batch, "builders whose return_type is batch"),
        ("total_rows", makes_batches, "an IndexBuilder whose return_type is batch"),
        ("checkpoint_every", form.return_type is ReturnType.GENERATOR, "builders whose return_type is generator"),
        ("on_error", form.return_type in by_rows, "builders whose return_type is row-wise or batch"),
        ("max_failures", form.on_error is not OnError.STOP, "builders whose on_error is continue or null"),
        ("retries", form.return_type in at_once, "functions that are called for a row, a batch or a frame"),
        ("timeout", form.return_type in at_once, "functions that are called for a row, a batch or a frame"),
        ("rate", form.return_type in by_rows, "builders whose return_type is row-wise or batch"),
    ):
        if not is_known and getattr(form, name) != Form.model_fields[name].default:
            yield (name,), f"{name} is only known to {known}."
    if form.on_error is OnError.NULL and form.primary_key:
        yield (
            ("on_error",),
            "A row that is left empty has no primary key. Remove the primary_key, or let on_error be 'continue'.",
        )


def _repetitions(name: str, words: Sequence[str]) -> Iterable[tuple[KeyPath, str]]:
    for position, word in enumerate(words):
        if word in words[:position]:
            yield (name, position), f"{name} names {word!r} twice."


def _told(mistakes: Iterable[tuple[Location, str]]) -> TVBuilderError:
    """Make one error of several mistakes, told in the order of the file."""
    ordered = sorted(mistakes, key=lambda mistake: (mistake[0].line or 0, mistake[0].column or 0))
    (location, message), *others = ordered
    lines = [message, *(f"{place}: {text}" for place, text in others[: _SHOWN_MISTAKES - 1])]
    if len(ordered) > _SHOWN_MISTAKES:
        lines.append(f"and {len(ordered) - _SHOWN_MISTAKES} more")
    return TVBuilderError("\n".join(lines), location=location)


def _explain(details: ErrorDetails, document: Document) -> tuple[Location, str]:
    path, kind = tuple(details["loc"]), details["type"]
    if kind == "missing":
        # A field that is there without a value isn't among those that are validated.
        if isinstance(document.value, dict) and path[0] in document.value:
            return document.location(path, of_key=True), f"The field {path[0]!r} is empty. Give it a value."
        return document.location(), f"The field {path[0]!r} is missing."
    if kind in ("extra_forbidden", "invalid_key"):
        hint = nearest(str(path[0]), Form.model_fields)
        return document.location(path, of_key=True), f"There is no field {path[0]!r}.{hint}"
    if path[-1] == "[key]":
        return document.location(path[:-1], of_key=True), f"A key of {path[0]} must be {_allowed(details)}"
    name = str(path[0]) + "".join(f"[{part!r}]" for part in path[1:])
    return document.location(path), f"{name} must be {_allowed(details)}"


def _allowed(details: ErrorDetails) -> str:
    """Say what is allowed, and what stands there instead."""
    value = details["input"]
    found = f", not {_shown(value)}"
    match details["type"]:
        case "limit":
            return f"{details['ctx']['allowed']}{'' if isinstance(value, Mapping) else found}."
        case "enum":
            allowed = details["ctx"]["expected"]
            hint = nearest(value, allowed.split("'")[1::2]) if isinstance(value, str) else ""
            return f"{allowed}{found}.{hint if 'Did you mean' in hint else ''}"
        case "string_type":
            return f"text{found}.{'' if value is None or isinstance(value, list | dict) else ' Put it in quotes.'}"
        case "string_too_short":
            return "text that isn't empty."
        case "bool_type":
            return f"true or false, without quotes{found}."
        case "int_type":
            return f"a whole number, without quotes{found}."
        case "greater_than_equal":
            return f"{details['ctx']['ge']} or more{found}."
        case "list_type":
            return f"a list{found}."
        case "dict_type":
            return f"a mapping, made of lines such as 'name: value'{found}."
        case _:
            return f"{details['msg']}{found}."


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case str() | int() | float() | date():
            text = repr(value) if isinstance(value, str) else str(value)
            return text if len(text) <= 60 else f"{text[:57]}..."
        case _:
            return f"a {type(value).__name__}"
