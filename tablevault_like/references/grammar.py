r"""Reading references, in time that grows linearly with the text.

::

    <<stories>>                                  the whole table
    <<stories.text>>  <<stories.{text, 'a b'}>>  some of its columns
    <<stories(base).text>>                       of a version, or of an instance
    <<stories.text[index]>>                      of the row at the current row's position
    <<stories.text[id]>>                         of the rows whose ``id`` equals the current row's index
    <<stories.text[lang::en, year::1990:2000]>>  of the rows with lang = en and 1990 <= year < 2000
    <<stories.text[id::<<self.story[index]>>]>>  nested: any part may be a reference, or hold some

- A table, and a column that stands alone after the dot, is written with letters, digits, ``_`` and ``-``. Columns in
  braces, versions, keys and values may be any text up to the next delimiter, without the spaces around it. Text that
  holds a delimiter (``, : [ ] { } ( )`` where it would end the text), ``<<`` or ``>>`` stands in ``'`` or ``"``.
- In quotes a quote is doubled or has a backslash before it, a backslash before a backslash may be written for one, and
  ``\<<`` stands for ``<<``. All other backslashes stand for themselves.
- Outside of references ``\<<`` stands for ``<<``, and backslashes before a ``<<`` count in pairs: ``\\<<a.b>>`` is a
  backslash and a reference. All other backslashes stand for themselves. Of three ``<``, or five, the first is text:
  ``<<<a.b>>>`` is a reference between ``<`` and ``>``.
- ``index`` as a key means the position of a row, even where a column has that name; ``<<self.index>>`` is the position
  of the current row.
- White space around the parts of a reference means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError
from lark.visitors import Transformer_NonRecursive

from tablevault_like.errors import Location, TableReferenceError
from tablevault_like.references.syntax import SELF, Between, Condition, Equal, Reference, Source, Span, Template

MAX_DEPTH = 50
MAX_REFERENCES = 10_000

# A reference is the same in every place, but what may follow it isn't, and that is what tells the lexer how to read on.
# So each place has a rule of its own for the references in it.
_GRAMMAR = r"""
template: (TEXT | reference_in_template)*

reference_in_template: OPEN _body CLOSE -> reference
reference_in_name: OPEN _body CLOSE -> reference
reference_in_version: OPEN _body CLOSE -> reference
reference_in_column: OPEN _body CLOSE -> reference
reference_in_condition: OPEN _body CLOSE -> reference

_body: table version? columns? conditions?
table: (NAME | reference_in_name)+ -> name
column: (NAME | reference_in_name)+ -> name

version: _LPAR version_text _RPAR
version_text: (QUOTED | (VERSION | reference_in_version)+) -> text

columns: _DOT (column | _LBRACE column_text (_COMMA column_text)* _RBRACE)
column_text: (QUOTED | (COLUMN | reference_in_column)+) -> text

conditions: _LSQB condition (_COMMA condition)* _RSQB
condition: condition_text (_IS condition_text (_TO condition_text)?)?
condition_text: (QUOTED | (CONDITION | reference_in_condition)+) -> text

TEXT.2: /(?:[^<\\]+|<(?!<)|<(?=(?:<<)+(?!<))|\\(?:\\\\)*<<|\\+)+/
OPEN: "<<"
CLOSE: ">>"
NAME: /[A-Za-z0-9_-]+/
QUOTED: /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"/
VERSION: /(?:[^\s()<>'"]|<(?!<)|>(?!>))(?:[^()<>]|<(?!<)|>(?!>))*/
COLUMN: /(?:[^\s,{}<>'"]|<(?!<)|>(?!>))(?:[^,{}<>]|<(?!<)|>(?!>))*/
CONDITION: /(?:[^\s,:\[\]<>'"]|<(?!<)|>(?!>))(?:[^,:\[\]<>]|<(?!<)|>(?!>))*/
_LPAR: "("
_RPAR: ")"
_DOT: "."
_LBRACE: "{"
_RBRACE: "}"
_LSQB: "["
_RSQB: "]"
_COMMA: ","
_IS: "::"
_TO: ":"

%ignore /\s+/
"""

# Each finds all that it can at once, so that no hostile text makes it start over at every character.
_BACKSLASHES = re.compile(r"(\\+)(?=(<<)?)")
_OPENING = re.compile(r"(?<!\\)<<")
_QUOTED_ESCAPES = {quote: re.compile(rf"\\(['\"\\]|<<)|{quote}({quote})") for quote in "'\""}

_WORDS = {
    "NAME": "a name",
    "QUOTED": "quoted text",
    "VERSION": "a version",
    "COLUMN": "a column",
    "CONDITION": "text",
    "OPEN": "'<<'",
    "_LPAR": "'('",
    "_RPAR": "')'",
    "_DOT": "'.'",
    "_LBRACE": "'{'",
    "_RBRACE": "'}'",
    "_LSQB": "'['",
    "_RSQB": "']'",
    "_COMMA": "','",
    "_IS": "'::'",
    "_TO": "':'",
    "CLOSE": "'>>'",
}


def parse(text: str, *, location: Location | None = None) -> Template:
    r"""Read a string that may hold references.

    ``location`` is where the string stands in its file, for messages. Raises ``TableReferenceError``, which points at
    the character.

    >>> template = parse("Sum up: <<stories.text[id::<<self.story[index]>>]>>")
    >>> [reference.text for reference in template.references]
    ['<<stories.text[id::<<self.story[index]>>]>>']
    >>> parse(r"1 \<< 3").literal
    '1 << 3'
    >>> parse("<<stories.>>")
    Traceback (most recent call last):
    tablevault_like.errors.TableReferenceError: Expected a name, '<<' or '{', not '>'.
        <<stories.>>
                  ^
    """
    source = Source(text, location)
    if "<<" not in text:
        return Template((text,) if text else (), Span(source, 0, len(text)))
    try:
        tree = _parser().parse(text)
    except _TooMuchError as error:
        raise Span(source, error.position, error.position + 2).error(error.message) from None
    except UnexpectedInput as error:
        raise _explain(error, source) from None
    try:
        return _Assembler(source).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, start="template", parser="lalr", lexer="contextual", postlex=_Limits())


class _TooMuchError(Exception):
    def __init__(self, message: str, position: int) -> None:
        super().__init__(message, position)
        self.message = message
        self.position = position


class _Limits:
    """Stops at a reference that is one too many or nested too deep, before the parser keeps all that is open."""

    always_accept = ()

    def process(self, stream: Iterable[Token]) -> Iterator[Token]:
        depth = count = 0
        for token in stream:
            if token.type == "OPEN":
                depth, count = depth + 1, count + 1
                if depth > MAX_DEPTH:
                    raise _TooMuchError(f"References are nested more than {MAX_DEPTH} deep.", token.start_pos or 0)
                if count > MAX_REFERENCES:
                    raise _TooMuchError(f"One string holds at most {MAX_REFERENCES} references.", token.start_pos or 0)
            elif token.type == "CLOSE":
                depth -= 1
            yield token


class _Assembler(Transformer_NonRecursive[Token, Template]):
    """Makes the syntax objects out of the parser's tree."""

    def __init__(self, source: Source) -> None:
        super().__init__(visit_tokens=False)
        self._source = source

    def template(self, children: Sequence[Token | Reference]) -> Template:
        parts: list[str | Reference] = []
        for number, child in enumerate(children, start=1):
            if isinstance(child, Reference):
                parts.append(child)
            else:
                parts.append(_unescape(child, before_reference=number < len(children)))
        return Template(tuple(parts), Span(self._source, 0, len(self._source.text)))

    def reference(self, children: Sequence[Token | Template | Tree[Token]]) -> Reference:
        opening, table, *options, closing = children
        assert isinstance(opening, Token)
        assert isinstance(closing, Token)
        assert isinstance(table, Template)
        parts: dict[str, list[Any]] = {option.data: option.children for option in options if isinstance(option, Tree)}
        version = parts.get("version", (None,))[0]
        columns = tuple(parts["columns"]) if "columns" in parts else None
        conditions = tuple(parts.get("conditions", ()))
        span = Span(self._source, opening.start_pos or 0, closing.end_pos or 0)
        if version is not None and table.literal == SELF:
            raise version.error("'self' is the instance that is being built: it takes no version.")
        _refuse_repetition(columns or (), "The column {} is named twice.")
        _refuse_repetition(
            [condition.key for condition in conditions],
            "There are two conditions on {}, and both would have to be met. Give a key once.",
        )
        return Reference(table, version, columns, conditions, span)

    def condition(self, children: Sequence[Template]) -> Condition:
        match children:
            case [key, value]:
                return Condition(key, Equal(value))
            case [key, start, stop]:
                return Condition(key, Between(start, stop))
            case _:
                return Condition(children[0], None)

    def name(self, children: Sequence[Token | Reference]) -> Template:
        spans = [self._span(child) for child in children]
        for left, right in pairwise(spans):
            if left.stop != right.start:
                raise right.error("A name has no spaces in it. Columns with other characters stand in braces.")
        return self._join(children, spans)

    def text(self, children: Sequence[Token | Reference]) -> Template:
        first = children[0]
        if isinstance(first, Token) and first.type == "QUOTED":
            return self._quoted(first)
        return self._join(children, [self._span(child) for child in children])

    def _join(self, children: Sequence[Token | Reference], spans: Sequence[Span]) -> Template:
        """Make one template of its parts, with the spaces between them, but not those around them."""
        text = self._source.text
        parts: list[str | Reference] = []
        stop = spans[0].start
        for child, span in zip(children, spans, strict=True):
            piece = text[stop : span.start] + (span.text if isinstance(child, Token) else "")
            if child is children[-1] and isinstance(child, Token):
                piece = piece.rstrip()
            if piece:
                parts.append(piece)
            if isinstance(child, Reference):
                parts.append(child)
            stop = span.stop
        trailing = len(text[spans[0].start : stop]) - len(text[spans[0].start : stop].rstrip())
        return Template(tuple(parts), Span(self._source, spans[0].start, stop - trailing))

    def _quoted(self, token: Token) -> Template:
        span = self._span(token)
        quote, inside = token[0], token[1:-1]
        if _OPENING.search(inside, 0, inside.rfind(">>") + 1):
            raise span.error("A reference in quotes would be mere text. Take the quotes away, or write \\<< for text.")
        text = _QUOTED_ESCAPES[quote].sub(lambda found: found[1] or quote, inside)
        return Template((text,) if text else (), span)

    def _span(self, child: Token | Reference) -> Span:
        if isinstance(child, Reference):
            return child.span
        return Span(self._source, child.start_pos or 0, child.end_pos or 0)


def _unescape(text: str, *, before_reference: bool) -> str:
    def halve(found: re.Match[str]) -> str:
        return found[1][: len(found[1]) // 2] if found[2] else found[1]

    following = "<<" if before_reference else ""
    return _BACKSLASHES.sub(halve, text + following).removesuffix(following)


def _refuse_repetition(templates: Sequence[Template], message: str) -> None:
    seen: set[str] = set()
    for template in templates:
        literal = template.literal
        if literal is not None and literal in seen:
            raise template.error(message.format(repr(literal)))
        seen.update(() if literal is None else (literal,))


def _explain(error: UnexpectedInput, source: Source) -> TableReferenceError:
    """Say what was expected and what stands there instead, with a hint for what people mean."""
    position, expected = len(source.text), set[str]()
    if isinstance(error, UnexpectedCharacters):
        position, expected = error.pos_in_stream, error.allowed  # type: ignore[assignment]  # lark declares it None
    elif isinstance(error, UnexpectedToken):
        expected = error.expected
        is_end = error.token.type == "$END"  # which has the position of the last token
        position = position if is_end else error.token.start_pos or 0
    found = source.text[position : position + 1]
    words = [word for terminal, word in _WORDS.items() if terminal in expected]
    wanted = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    message = f"Expected {wanted}, not {found!r}." if found else f"The reference isn't closed: expected {wanted}."
    return Span(source, position, position + 1).error(message + _hint(found, expected, source.text[:position]))


def _hint(found: str, expected: set[str], before: str) -> str:
    if found in ("'", '"') and "QUOTED" in expected:
        return " The quote isn't closed."
    if found == "[" and expected & {"CONDITION", "_RSQB"}:
        return " A nested reference stands in << and >>; text that holds '[' stands in quotes."
    if found == ":" and expected & {"CONDITION", "_RSQB"}:
        return " A range is written [key::from:to]; a time or other text that holds ':' stands in quotes."
    if before.endswith("<<") or not found:
        return " Where << is meant as text, write \\<<."
    return ""
