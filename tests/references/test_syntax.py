import pickle

import pytest

from tablevault_like.references.grammar import parse
from tablevault_like.references.syntax import dependencies, walk


def only(text):
    return parse(text).sole_reference


@pytest.mark.parametrize(
    ("text", "varies"),
    [
        ("<<self.index>>", True),
        ("<<self.{index}>>", True),
        ("<<self.text>>", False),
        ("<<stories.index>>", False),
        ("<<self.{index,text}>>", False),
        ("<<stories.text[index]>>", True),
        ("<<stories.text[id]>>", True),
        ("<<stories.text[index::3]>>", False),
        ("<<stories.text[id::5]>>", False),
        ("<<stories.text[id::<<self.index>>]>>", True),
        ("<<stories.text[id::0:<<self.index>>]>>", True),
        ("<<stories.text[id::<<config.id>>]>>", False),
        ("<<<<config.table[index]>>.text>>", True),
        ("<<stories(<<config.version[index]>>).text>>", True),
        ("<<stories.<<config.column[index]>>>>", True),
        ("<<stories[<<config.column[index]>>::3]>>", True),
    ],
)
def test_what_varies_from_row_to_row(text, varies):
    assert parse(text).varies is varies
    assert only(text).varies is varies


def test_walk_yields_outer_references_first():
    text = "<<a.<<b.c>>[k::<<d.e[f::<<g>>]>>]>>"
    assert [reference.text for reference in walk(only(text))] == [text, "<<b.c>>", "<<d.e[f::<<g>>]>>", "<<g>>"]


def test_references_are_equal_where_they_say_the_same():
    assert only("<<a.b[k::'x']>>") == only("<< a . {b}[ k::x ] >>")
    assert hash(only("<<a.b[k::'x']>>")) == hash(only("<<a.b[k::x]>>"))
    assert only("<<a.b[k::x]>>") != only("<<a.b[k::y]>>")


def test_references_survive_pickling():
    template = parse("say <<a.b[k::<<c>>]>>")
    again = pickle.loads(pickle.dumps(template))
    assert again == template
    assert again.text == template.text


@pytest.mark.parametrize(
    ("text", "table", "version", "columns"),
    [
        ("<<stories>>", "stories", None, None),
        ("<<stories.text>>", "stories", None, ("text",)),
        ("<<stories(base).{text,id}[lang::en,id::0:5,text::x]>>", "stories", "base", ("text", "id", "lang")),
        ("<<stories.text[index]>>", "stories", None, ("text",)),
        ("<<stories[id::5]>>", "stories", None, None),
        ("<<self.index>>", "self", None, ()),
        ("<<self.text[index::0:3]>>", "self", None, ("text",)),
    ],
)
def test_dependencies_of_a_reference(text, table, version, columns):
    (found,) = dependencies([only(text)])
    assert (found.table, found.version, found.columns) == (table, version, columns)
    assert found.reference.text == text


def test_dependencies_tell_what_nested_references_leave_open():
    text = "<<<<a.b>>(v).c>> <<d(<<e>>).f>> <<g.<<h.i>>[j]>> <<g.k[<<l.m>>::3]>>"
    found = {
        item.reference.text: (item.table, item.version, item.columns) for item in dependencies(parse(text).references)
    }
    assert found == {
        "<<<<a.b>>(v).c>>": (None, None, ("c",)),
        "<<a.b>>": ("a", None, ("b",)),
        "<<d(<<e>>).f>>": (None, None, ("f",)),
        "<<e>>": ("e", None, None),
        "<<g.<<h.i>>[j]>>": ("g", None, None),
        "<<h.i>>": ("h", None, ("i",)),
        "<<g.k[<<l.m>>::3]>>": ("g", None, None),
        "<<l.m>>": ("l", None, ("m",)),
    }


def test_dependencies_name_each_reference_once():
    references = parse("<<a.b>> <<a.b>> <<c.d[k::<<a.b>>]>>").references
    assert [item.reference.text for item in dependencies(references)] == ["<<a.b>>", "<<c.d[k::<<a.b>>]>>"]
