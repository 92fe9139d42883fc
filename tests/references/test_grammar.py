import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import Location, TableReferenceError
from tablevault_like.references.grammar import MAX_DEPTH, MAX_REFERENCES, parse
from tablevault_like.references.syntax import Between, Condition, Equal, Reference, Source, Span, Template

NOWHERE = Span(Source(""), 0, 0)


def literal(text):
    return Template((text,) if text else (), NOWHERE)


def reference(table, *, version=None, columns=None, conditions=()):
    return Reference(
        literal(table),
        None if version is None else literal(version),
        None if columns is None else tuple(map(literal, columns)),
        tuple(conditions),
        NOWHERE,
    )


def only(text):
    (part,) = parse(text).parts
    return part


def key(text):
    (condition,) = only(text).conditions
    return condition.key


def value(text):
    (condition,) = only(text).conditions
    return condition.value.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<<stories>>", reference("stories")),
        ("<<my-table_2>>", reference("my-table_2")),
        ("<<stories.text>>", reference("stories", columns=["text"])),
        ("<<stories(base).text>>", reference("stories", version="base", columns=["text"])),
        (
            "<<stories(base_1748275064_5782ef5b-4023-4618-a419-cf921c365c64).text>>",
            reference("stories", version="base_1748275064_5782ef5b-4023-4618-a419-cf921c365c64", columns=["text"]),
        ),
        ("<<stories.{text,id}>>", reference("stories", columns=["text", "id"])),
        ("<<stories.{first name, 'a,b', \"c}\", x[0](y):z}>>",
         reference("stories", columns=["first name", "a,b", "c}", "x[0](y):z"])),
        ("<<stories[index]>>", reference("stories", conditions=[Condition(literal("index"), None)])),
        ("<<s.t[id::5]>>", reference("s", columns=["t"], conditions=[Condition(literal("id"), Equal(literal("5")))])),
        ("<<s.t[a key::0:-1.5]>>", reference("s", columns=["t"], conditions=[
            Condition(literal("a key"), Between(literal("0"), literal("-1.5")))])),
        ("<<s.t[a::x y,b]>>", reference("s", columns=["t"], conditions=[
            Condition(literal("a"), Equal(literal("x y"))), Condition(literal("b"), None)])),
    ],
)  # fmt: skip
def test_form_of_a_reference(text, expected):
    assert only(text) == expected


def test_white_space_around_parts_means_nothing():
    spaced = "<<  stories ( base ) . { a b , c }\n [ k\t:: x  y : 'z' , index ]  >>"
    assert parse(spaced) == parse("<<stories(base).{a b,c}[k::x  y:z,index]>>")


def test_text_around_references_is_kept():
    template = parse("  a <<b.c>>  d\n<<e>>\t")
    assert template.parts == ("  a ", reference("b", columns=["c"]), "  d\n", reference("e"), "\t")


def test_text_without_references_is_itself():
    for text in ["", " ", "a > b >> c", "C:\\dir\\", "\\\\", "'{[(", "~ROW_KEY~", "<a>", "é\n\x00"]:
        assert parse(text).literal == text
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'it''s'", "it's"),
        ("'it\\'s'", "it's"),
        ('"say ""x"""', 'say "x"'),
        ("'\"\"'", '""'),
        ("''", ""),
        ("' padded '", " padded "),
        ("'a, b: [c] {d} (e) ]'", "a, b: [c] {d} (e) ]"),
        ("'12:30'", "12:30"),
        ("'C:\\new\\\\x'", "C:\\new\\x"),
        ("'a << b'", "a << b"),
        ("'a >> b'", "a >> b"),
        ("'\\<<a.b>>'", "<<a.b>>"),
        ("x == 1 or 1 == 1", "x == 1 or 1 == 1"),
        ("it's", "it's"),
        ("__import__('os')", "__import__('os')"),
        ("a < b > c", "a < b > c"),
        ("{a}", "{a}"),
        ("~PROCESS_ID~", "~PROCESS_ID~"),
    ],
)
def test_values_in_conditions_are_text(text, expected):
    assert value(f"<<t.c[k::{text}]>>") == literal(expected)
    assert key(f"<<t.c[{text}]>>") == literal(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\<<a>>", ("<<a>>",)),
        (r"\\<<a>>", ("\\", reference("a"))),
        (r"\\\<<a>>", ("\\<<a>>",)),
        (r"C:\dir\\<<a>>\\", ("C:\\dir\\", reference("a"), "\\\\")),
        (r"\<<<<a>>", ("<<", reference("a"))),
        ("<<<a>>>", ("<", reference("a"), ">")),
        (r"\\<<<a>>", ("\\<", reference("a"))),
        (r"cat \<<EOF > <<a>>", ("cat <<EOF > ", reference("a"))),
    ],
)
def test_escapes_outside_of_references(text, expected):
    assert parse(text).parts == expected


def test_any_part_may_be_nested():
    inner = reference("config", columns=["x"])
    text = "<<" + "<<config.x>>(<<config.x>>).{<<config.x>>, a}[<<config.x>>::<<config.x>>:<<config.x>>]" + ">>"
    nested = Template((inner,), NOWHERE)
    condition = Condition(nested, Between(nested, nested))
    assert only(text) == Reference(nested, nested, (nested, literal("a")), (condition,), NOWHERE)


def test_nested_references_mix_with_text():
    a = reference("a")
    assert only("<<t_<<a>>.c<<a>>_<<a>>>>").table.parts == ("t_", a)
    assert only("<<t.c<<a>>_<<a>>>>").columns[0].parts == ("c", a, "_", a)
    assert value("<<t.c[k::  x <<a>>  <<a>> y ]>>").parts == ("x ", a, "  ", a, " y")
    assert value("<<t.c[k:: <<a>> ]>>").parts == (a,)
    assert only("<<t(v<<a>>)>>").version.parts == ("v", a)


def test_parts_know_their_text():
    outer = only("<<t(base).{ 'x y' }[k :: <<a . b>> c ]>>")
    assert outer.text == "<<t(base).{ 'x y' }[k :: <<a . b>> c ]>>"
    assert [template.text for template in outer.templates] == ["t", "base", "'x y'", "k", "<<a . b>> c"]
    assert outer.conditions[0].value.value.references[0].text == "<<a . b>>"


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("<<>>", 2, "Expected a name or '<<'"),
        ("1 << 3", 6, "write \\<<"),
        ("<<a", 3, "The reference isn't closed"),
        ("<<a.b[k", 7, "The reference isn't closed"),
        ("<<a!>>", 3, "not '!'"),
        ("<<.b>>", 2, "not '.'"),
        ("<<a.>>", 4, "Expected a name"),
        ("<<a.b c>>", 6, "no spaces"),
        ("<<a b>>", 4, "no spaces"),
        ("<<a.{}>>", 5, "a column"),
        ("<<a.{b,}>>", 7, "a column"),
        ("<<a.{b,b}>>", 7, "named twice"),
        ("<<a()>>", 4, "a version"),
        ("<<a.b(c)>>", 5, "not '('"),
        ("<<self(base).b>>", 7, "takes no version"),
        ("<<a.b[]>>", 6, "text"),
        ("<<a.b[k::]>>", 9, "text"),
        ("<<a.b[k:v]>>", 7, "[key::from:to]"),
        ("<<a.b[k::12:30:00]>>", 14, "a time or other text that holds ':' stands in quotes"),
        ("<<a.b[k::'x]>>", 9, "The quote isn't closed"),
        ("<<a.b[k::'x'y]>>", 12, "not 'y'"),
        ("<<a.b[k::self.x[index]]>>", 15, "A nested reference stands in << and >>"),
        ("<<a.b[k::'<<self.x[index]>>']>>", 9, "A reference in quotes"),
        ("<<a.b[k,k]>>", 8, "two conditions on 'k'"),
        ("<<a.b[k::x>>", 10, "']'"),
        ("<<a.b]>>", 5, "'>>'"),
        ("<<a.<<b.c>>", 11, "isn't closed"),
        ("ok <<a>> <<b", 12, "isn't closed"),
    ],
)
def test_malformed_references_point_at_the_character(text, position, message):
    with pytest.raises(TableReferenceError) as caught:
        parse(text)
    told, shown, caret = caught.value.message.split("\n")
    assert message in told
    assert shown.strip() == text
    assert caret.index("^") - shown.index(text) == position


def test_errors_name_the_place_in_the_file():
    location = Location("builder.yaml", 7, 12)
    with pytest.raises(TableReferenceError, match=r"^builder\.yaml:7:12: Expected a name") as caught:
        parse("<<a.>>", location=location)
    assert caught.value.location is location


def test_errors_in_long_text_show_the_line_around_the_character():
    with pytest.raises(TableReferenceError) as caught:
        parse("first\n" + "x" * 500 + "\t<<a.>>" + "y" * 500 + "\nlast")
    _, shown, caret = caught.value.message.split("\n")
    assert len(shown) < 120
    assert shown[caret.index("^")] == ">"
    assert shown.count("...") == 2


def test_depth_is_bounded():
    def nested(depth):
        return "<<t.c[k::" * (depth - 1) + "<<t>>" + "]>>" * (depth - 1)

    assert str(parse(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(TableReferenceError, match=f"nested more than {MAX_DEPTH} deep"):
        parse(nested(MAX_DEPTH + 1))


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "<<" * (MEGABYTE // 2),
        "<" * (MEGABYTE + 1),
        "<<a.b[k::" * (MEGABYTE // 9),
        "<<a.b>>" * (MAX_REFERENCES + 1),
        "<<a.{" * (MEGABYTE // 5),
        "<<a.b[" + "x" * MEGABYTE,
        "<<a.b[k::'" + "''" * (MEGABYTE // 2),
        "<<a.b[k::'" + "\\" * MEGABYTE,
        "<<a.b[k::'" + "<<" * (MEGABYTE // 2) + ">>']>>",
        "<<a.b[k::" + "'" * MEGABYTE,
        "<<" + "\n" * MEGABYTE,
        "a<" * (MEGABYTE // 2) + "<",
        "\\" * MEGABYTE + "<<",
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_is_refused_in_bounded_time(text):
    parse("<<warm.up>>")
    started = time.process_time()
    with pytest.raises(TableReferenceError):
        parse(text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "\\" * MEGABYTE + "<<a>>",
        "\\<<" * (MEGABYTE // 3),
        "a < b " * (MEGABYTE // 6) + "<<a>>",
        "<<a.b[k::'" + "\\<<" * (MEGABYTE // 3) + "']>>",
        "<<a.b[k::'" + "<<" * (MEGABYTE // 2) + "']>>",
        "<<a.b[k::'" + ">>" * (MEGABYTE // 2) + "']>>",
        "<<a.b[k::x" + " " * MEGABYTE + "]>>",
        "<<a.b[<<c>>" + " " * MEGABYTE + "]>>",
        "x" * MEGABYTE + "<<a>>",
    ],
    ids=lambda text: text[:12],
)
def test_long_text_is_read_in_bounded_time(text):
    parse("<<warm.up>>")
    started = time.process_time()
    assert str(parse(text)) == text
    assert time.process_time() - started < 5


# Generated syntax, written in one of the ways that it may be written

NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
ANY_TEXT = st.text(st.sampled_from("ab 5é,:[](){}<>'\"\\~\n."), max_size=12)


def bare(forbidden):
    def is_bare(text):
        return (
            text.strip() == text != ""
            and text[0] not in "'\""
            and "<<" not in text
            and ">>" not in text
            and not set(text) & set(forbidden)
        )

    return ANY_TEXT.filter(is_bare)


@st.composite
def quoted(draw):
    text = draw(ANY_TEXT)
    quote = draw(st.sampled_from("'\""))
    other = draw(st.sampled_from([quote, "\\"]))

    def escape(found):
        return (other if found[0] == quote else "\\") + found[0]

    return literal(text), quote + re.sub(rf"\\|<<|{quote}", escape, text) + quote


def literals(forbidden):
    return st.one_of(quoted(), bare(forbidden).map(lambda text: (literal(text), text)))


def with_reference(names, references):
    """Text, a reference and text, as a template that may stand where a bare text may."""

    def join(parts):
        before, (inner, written), after = parts
        template = Template(tuple(part for part in (before, inner, after) if part), NOWHERE)
        return template, before + written + after

    plain = st.one_of(st.just(""), names.filter(lambda text: text[-1] != "<"))
    return st.tuples(plain, references, plain).map(join)


@st.composite
def references(draw, inner):
    def part(plain, bare_text):
        options = plain if inner is None else st.one_of(plain, with_reference(bare_text, inner))
        return draw(options)

    def name():
        return part(NAMES.map(lambda text: (literal(text), text)), NAMES)

    space = draw(st.sampled_from(["", " ", "\n "]))
    table, written = name()
    version = columns = None
    if draw(st.booleans()) and table.literal != "self":
        version, text = part(literals("()"), bare("()"))
        written += space + "(" + space + text + space + ")"
    if draw(st.booleans()):
        if draw(st.booleans()):
            columns, text = name()
            written, columns = f"{written}{space}.{space}{text}", (columns,)
        else:
            pairs = [part(literals(",{}"), bare(",{}")) for _ in range(draw(st.integers(1, 3)))]
            pairs = list({pair[0]: pair for pair in pairs}.values())
            columns = tuple(template for template, _ in pairs)
            written += f".{{{space}" + f"{space},".join(text for _, text in pairs) + space + "}"
    conditions: list[Condition] = []
    texts: list[str] = []
    for _ in range(draw(st.integers(0, 2))):
        condition_key, text = part(literals(",:[]"), bare(",:[]"))
        if condition_key in [condition.key for condition in conditions]:
            continue
        values = [part(literals(",:[]"), bare(",:[]")) for _ in range(draw(st.integers(0, 2)))]
        test: Equal | Between | None = None
        if len(values) == 1:
            test = Equal(values[0][0])
        elif values:
            test = Between(values[0][0], values[1][0])
        conditions.append(Condition(condition_key, test))
        texts.append(text + (f"{space}::{space}" if values else "") + f"{space}:".join(text for _, text in values))
    if conditions:
        written += f"{space}[{space}" + f"{space},".join(texts) + space + "]"
    return Reference(table, version, columns, tuple(conditions), NOWHERE), f"<<{space}{written}{space}>>"


REFERENCES = st.recursive(references(None), references, max_leaves=4)


@st.composite
def templates(draw):
    parts: list[str | Reference] = []
    written = ""
    for _ in range(draw(st.integers(0, 3))):
        text = draw(ANY_TEXT)
        inner, inner_text = draw(REFERENCES)
        escaped = re.sub(r"(\\*)(<<)", r"\1\1\\\2", text)
        escaped = re.sub(r"(?<!\\)(\\*)(<?)\Z", r"\1\1\2", escaped)
        parts += [part for part in (text, inner) if part]
        written += escaped + inner_text
    return Template(tuple(parts), NOWHERE), written


@given(templates())
def test_what_is_written_is_read(pair):
    expected, written = pair
    template = parse(written)
    assert template == expected
    assert str(template) == written


@given(st.text(st.sampled_from("ab<>.[](){}:,'\"\\ self index"), max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text):
    try:
        template = parse(text)
    except TableReferenceError as error:
        message = error.message
    else:
        message = "^"
        assert str(template) == text
        assert all(part.text in text for part in template.references)
    assert "^" in message
