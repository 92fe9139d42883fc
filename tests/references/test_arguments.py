import threading

import numpy as np
import pandas as pd
import pytest

from tablevault_like.errors import Location, TableReferenceError
from tablevault_like.references.arguments import Arguments
from tablevault_like.references.keywords import Batch, Keyword
from tests.references.tables import Tables

SELF = pd.DataFrame(
    {
        "id": pd.array([2, 1, 0], dtype="Int64"),
        "text": pd.array(["a", "b", "~PROCESS_ID~ <<self>>"], dtype="string"),
        "tags": [["x"], {"y": 1}, None],
    }
)
STORIES = pd.DataFrame({"id": [0, 1, 2, 3], "title": ["zero", "one", "two", "three"], "tags": [[0], [1], [2], [3]]})
KEYWORDS = {Keyword.ARTIFACT_FOLDER: "/artifacts", Keyword.PROCESS_ID: "p1", Keyword.RESUME_FROM: 7}


def bind(tree, tables=None):
    return Arguments.compile(tree).bind(tables or Tables({"self": SELF, "stories": STORIES}), KEYWORDS)


def test_rows_get_their_arguments_and_inputs():
    bound = bind({"text": "<<self.text[index]>>", "title": "<<stories.title[id::<<self.id[index]>>]>>", "n": 5})
    assert bound.row(0) == ({"text": "a", "title": "two", "n": 5}, ("a", "two"))
    assert bound.row(1) == ({"text": "b", "title": "one", "n": 5}, ("b", "one"))
    assert bound.constant_inputs == ()


def test_arguments_keep_their_order():
    tree = {"z": 1, "a": "<<self.text[index]>>", "m": [1], "b": "~ROW_KEY~"}
    assert list(bind(tree).row(0, "k")[0]) == ["z", "a", "m", "b"]


def test_constant_references_are_inputs_of_the_builder():
    bound = bind({"a": "<<stories.title[id::3]>>", "b": ["x <<stories.id[title::one]>>"], "c": "<<self.index>>"})
    assert bound.constant_inputs == ("three", 1)
    assert bound.row(4) == ({"a": "three", "b": ["x 1"], "c": 4}, (4,))


def test_functions_that_are_called_once_have_no_row():
    bound = bind({"table": "<<stories.title>>", "n": 1})
    arguments, inputs = bound.row(None)
    assert inputs == ()
    assert arguments["n"] == 1
    pd.testing.assert_frame_equal(arguments["table"], STORIES[["title"]])
    pd.testing.assert_frame_equal(bound.constant_inputs[0], STORIES[["title"]])


def test_equal_references_are_one_input():
    bound = bind({"a": "<<self.text[index]>>", "b": "<< self.text[ index ] >> <<self.index>>"})
    assert bound.row(1) == ({"a": "b", "b": "b 1"}, ("b", 1))


def test_references_stand_anywhere_in_the_tree():
    tree = {
        "list": ["<<self.text[index]>>", {"deep": ["id <<self.id[index]>>", 1]}],
        "tuple": ("<<self.text[index]>>",),
        "keys": {"<<self.text[index]>>": "<<self.id[index]>>", "<<stories.title[id::0]>>": 0, 5: None},
        "escaped": r"1 \<< 3",
    }
    assert bind(tree).row(1)[0] == {
        "list": ["b", {"deep": ["id 1", 1]}],
        "tuple": ("b",),
        "keys": {"b": 1, "zero": 0, 5: None},
        "escaped": "1 << 3",
    }


def test_names_of_arguments_may_be_references():
    arguments = Arguments.compile({"<<stories.title[id::0]>>": "<<self.text[index]>>"})
    assert arguments.names is None
    bound = arguments.bind(Tables({"self": SELF, "stories": STORIES}), {})
    assert bound.row(0) == ({"zero": "a"}, ("a",))
    assert bind({"<<self.text[index]>>": 1}).row(0) == ({"a": 1}, ("a",))
    assert Arguments.compile({"a": 1, "b": "<<x>>"}).names == ("a", "b")


def test_keys_that_collide_in_a_row_are_an_error():
    bound = bind({"d": {"<<self.text[index]>>": 1, "b": 2}})
    assert bound.row(0)[0] == {"d": {"a": 1, "b": 2}}
    with pytest.raises(TableReferenceError, match="The key 'b' occurs twice"):
        bound.row(1)


def test_keywords_are_replaced_anywhere():
    tree = {
        "folder": "~ARTIFACT_FOLDER~/<<self.id[index]>>.txt",
        "resume": "~RESUME_FROM~",
        "resume_text": "from ~RESUME_FROM~",
        "deep": [{"~PROCESS_ID~": ("~PROCESS_ID~~ROW_KEY~",)}],
        "key": "~ROW_KEY~",
        "condition": "<<stories.title[id::~RESUME_FROM~]>>",
        "no keyword": "~OTHER~ ~row_key~",
    }
    assert bind(tree).row(0, "p1:b:0")[0] == {
        "folder": "/artifacts/2.txt",
        "resume": 7,
        "resume_text": "from 7",
        "deep": [{"p1": ("p1p1:b:0",)}],
        "key": "p1:b:0",
        "condition": None,
        "no keyword": "~OTHER~ ~row_key~",
    }


def test_keywords_in_what_references_gave_are_not_replaced():
    assert bind({"a": "<<self.text[index]>>", "b": "<<self.text[index]>>!"}).row(2)[0] == {
        "a": "~PROCESS_ID~ <<self>>",
        "b": "~PROCESS_ID~ <<self>>!",
    }


def test_row_key_is_no_input_and_does_not_make_arguments_vary():
    arguments = Arguments.compile({"key": "~ROW_KEY~"})
    assert not arguments.varies
    assert arguments.keywords == {Keyword.ROW_KEY}
    assert arguments.bind(Tables({}), {}).row(0, "k") == ({"key": "k"}, ())


def test_a_row_key_in_a_condition_is_looked_up():
    tables = Tables({"t": pd.DataFrame({"key": ["k0", "k1"], "v": [0, 1]})})
    bound = bind({"v": "<<t.v[key::~ROW_KEY~]>>"}, tables)
    assert [bound.row(0, key) for key in ("k0", "k1", "k2")] == [
        ({"v": 0}, (0,)),
        ({"v": 1}, (1,)),
        ({"v": None}, (None,)),
    ]


def test_what_the_arguments_tell_before_they_are_bound():
    arguments = Arguments.compile({"a": "<<t.c[k::<<self.x[index]>>]>>", "b": 1})
    assert [reference.text for reference in arguments.references] == [
        "<<t.c[k::<<self.x[index]>>]>>",
        "<<self.x[index]>>",
    ]
    assert arguments.varies
    assert arguments.keywords == frozenset()
    assert not Arguments.compile({"a": "<<t.c[k::<<self.x>>]>>", "b": 1}).varies
    keywords = Arguments.compile({"a": ["<<t.c[k::~PROCESS_ID~]>>"], "~ROW_KEY~": 1}).keywords
    assert keywords == {Keyword.PROCESS_ID, Keyword.ROW_KEY}


def test_what_is_missing_is_told():
    with pytest.raises(TableReferenceError, match="~RESUME_FROM~ has no value here"):
        Arguments.compile({"a": "~RESUME_FROM~"}).bind(Tables({}), {})
    with pytest.raises(TableReferenceError, match="There is no current row here"):
        bind({"a": "<<self.text[index]>>"}).row(None)
    with pytest.raises(TableReferenceError, match="~ROW_KEY~ has a value only where rows are made one by one"):
        bind({"a": "x ~ROW_KEY~"}).row(0)


def test_errors_name_the_place_of_the_string():
    places = {("a", "b", 1): Location("b.yaml", 4, 9)}
    with pytest.raises(TableReferenceError, match=r"^b\.yaml:4:9: Expected"):
        Arguments.compile({"a": {"b": ["x", "<<a.>>"]}}, locate=places.get)
    arguments = Arguments.compile({"a": {"b": ["x", "<<self.txt[index]>>"]}}, locate=places.get)
    with pytest.raises(TableReferenceError, match=r"(?s)^b\.yaml:4:9: The table 'self' has no column 'txt'.*\^$"):
        arguments.bind(Tables({"self": SELF}), {})


def test_one_call_cannot_change_what_the_next_one_sees():
    tree = {
        "constant": [1, {"a": [2]}],
        "tags": "<<self.tags[index]>>",
        "looked_up": "<<stories.tags[id::1]>>",
        "several": "<<stories.tags[index::0:2]>>",
        "frame": "<<stories.{id,title}>>",
        "row": "<<stories.{id,title}[index]>>",
        "deep": {"frames": ["<<stories.id>>"], "tags": "<<self.tags[index]>>"},
    }
    bound = bind(tree)

    def spoil():
        arguments, _ = bound.row(0)
        before = repr(arguments)
        arguments["constant"][1]["a"].append("changed")
        arguments["tags"].append("changed")
        arguments["looked_up"].append("changed")
        arguments["several"][0].append("changed")
        arguments["frame"].loc[0, "title"] = "changed"
        arguments["row"].loc[0, "title"] = "changed"
        arguments["deep"]["frames"][0].loc[0, "id"] = 99
        arguments["deep"]["tags"].append("changed")
        arguments["new"] = 1
        return before

    assert "changed" not in spoil()
    assert spoil() == spoil()
    assert bound.row(0)[1][0] == ["x"]
    assert SELF.tags[0] == ["x"]
    assert STORIES.title[0] == "zero"


def test_the_tree_may_change_after_compiling():
    tree = {"a": [1, 2]}
    arguments = Arguments.compile(tree)
    tree["a"].append(3)
    assert arguments.bind(Tables({}), {}).row(None)[0] == {"a": [1, 2]}


def test_tables_are_seen_as_they_are_when_bound():
    arguments = Arguments.compile({"a": "<<self.text[index]>>"})
    assert arguments.bind(Tables({"self": SELF}), {}).row(0)[1] == ("a",)
    assert arguments.bind(Tables({"self": SELF.assign(text="new")}), {}).row(0)[1] == ("new",)


def test_only_columns_that_are_needed_are_fetched():
    tables = Tables({"self": SELF, "stories": STORIES})
    bind({"a": "<<stories.title[id::<<self.id[index]>>]>>", "b": "<<self.index>>", "c": "<<self.id[index]>>"}, tables)
    assert sorted(tables.asked) == [("self", ("id",)), ("stories", ("title", "id"))]


def test_constants_are_resolved_once():
    tables = Tables({"self": SELF, "stories": STORIES})
    bound = bind({"a": "<<stories.title>>", "b": "<<self.text[index]>>"}, tables)
    asked = list(tables.asked)
    for index in range(3):
        bound.row(index)
    assert tables.asked == asked


def test_threads_make_rows_at_once():
    size = 20_000
    numbers = np.arange(size)
    texts = pd.array(list(map(str, range(size))), dtype="string")
    frame = pd.DataFrame({"id": numbers[::-1], "after": numbers[::-1] + 1, "text": texts})
    tables = Tables({"self": frame, "t": frame})
    tree = {
        "text": "<<self.text[index]>>",
        "found": "<<t.text[id::<<self.index>>]>>",
        "id": "<<self.id[index]>>",
        "range": ["<<t.text[id::<<self.id[index]>>:<<self.after[index]>>]>>"],
    }
    bound = bind(tree, tables)
    wrong = []
    start = threading.Barrier(4)

    def work(first):
        start.wait()
        for index in range(first, size, 4):
            arguments, _ = bound.row(index)
            identity = size - 1 - index
            if arguments != {"text": str(index), "found": str(identity), "id": identity, "range": [str(index)]}:
                wrong.append((index, arguments))

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_batch_knows_which_one_it_is():
    tree = {
        "start": "~BATCH_START~",
        "text": "~BATCH_SIZE~ rows, batch ~BATCH_INDEX~ of ~PROCESS_ID~",
        "titles": "<<stories.title[index::~BATCH_START~:100]>>",
        "all": "<<stories.{id}>>",
    }
    bound = bind(tree)
    arguments, inputs = bound.row(None, Batch(2, 1, 4))
    assert arguments.pop("all")["id"].tolist() == [0, 1, 2, 3]
    assert arguments == {"start": 2, "text": "1 rows, batch 4 of p1", "titles": ["two", "three"]}
    assert inputs == (["two", "three"],)
    assert bound.row(None, Batch(3, 1, 5))[0]["titles"] == "three"


def test_the_rows_of_a_batch_are_a_range():
    assert [*Batch(4, 3, 1).rows] == [4, 5, 6]


def test_what_differs_from_row_to_row_is_known_by_name():
    tree = {
        "text": "<<self.text[index]>>",
        "deep": [{"a": "<<stories.title[id::<<self.id[index]>>]>>"}],
        "key": "x ~ROW_KEY~",
        "keyed": "<<stories.title[id::~ROW_KEY~]>>",
        "title": "<<stories.title[id::3]>>",
        "process": "~PROCESS_ID~",
        "n": 5,
    }
    assert Arguments.compile(tree).varying == ("text", "deep", "key", "keyed")
    assert Arguments.compile({"<<self.text[index]>>": 1}).varying == ()
