"""References from one table into others, through a whole execution: tables, versions, instances, nesting, pins."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TableReferenceError, TVArgumentError, TVBuilderError, TVLockError
from tests.scenes import Calls
from tests.tables import Background, begin, build, column, gates, index, notes, write, write_code

CODE = """
def rows():
    yield from [7, 5, 9]

def show(value):
    return (value,)

def text(value):
    return repr(value)
"""

STORIES = pd.DataFrame(
    {
        "id": [5, 6, 7],
        "lang": ["en", "en", "de"],
        "year": [1990, 2004, 1843],
        "a title": ["The 'Fox'", "The Dove, etc.", "[Der] Rabe"],
        "near": [6, 5, None],
    }
)


@pytest.fixture
def vault(tmp_path: Path) -> TableVault:
    vault = TableVault(tmp_path / "vault", "ada", create=True)
    write(vault, "stories", STORIES)
    write_code(vault, CODE)
    return vault


def seen(vault: TableVault, reference: str, function: str = "show") -> list[object]:
    """Return what a row-wise builder is given for each of the rows, whose stories are 7, 5 and 9."""
    builders = {"index": index("story"), "seen": column("seen", function=function, arguments={"value": reference})}
    frame = build(vault, "seen", builders)
    return [None if value is pd.NA else value for value in frame["seen"].astype(object)]


class TestWhatAReferenceGives:
    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("<<self.index>>", [0, 1, 2]),
            ("<<self.story[index]>>", [7, 5, 9]),
            ("<<stories.year[index]>>", [1990, 2004, 1843]),
            ("<<stories.year[id::<<self.story[index]>>]>>", [1843, 1990, None]),
            ("<<stories.year[id::5]>>", [1990] * 3),
            ("<<stories.year[id::99]>>", [None] * 3),
            ("<<stories.year[lang::en]>>", [[1990, 2004]] * 3),
            ("<<stories.year[lang::en, year::1990:2000]>>", [1990] * 3),
            ("<<stories.year[id::6:8]>>", [[2004, 1843]] * 3),
            ("<<stories.year[index::0:2]>>", [[1990, 2004]] * 3),
            ("<<stories.{a title}[id::7]>>", ["[Der] Rabe"] * 3),
            ("<<stories.id['a title'::'The ''Fox''']>>", [5] * 3),
            ('<<stories.id[a title::"The Dove, etc."]>>', [6] * 3),
            ('<<stories.id[a title::"[Der] Rabe"]>>', [7] * 3),
            ("<<stories.lang[id::<<stories.near[id::<<self.story[index]>>]>>]>>", [None, "en", None]),
            ("<<stories.<<stories.lang[id::5]>>[id::5]>>", "No"),
            ("<<<<self.table>>.year[id::5]>>", "No"),
            ("<<stories.{<<stories.lang[id::nothing]>>}>>", "No"),
        ],
    )
    def test_is_none_a_cell_or_a_list(self, vault: TableVault, reference: str, expected: object) -> None:
        if expected == "No":
            with pytest.raises((TableReferenceError, TVBuilderError), match=r"seen\.yaml:\d+:10: "):
                seen(vault, reference)
        else:
            assert seen(vault, reference) == expected

    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("<<stories>>", STORIES),
            ("<<stories.lang>>", STORIES[["lang"]]),
            ("<<stories.{year, id}>>", STORIES[["year", "id"]]),
            ("<<stories.{year, id}[lang::en]>>", STORIES[["year", "id"]].head(2)),
            ("<<stories[id::7]>>", STORIES.tail(1).reset_index(drop=True)),
        ],
    )
    def test_is_a_frame_of_several_columns(self, vault: TableVault, reference: str, expected: pd.DataFrame) -> None:
        write_code(vault, f"{CODE}\ndef told(value): return value.to_csv()")
        assert seen(vault, reference, "told") == [expected.to_csv()] * 3

    def test_is_put_into_a_longer_string_as_text(self, vault: TableVault) -> None:
        assert seen(vault, "Row <<self.index>>: <<stories.year[id::<<self.story[index]>>]>>.") == [
            "Row 0: 1843.",
            "Row 1: 1990.",
            "Row 2: None.",
        ]

    def test_stands_in_lists_dicts_and_keys_too(self, vault: TableVault) -> None:
        write_code(vault, f"{CODE}\ndef show(**given): return given")
        arguments = {"a": [1, ["<<self.story[index]>>"]], "b": {"<<stories.lang[index]>>": "x<<self.index>>"}}
        builders = {"index": index("story"), "seen": column("seen", function="show", arguments=arguments)}
        assert build(vault, "seen", builders)["seen"].tolist() == [
            {"a": [1, [7]], "b": {"en": "x0"}},
            {"a": [1, [5]], "b": {"en": "x1"}},
            {"a": [1, [9]], "b": {"de": "x2"}},
        ]

    def test_names_of_tables_and_columns_may_come_from_references(self, vault: TableVault) -> None:
        write(vault, "config", pd.DataFrame({"table": ["stories"], "column": ["year"], "version": ["base"]}))
        reference = "<<<<config.table[index::0]>>(<<config.version[index::0]>>).<<config.column[index::0]>>[id::5]>>"
        assert seen(vault, reference) == [1990] * 3

    @pytest.mark.parametrize("hostile", ["__import__('os').system('x')", "'; DROP", "1 or True", "@pd", "`id`", "\\"])
    def test_conditions_are_data(self, vault: TableVault, hostile: str) -> None:
        write(vault, "hostile", pd.DataFrame({"key": [hostile, "other"], "n": [1, 2]}))
        quoted = hostile.replace("\\", "\\\\").replace('"', '\\"')
        assert seen(vault, f'<<hostile.n[key::"{quoted}"]>>') == [1] * 3
        write(vault, "hostile", pd.DataFrame({"key": [hostile, "other"], "n": [1, 2]}))
        assert seen(vault, "<<hostile.n[key::<<hostile.key[index::0]>>]>>") == [1] * 3


class TestInOtherFields:
    """A builder's own fields may come from a table, as long as they don't depend on a row."""

    def test_they_say_what_the_builder_is(self, vault: TableVault) -> None:
        config = pd.DataFrame({"column": ["first", "second"], "dtype": ["Int8", "string"], "threads": [2, 3]})
        write(vault, "config", config)
        write_code(vault, f"{CODE}\ndef two(value): return value, value")
        text = column(
            "x",
            function="two",
            arguments={"value": "<<self.story[index]>>"},
            n_threads="<<config.threads[index::1]>>",
            dtypes={"<<config.column[index::0]>>": "<<config.dtype[index::0]>>", "second": "string"},
        ).replace("changed_columns:\n- x", 'changed_columns: "<<config.column>>"')
        frame = build(vault, "seen", {"index": index("story"), "two": text})
        assert frame["first"].tolist() == [7, 5, 9]
        assert frame["second"].tolist() == ["7", "5", "9"]
        assert [str(frame[name].dtype) for name in ("first", "second")] == ["Int8", "string"]

    def test_a_change_of_the_table_is_no_change_of_a_process_that_runs(self, vault: TableVault) -> None:
        write(vault, "config", pd.DataFrame({"column": ["first"]}))
        write_code(vault, f"{CODE}\ndef fail(value): raise ConnectionError('nobody answers')")
        text = column("x", function="fail", arguments={"value": 1})
        text = text.replace("changed_columns:\n- x", 'changed_columns: "<<config.column>>"')
        begin(vault, "seen", {"index": index("story"), "bad": text})
        with pytest.raises(ConnectionError):
            vault.execute_instance("seen", process_id="p")
        write(vault, "config", pd.DataFrame({"column": ["another"]}))
        write_code(vault, f"{CODE}\ndef fail(value): return value")
        vault.execute_instance("seen", process_id="p", on_change="continue")
        assert list(vault.get_dataframe("seen").columns) == ["story", "first"]

    def test_what_depends_on_a_row_is_refused(self, vault: TableVault) -> None:
        text = column("x", function="show", arguments={"value": 1}, n_threads="<<stories.id[index]>>")
        begin(vault, "seen", {"index": index("story"), "x": text})
        with pytest.raises(TableReferenceError, match="Only arguments may refer to 'self' and to the current row"):
            vault.execute_instance("seen")


class TestVersionsAndInstances:
    def test_a_version_is_its_newest_active_instance(self, vault: TableVault) -> None:
        old = write(vault, "stories", pd.DataFrame({"id": [1]}), "short")
        write(vault, "stories", pd.DataFrame({"id": [2]}), "short")
        assert seen(vault, "<<stories(short).id[index::0]>>") == [2] * 3
        assert seen(vault, f"<<stories({old}).id[index::0]>>") == [1] * 3
        assert seen(vault, "<<stories.id[index::0]>>") == [5] * 3

    def test_what_was_read_is_recorded(self, vault: TableVault) -> None:
        (stories,) = vault.get_table_instances("stories")
        seen(vault, "<<stories.id[index]>>")
        (made,) = vault.get_table_instances("seen")
        assert vault.get_descriptions(made, "seen")["dependencies"] == [["stories", stories]]

    def test_the_tables_own_name_is_its_newest_instance(self, vault: TableVault) -> None:
        write(vault, "seen", pd.DataFrame({"old": ["first"]}))
        assert seen(vault, "<<seen.old[index]>>") == ["first", None, None]

    def test_inputs_are_pinned_when_the_execution_begins(self, vault: TableVault) -> None:
        code = f"""{CODE}
from tablevault_like.vault import TableVault
from tests.tables import GATES

def wait(value):
    GATES["middle"].enter()
    return value
"""
        builders = {
            "index": index("story"),
            "a": column("first", function="wait", arguments={"value": "<<stories.year[index]>>"}),
            "b": column("second", function="show", arguments={"value": "<<stories.year[index]>>"}),
        }
        begin(vault, "seen", builders, code=code)
        with gates("middle") as (middle,):
            running = Background(vault.execute_instance, "seen")
            middle.await_arrival()
            write(vault, "stories", STORIES.assign(year=0))
            middle.open()
            running.result()
        assert vault.get_dataframe("seen")["first"].tolist() == [1990, 2004, 1843]
        assert vault.get_dataframe("seen")["second"].tolist() == [1990, 2004, 1843]
        assert seen(vault, "<<stories.year[index]>>") == [0, 0, 0]

    def test_a_resume_reads_the_inputs_of_the_beginning(self, vault: TableVault) -> None:
        marker = Path(vault.db_dir).parent / "mended"
        write_code(
            vault,
            f"{CODE}\nfrom pathlib import Path\ndef fragile(value):\n"
            f"    if not Path({str(marker)!r}).exists(): raise ConnectionError('nobody answers')\n    return value",
        )
        value = column("value", function="fragile", arguments={"value": "<<stories.year[index]>>"})
        begin(vault, "seen", {"index": index("story"), "value": value})
        with pytest.raises(ConnectionError):
            vault.execute_instance("seen", process_id="p")
        write(vault, "stories", STORIES.assign(year=0))
        marker.touch()
        vault.execute_instance("seen", process_id="p")
        assert vault.get_dataframe("seen")["value"].tolist() == [1990, 2004, 1843]

    def test_a_pinned_input_cannot_be_deleted_meanwhile(self, vault: TableVault) -> None:
        write_code(vault, f"{CODE}\ndef fail(value): raise ConnectionError('nobody answers')")
        value = column("value", function="fail", arguments={"value": "<<stories.year[index]>>"})
        begin(vault, "seen", {"index": index("story"), "value": value})
        with pytest.raises(ConnectionError):
            vault.execute_instance("seen", process_id="p")
        (stories,) = vault.get_table_instances("stories")
        hasty = TableVault(vault.db_dir, "bob", lock_timeout=0)
        with pytest.raises(TVLockError, match="'p'") as caught:
            hasty.delete_instance(stories, "stories")
        assert caught.value.holder == "p"
        vault.stop_process("p")
        hasty.delete_instance(stories, "stories")


class TestMistakes:
    @pytest.mark.parametrize(
        ("reference", "message"),
        [
            ("<<storys.id>>", r"There is no table 'storys'\. Did you mean 'stories'\?"),
            ("<<stories.yaer[index]>>", r"no column 'yaer' in its instance base_\S+\. Did you mean 'year'\?"),
            ("<<stories.year[idd::5]>>", r"no column 'idd' .*Did you mean 'id'\?"),
            ("<<stories(bse).id>>", r"no active materialized instance of version 'bse'\. Did you mean 'base'\?"),
            ("<<stories(TEMP_base).id>>", r"'TEMP_base' is a temporary instance.*Execute it first"),
            (
                "<<stories(base_1_00000000-0000-0000-0000-000000000000).id>>",
                r"Table 'stories' has no instance 'base_1_",
            ),
            ("<<self.storry[index]>>", r"No builder makes the column 'storry'.*Did you mean 'story'\?"),
            ("<<stories.id[index>>", r"Expected .*, not '>'"),
            ("<<stories.id[id::five]>>", r"'five' is not a value of dtype int64"),
        ],
    )
    def test_are_told_with_file_line_and_column(self, vault: TableVault, reference: str, message: str) -> None:
        builders = {"index": index("story"), "seen": column("seen", function="show", arguments={"value": reference})}
        begin(vault, "seen", builders)
        vault.create_table("unborn")
        place = Path(vault.db_dir, "seen", "TEMP_base", "builders", "seen.yaml")
        with pytest.raises((TableReferenceError, TVBuilderError), match=message) as caught:
            vault.execute_instance("seen", process_id="p")
        text = place.read_text().splitlines()
        assert caught.value.location is not None
        assert caught.value.location.path == str(place)
        assert caught.value.location.line is not None
        assert reference in text[caught.value.location.line - 1]
        assert str(caught.value).startswith(f"{place}:{caught.value.location.line}:10: ")

    def test_a_table_without_instances_is_told(self, vault: TableVault) -> None:
        vault.create_table("unborn")
        with pytest.raises(TableReferenceError, match=r"'unborn' has no .*materialized instance.*[Ee]xecute"):
            seen(vault, "<<unborn.id>>")

    def test_what_is_only_known_at_run_time_must_be_declared(self, vault: TableVault) -> None:
        reference = "<<<<self.table[index]>>.id[index::0]>>"
        code = "def rows(): yield 'stories'\ndef show(value): return value"
        builders = {"index": index("table"), "seen": column("seen", function="show", arguments={"value": reference})}
        begin(vault, "seen", builders, code=code)
        with pytest.raises(TableReferenceError, match=r"Declare all that it may read, such as: dependencies: \["):
            vault.execute_instance("seen")
        declared = column("seen", function="show", arguments={"value": reference}, dependencies=["stories"])
        vault.create_builder_file("seen", "seen", text=declared)
        vault.execute_instance("seen")
        assert vault.get_dataframe("seen")["seen"].tolist() == [5]

    def test_text_that_a_column_can_not_hold_is_told_before_anything_runs(
        self, vault: TableVault, calls: Calls
    ) -> None:
        code = "from tests.workers import note_call\ndef rows(): note_call('rows'); yield 1\ndef show(value): pass"
        value = column("value", function="show", arguments={"value": "<<stories.lang[id::abc]>>"})
        begin(vault, "seen", {"index": index("story"), "value": value}, code=code)
        with pytest.raises(TableReferenceError, match=r"value\.yaml:9:10: .*'abc' is not a value of dtype int64"):
            vault.execute_instance("seen")
        assert not calls()

    def test_the_example_of_a_declaration_is_a_table_that_is_there(self, vault: TableVault) -> None:
        reference = "<<<<self.story[index]>>.id[index::0]>>"
        begin(
            vault, "seen", {"index": index("story"), "v": column("v", function="show", arguments={"value": reference})}
        )
        with pytest.raises(TableReferenceError, match=r"such as: dependencies: \['stories'\]"):
            vault.execute_instance("seen")
        vault.rename_table("tales", "stories")
        with pytest.raises(TableReferenceError, match=r"such as: dependencies: \['tales'\]"):
            vault.execute_instance("seen")

    RUN_TIME = "<<<<z.tab[index]>>(<<z.ver[index]>>).lang[index::0]>>"

    @pytest.fixture
    def late(self, vault: TableVault) -> TableVault:
        """Rows of which the last one reads what isn't declared."""
        write(vault, "z", pd.DataFrame({"tab": ["stories", "stories", "papers"], "ver": ["base"] * 3}))
        write(vault, "papers", pd.DataFrame({"lang": ["la"]}))
        value = column("value", function="show", arguments={"value": self.RUN_TIME}, dependencies=["stories"])
        begin(vault, "seen", {"index": index("story"), "value": value})
        return vault

    def test_the_default_version_is_declared_with_its_table(self, late: TableVault) -> None:
        write(
            late,
            "z",
            pd.DataFrame({"tab": ["stories"] * 3, "ver": ["base", "base", late.get_table_instances("stories")[0]]}),
        )
        late.execute_instance("seen")
        assert late.get_dataframe("seen")["value"].tolist() == ["en"] * 3

    def test_what_was_not_declared_is_told_at_run_time_with_builder_place_and_row(self, late: TableVault) -> None:
        with pytest.raises(TableReferenceError) as caught:
            late.execute_instance("seen")
        place = Path(late.db_dir, "seen", "TEMP_base", "builders", "value.yaml")
        assert str(caught.value).startswith(f"{place}:9:10: Which table this reads is known only now, and ")
        assert "dependencies: ['papers']" in str(caught.value)
        assert "\n    <<<<z.tab[index]>>" in str(caught.value)
        assert "This was for row 2 of the builder 'value'." in notes(caught.value)

    def test_what_was_not_declared_pauses_a_run_that_has_rows_and_can_be_mended(self, late: TableVault) -> None:
        with pytest.raises(TableReferenceError):
            late.execute_instance("seen", process_id="p")
        assert late.get_process("p").state == "PAUSED"
        value = column("value", function="show", arguments={"value": self.RUN_TIME}, dependencies=["stories", "papers"])
        late.create_builder_file("seen", "value", text=value)
        late.execute_instance("seen", process_id="p", on_change="continue")
        assert late.get_dataframe("seen")["value"].tolist() == ["en", "en", "la"]

    def test_what_was_declared_must_be_there(self, vault: TableVault) -> None:
        builders = {"index": index("story", dependencies=["storys.id"])}
        begin(vault, "seen", builders)
        with pytest.raises(TableReferenceError, match="Did you mean 'stories'"):
            vault.execute_instance("seen")

    def test_an_inactive_instance_is_had_by_its_id_only(self, vault: TableVault) -> None:
        vault.create_table("effects", has_side_effects=True)
        vault.create_instance("effects", external_edit=True)
        vault.write_instance(pd.DataFrame({"n": [1]}), "effects")
        (first,) = vault.get_table_instances("effects")
        build(vault, "effects", {"index": index("n")})
        with pytest.raises(TVArgumentError):
            vault.get_dataframe("effects", version="other")
        assert seen(vault, "<<effects.n[index::0]>>") == [7] * 3
        assert seen(vault, f"<<effects({first}).n[index::0]>>") == [1] * 3
