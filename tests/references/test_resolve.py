import pandas as pd
import pytest

from tablevault_like.errors import Location, TableReferenceError
from tablevault_like.references.grammar import parse
from tablevault_like.references.resolve import resolve
from tests.references.tables import Tables

TABLES = Tables({"config": pd.DataFrame({"name": ["f", "c"], "value": ["clean", "text"], "tags": [["a"], ["b"]]})})


def test_strings_and_templates_are_resolved():
    assert resolve("<<config.value[name::f]>>", TABLES) == "clean"
    assert resolve(parse("<<config.value[name::f]>>_2"), TABLES) == "clean_2"
    assert resolve(parse("plain"), TABLES) == "plain"
    assert resolve(r"\<<config>>", TABLES) == "<<config>>"


def test_tables_named_by_references_are_resolved_by_their_parts():
    reference = parse("<<<<config.value[name::f]>>(v).c>>").sole_reference
    assert reference is not None
    assert reference.version is not None
    assert resolve(reference.table, TABLES) == "clean"
    assert resolve(reference.version, TABLES) == "v"


def test_trees_are_resolved_everywhere():
    tree = {
        "<<config.value[name::c]>>": ["<<config.value[name::f]>>", 1, None, ("x", {"k": "<<config.name[name::c]>>"})]
    }
    assert resolve(tree, TABLES) == {"text": ["clean", 1, None, ("x", {"k": "c"})]}


def test_what_is_resolved_may_be_changed():
    resolve("<<config.tags[name::f]>>", TABLES).append("changed")
    assert resolve("<<config.tags[name::f]>>", TABLES) == ["a"]


def test_keywords_are_text():
    assert resolve("~PROCESS_ID~ <<config.value[name::f]>>", TABLES) == "~PROCESS_ID~ clean"


@pytest.mark.parametrize(
    "text", ["<<self.index>>", "<<config.value[index]>>", "<<config.value[name::<<self.index>>]>>"]
)
def test_a_current_row_is_missing(text):
    with pytest.raises(TableReferenceError, match=r"^b\.yaml:3:4: There is no current row here"):
        resolve({"a": [text]}, TABLES, locate=lambda path: Location("b.yaml", 3, 4) if path == ("a", 0) else None)


def test_keys_that_collide_or_cannot_be_keys_are_errors():
    with pytest.raises(TableReferenceError, match="The key 'clean' occurs twice"):
        resolve({"clean": 1, "<<config.value[name::f]>>": 2}, TABLES)
    with pytest.raises(TableReferenceError, match="A list can't be a key"):
        resolve({"<<config.value[index::0:2]>>": 2}, TABLES)
