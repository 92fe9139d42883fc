import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.errors import TableReferenceError
from tablevault_like.references.grammar import parse
from tablevault_like.references.resolver import Resolver
from tests.references.tables import Tables, column

STORIES = pd.DataFrame(
    {
        "id": pd.array([10, 11, 12, None], dtype="Int64"),
        "text": pd.array(["one", "two", 'it\'s "3", [a]: {b} << >>', None], dtype="string"),
        "lang": pd.array(["en", "de", "en", "de"], dtype="string"),
        "year": pd.array([2001, 1999, 2000, 2001], dtype="Int64"),
        "score": pd.array([0.5, 1.5, None, 2.5], dtype="Float64"),
    }
)
SELF = pd.DataFrame({"story": pd.array([12, 10, 99], dtype="Int64"), "column": ["text", "year", "lang"]})
CONFIG = pd.DataFrame({"name": ["table", "column"], "value": ["stories", "text"]})
TABLES = {
    "stories": STORIES,
    ("stories", "old"): STORIES.iloc[:1],
    "self": SELF,
    "config": CONFIG,
    "index": pd.DataFrame({"index": [2, 1, 0], "a": ["x", "y", "z"]}),
    "single": pd.DataFrame({"only": ["a", "b"]}),
    "empty": pd.DataFrame({"a": pd.array([], dtype="string"), "b": []}),
}


def value(text, index=None, tables=TABLES):
    return Resolver(Tables(tables)).template(parse(text)).get(index, None)


def error(text, index=None, tables=TABLES):
    with pytest.raises(TableReferenceError) as caught:
        value(text, index, tables)
    message, shown, caret = caught.value.message.split("\n")
    return message, shown[caret.index("^") :]


def same(left, right):
    pd.testing.assert_frame_equal(left, right)
    return True


# What comes back


def test_without_conditions_it_is_the_frame_of_the_columns():
    assert same(value("<<stories>>"), STORIES)
    assert same(value("<<stories.text>>"), STORIES[["text"]])
    assert same(value("<<stories.{year,id}>>"), STORIES[["year", "id"]])
    assert same(value("<<stories(old).id>>"), STORIES[["id"]].iloc[:1])
    assert same(value("<<empty>>"), TABLES["empty"])


def test_with_conditions_it_is_none_where_nothing_matches():
    for condition in ["id::7", "index::4", "index::9:12", "year::1900:1950", "id::10,lang::de", "text::''"]:
        assert value(f"<<stories.text[{condition}]>>") is None
        assert value(f"<<stories[{condition}]>>") is None
    assert value("<<empty.a[a::x]>>") is None
    assert value("<<empty[index::0]>>") is None
    assert value("<<t[index]>>", 0, {"t": pd.DataFrame()}) is None


def test_with_conditions_it_is_the_cell_where_one_remains():
    assert value("<<stories.text[id::10]>>") == "one"
    assert value("<<stories.text[index::1]>>") == "two"
    assert value("<<stories.text[year::1999:2000]>>") == "two"
    assert value("<<stories.text[lang::en,year::2000]>>") == value("<<stories.text[index::2]>>")
    assert value("<<single[index::1]>>") == "b"


def test_with_conditions_it_is_a_list_of_one_column():
    assert value("<<stories.year[lang::de]>>") == [1999, 2001]
    assert value("<<stories.id[index::1:9]>>") == [11, 12, None]
    assert value("<<single[index::0:2]>>") == ["a", "b"]


def test_with_conditions_it_is_a_frame_of_several_columns():
    assert same(value("<<stories[id::11]>>"), STORIES.iloc[[1]].reset_index(drop=True))
    assert same(value("<<stories.{text,id}[lang::de]>>"), STORIES[["text", "id"]].iloc[[1, 3]].reset_index(drop=True))
    assert same(value("<<stories[index::1:3]>>"), STORIES.iloc[1:3].reset_index(drop=True))
    assert value("<<stories[id::11]>>").index.equals(pd.RangeIndex(1))


def test_values_are_plain_objects():
    assert [type(value(f"<<stories.{name}[index::0]>>")) for name in STORIES.columns] == [int, str, str, int, float]
    assert [type(cell) for cell in value("<<stories.score[year::1990:2010]>>")] == [float, float, type(None), float]
    assert value("<<stories.text[index::3]>>") is None


def test_inside_a_longer_string_a_value_is_text():
    assert value("id <<stories.id[text::one]>>!") == "id 10!"
    assert value("<<stories.id[text::one]>><<stories.year[text::one]>>") == "102001"
    assert value("<<stories.text[id::7]>> ") == "None "
    assert value("<<stories.year[lang::de]>>,") == "[1999, 2001],"
    assert value("[<<stories.id[text::one]>>]") == "[10]"


# Conditions


def test_the_row_at_the_current_position():
    assert [value("<<self.story[index]>>", index) for index in range(4)] == [12, 10, 99, None]
    assert value("<<stories.text[index,lang::de]>>", 1) == "two"
    assert value("<<stories.text[index,lang::de]>>", 0) is None
    assert value("<<stories.text[index,year::2000:2002]>>", 0) == "one"
    assert value("<<stories.text[index,year::2000:2002]>>", 1) is None


def test_a_key_alone_is_compared_with_the_current_index():
    assert value("<<stories.text[id]>>", 12) == STORIES.text[2]
    assert value("<<stories.text[id]>>", 7) is None
    assert value("<<stories.text[lang]>>", 0) is None


def test_the_index_of_the_current_row():
    assert value("<<self.index>>", 5) == 5
    assert value("<<self.{index}>>", 5) == 5
    assert value("row <<self.index>>", 5) == "row 5"


def test_position_wins_over_a_column_named_index():
    assert value("<<index.a[index::0]>>") == "x"
    assert value("<<index.a[index::1:3]>>") == ["y", "z"]
    assert value("<<index.a[index]>>", 2) == "z"
    assert value("<<self.index>>", 1, {"self": TABLES["index"]}) == 1
    assert same(value("<<index.index>>"), TABLES["index"][["index"]])
    assert value("<<index.index[a::x]>>") == 2


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("index::1,lang::de", "two"),
        ("index::1,lang::en", None),
        ("index::0:2,lang::en", "one"),
        ("year::2000:2002,score::0:2", "one"),
        ("year::2000:2002,index::0:1", "one"),
        ("lang::de,year::0:2000,index::1", "two"),
        ("index::-1", None),
        ("index::1.0", "two"),
        ("index::0.5:1.5", "two"),
        ("index::-inf:0.5", "one"),
        ("index::2:1", None),
        ("year::2000:1999", None),
        ("year::1998.5:1999.5", "two"),
    ],
)
def test_all_conditions_must_be_met(condition, expected):
    assert value(f"<<stories.text[{condition}]>>") == expected


@pytest.mark.parametrize("text", ['it\'s "3", [a]: {b} << >>', "x' or '1'=='1", "@@", "`id`", "a\nb", "\\", "''", " "])
def test_values_with_quotes_and_operators_are_data(text):
    tables = {"t": column(["other", text], "string"), "self": pd.DataFrame({"k": [text]})}
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("<<", "\\<<")
    assert value(f"<<t.row[key::'{escaped}']>>", tables=tables) == 1
    assert value("<<t.row[key::<<self.k[index]>>]>>", 0, tables) == 1


@pytest.mark.parametrize("values", ["df.drop()", "1) or (1==1", "__import__('os').abort()", "@pd", "; drop table"])
def test_conditions_are_never_executed(values):
    assert value(f"<<stories.text[text::'{values.replace(chr(39), chr(39) * 2)}']>>") is None


@pytest.mark.parametrize(
    ("values", "dtype", "literal", "row"),
    [
        ([4, 5], "Int64", "5", 1),
        ([4, 5], "int64", "5", 1),
        (["5.0", "5"], "string", "5", 1),
        ([4.5, 5], "float64", "5", 1),
        ([1, 0.1], "float32", "0.1", 1),
        ([False, True], "boolean", "true", 1),
        ([False, True], "bool", "'true'", 1),
        ([None, "None"], "string", "None", 1),
        (["a", "b"], "category", "b", 1),
        ([3, 5], "category", "5", 1),
        (["2024-01-01", "2024-01-02"], "datetime64[us]", "2024-01-02", 1),
        (["2024-01-01", "2024-01-02T12:30"], "datetime64[ns]", "'2024-01-02 12:30'", 1),
        (["2024-01-01", "2024-01-02T12:30"], "datetime64[us, UTC]", "'2024-01-02 12:30'", 1),
        (["1 day", "2 days"], "timedelta64[us]", "2 days", 1),
        ([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)], "object", "2024-01-02", 1),
        (["5", 5], "object", "5", [0, 1]),
        ([[5], 5, None], "object", "5", 1),
        ([True, True], "boolean", "1", [0, 1]),
    ],
)
def test_literals_are_compared_as_the_type_of_the_column(values, dtype, literal, row):
    assert value(f"<<t.row[key::{literal}]>>", tables={"t": column(values, dtype)}) == row


def test_literals_that_do_not_fit_the_column_are_errors():
    assert error("<<stories.text[id::ten]>>") == (
        "The condition doesn't fit the column 'id': 'ten' is not a value of dtype Int64.",
        "ten]>>",
    )
    message, place = error("<<t.row[key::12:30]>>", tables={"t": column(["2024-01-01"], "datetime64[us]")})
    assert "datetime64[us]" in message
    assert "A time with ':' in it stands in quotes" in message
    assert place == "12:30]>>"
    assert error("<<stories.text[index::first]>>") == (
        "'index' is the position of a row: a number from 0, not 'first'.",
        "first]>>",
    )
    assert "not 'b'" in error("<<stories.text[index::0:b]>>")[0]


def test_ranges_hold_their_start_but_not_their_end():
    assert value("<<stories.year[year::1999:2001]>>") == [1999, 2000]
    assert value("<<stories.id[text::one:two]>>") == 10
    days = {"t": column(["2024-01-03", "2024-01-01", None, "2024-01-02"], "datetime64[us]")}
    assert value("<<t.row[key::2024-01-01:2024-01-03]>>", tables=days) == [1, 3]
    assert value("<<t.row[key::'2024-01-01T00:00:01':2025]>>", tables=days) == [0, 3]
    dates = {"t": column([datetime.date(2024, 1, 2), None, datetime.date(2024, 1, 1)], object)}
    assert value("<<t.row[key::2024-01-01:2024-01-02]>>", tables=dates) == 2
    assert value("<<t.row[key::b:d]>>", tables={"t": column(["d", "c", "b", "a"], "category")}) == [1, 2]


def test_ranges_in_a_column_of_mixed_types_are_errors():
    message, _ = error("<<t.row[key::0:5]>>", tables={"t": column([1, "x"], object)})
    assert "The range doesn't fit the column 'key' (object)" in message


# Nested references


def test_nested_values_are_compared_as_they_are():
    assert value("<<stories.year[id::<<self.story[index]>>]>>", 0) == 2000
    assert value("<<stories.year[id::<<self.story[index]>>]>>", 2) is None
    assert value("<<stories.text[year::<<self.story[index]>>:<<stories.year[index::0]>>]>>", 0) == [
        "two",
        STORIES.text[2],
    ]
    text_and_number = {"t": column(["5", "6"], "string"), "n": column([5], "Int64")}
    assert value("<<t.row[key::<<n.key[index::0]>>]>>", tables=text_and_number) is None
    assert value("<<n.row[key::<<t.key[index::0]>>]>>", tables=text_and_number) is None


def test_nested_values_within_text_are_read_like_text():
    tables = {"t": column(["2024-01-01", "2025-01-01"], "datetime64[us]"), "self": pd.DataFrame({"year": [2025, 1]})}
    assert value("<<t.row[key::<<self.year[index]>>-01-01]>>", 0, tables) == 1
    assert "'1-01-01'" in error("<<t.row[key::<<self.year[index]>>-01-01]>>", 1, tables)[0]


def test_what_is_missing_matches_nothing():
    assert value("<<stories.year[id::<<stories.id[index::3]>>]>>") is None
    assert value("<<stories.year[id::<<stories.id[id::77]>>]>>") is None
    assert value("<<stories.year[year::<<stories.id[index::3]>>:3000]>>") is None
    assert value("<<stories.year[index::<<stories.id[index::3]>>]>>") is None
    assert value("<<stories.year[index::0:<<stories.id[index::3]>>]>>") is None


def test_positions_may_be_nested():
    assert value("<<stories.text[index::<<self.index>>]>>", 1) == "two"
    assert value("<<stories.id[index::0:<<self.index>>]>>", 2) == [10, 11]
    assert value("<<stories.text[index::<<stories.text[index::0]>>]>>") is None
    assert "Positions are numbers" in error("<<stories.text[index::0:<<stories.text[index::0]>>]>>")[0]


def test_all_parts_may_be_nested():
    assert same(value("<< <<config.value[name::table]>> . <<config.value[name::column]>> >>"), STORIES[["text"]])
    assert value("<<stories.<<config.value[name::column]>>[<<config.value[name::column]>>::one]>>") == "one"
    assert same(value("<<stories(<<t.key[index::0]>>).id>>", tables={**TABLES, "t": column(["old"], "str")}),
                STORIES[["id"]].iloc[:1])  # fmt: skip


def test_names_may_differ_from_row_to_row():
    text = "<<stories.<<self.column[index]>>[index::0]>>"
    assert [value(text, index) for index in range(3)] == ["one", 2001, "en"]
    resolved = Resolver(Tables(TABLES)).template(parse(text))
    assert [resolved.get(index, None) for index in (0, 1, 2, 1, 0)] == ["one", 2001, "en", 2001, "one"]
    tables = {**TABLES, "self": pd.DataFrame({"table": ["stories", "single"], "key": ["lang", "only"]})}
    text = "<<<<self.table[index]>>.<<self.key[index]>>[index::1]>>"
    assert [value(text, index, tables) for index in range(2)] == ["de", "b"]
    text = "<<<<self.table[index]>>>>"
    assert same(value(text, 1, tables), TABLES["single"])
    text = "<<stories.id[<<self.key[index]>>::en]>>"
    assert value(text, 0, tables) == [10, 12]
    assert error(text, 1, tables)[0].startswith("The table 'stories' has no column 'only'.")


def test_names_must_be_names():
    assert error("<<stories.<<stories.text[index::3]>>>>") == (
        "A name is needed here, and this gives None.",
        "<<stories.text[index::3]>>>>",
    )
    assert "gives a DataFrame" in error("<<<<config.value>>.text>>")[0]
    assert "gives a list" in error("<<stories.<<stories.year[lang::de]>>>>")[0]
    assert "gives ''" in error("<<stories.{''}>>")[0]
    assert same(value("<<t.<<t.1[index::0]>>>>", tables={"t": pd.DataFrame({"1": [1]})}), pd.DataFrame({"1": [1]}))


def test_conditions_need_one_value():
    message, place = error("<<stories.text[year::<<stories.year[lang::de]>>]>>")
    assert message == "The condition on 'year' needs one value, and this gives a list."
    assert place == "<<stories.year[lang::de]>>]>>"
    assert "gives a DataFrame" in error("<<stories.text[lang::en,year::<<stories>>]>>")[0]
    tables = {**TABLES, "t": column(["5", 5], object)}
    assert "gives a list" in error("<<t.row[key::5,row::<<stories.year[lang::de]>>]>>", tables=tables)[0]


def test_depth_does_not_change_what_comes_back():
    text = "0"
    for _ in range(40):
        text = f"<<t.key[row::{text}]>>"
    assert value(text, tables={"t": column([0, 1], "Int64")}) == 0


# Errors about names


def test_unknown_columns_are_told_with_the_nearest():
    assert error("<<stories.txt>>") == ("The table 'stories' has no column 'txt'. Did you mean 'text'?", "txt>>")
    assert error("<<stories.{id,txt}[index]>>") == (
        "The table 'stories' has no column 'txt'. Did you mean 'text'?",
        "txt}[index]>>",
    )
    assert error("<<stories.text[langg::en]>>")[1] == "langg::en]>>"
    assert "<<self.index>>" in error("<<self.{index,story}>>")[0]


def test_unknown_tables_point_at_their_name():
    assert error("<<storys.text>>") == ("There is no table 'storys'.", "storys.text>>")


# What is fetched


def test_only_columns_that_are_needed_are_fetched_and_none_twice():
    tables = Tables(TABLES)
    resolver = Resolver(tables)
    for text in ["<<stories.text[id::10]>>", "<<stories.text[lang::en,id::10]>>", "<<stories.text[index]>>"]:
        resolver.template(parse(text)).get(0, None)
    assert tables.asked == [("stories", ("text", "id")), ("stories", ("lang",))]


def test_tables_are_seen_as_they_are_when_a_resolver_is_made():
    tables = dict(TABLES)
    assert value("<<stories.text[id::11]>>", tables=tables) == "two"
    tables["stories"] = STORIES.assign(text="new")
    assert value("<<stories.text[id::11]>>", tables=tables) == "new"


# Against a scan


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(0, 3)), max_size=12),
    st.integers(0, 3),
    st.sampled_from("abc"),
    st.tuples(st.integers(-1, 4), st.integers(-1, 4)),
    st.sampled_from(["n", "s", "ns", "r", "nr", "sr", "p", "np", "pr", "nsrp"]),
)
def test_conditions_find_what_a_scan_finds(rows, number, text, bounds, used):
    frame = pd.DataFrame(rows, columns=["n", "s", "r"]).astype({"n": "Int64", "s": "string", "r": "int64"})
    frame["position"] = range(len(rows))
    start, stop = bounds
    conditions = {
        "n": f"n::{number}",
        "s": f"s::{text}",
        "r": f"r::{start}:{stop}",
        "p": f"index::{start}:{stop}",
    }
    expected = [
        position
        for position, (n, s, r) in enumerate(rows)
        if ("n" not in used or n == number)
        and ("s" not in used or s == text)
        and ("r" not in used or start <= r < stop)
        and ("p" not in used or start <= position < stop)
    ]
    found = value(f"<<t.position[{','.join(conditions[part] for part in used)}]>>", tables={"t": frame})
    assert found == ({0: None, 1: expected[0] if expected else None}.get(len(expected), expected))


def test_large_results_are_taken_at_once():
    frame = pd.DataFrame({"k": np.arange(20_000) % 2, "v": np.arange(20_000)})
    assert value("<<t.v[k::1]>>", tables={"t": frame}) == list(range(1, 20_000, 2))
