"""From one vault into another: what is imported is what was exported, and isn't made again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVLockError
from tests import states
from tests.bundles.pages import AGAIN, BUILDERS, CODE, PAGES, SHOUTS, called, prepare, texts, with_code
from tests.scenes import Calls
from tests.tables import begin, build, column, index, write
from tests.workers import Trouble


def fail_at(monkeypatch: pytest.MonkeyPatch, *points: str) -> None:
    def fail(point: str) -> None:
        if point in points:
            raise Trouble("nobody answers")

    monkeypatch.setattr("tests.workers.pass_point", fail)


def paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str = "page dog") -> TableVault:
    """Return a vault in which the execution ``p`` of ``pages`` is paused."""
    vault = TableVault(tmp_path / "here", "ada", create=True)
    begin(vault, "pages", BUILDERS, code=CODE)
    with monkeypatch.context() as patch, pytest.raises(Trouble):
        fail_at(patch, point)
        vault.execute_instance("pages", process_id="p")
    return vault


def newest(vault: TableVault, table: str = "pages") -> str:
    return vault.get_table_instances(table)[-1]


class TestAnInstance:
    def test_comes_out_as_it_was(self, here: TableVault, there: TableVault, place: Path) -> None:
        instance_id = newest(here)

        made = here.export_instance("pages", path=place / "b.tar.xz")
        there.import_instance(made)

        assert there.get_table_instances("pages") == [instance_id]
        assert (made.instance_id, made.builder, made.rows) == (instance_id, None, 6)
        states.assert_sound(Path(there.db_dir))
        old, new = (vault.get_dataframe("pages", full_artifact_path=False) for vault in (here, there))
        pd.testing.assert_frame_equal(new, old)
        assert texts(there) == texts(here)
        for name in ("manifest.json", "table.parquet", "builders/shout.yaml", "code/work.py", "provenance/plan.json"):
            old_file, new_file = (Path(vault.db_dir, "pages", instance_id, name) for vault in (here, there))
            assert new_file.read_bytes() == old_file.read_bytes()

    def test_keeps_what_is_known_of_it(self, here: TableVault, there: TableVault, place: Path) -> None:
        here.set_description("the best one", "pages", newest(here))

        there.import_instance(here.export_instance("pages", path=place))

        old, new = (vault.get_descriptions(newest(vault), "pages") for vault in (here, there))
        differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        assert differing == {"process_id", "imported"}
        assert new["author"] == "ada"
        imported = new["imported"]
        assert isinstance(imported, dict)
        assert (imported["vault"], imported["table"], imported["author"]) == ("here", "pages", "ada")
        assert imported["process"]["process_id"] == old["process_id"]
        assert [step["name"] for step in imported["process"]["steps"]][-1] == "materialize"
        assert there.get_descriptions(table_name="pages")["description"] == ""

    def test_is_an_origin_of_which_nothing_is_made_again(
        self, here: TableVault, there: TableVault, place: Path, calls: Calls
    ) -> None:
        there.import_instance(here.export_instance("pages", path=place), with_code=True)
        there.create_instance("pages", origin_id=newest(there))

        assert called(there, calls) == {}

        states.assert_sound(Path(there.db_dir))
        assert texts(there) == texts(here)
        steps = {step.name: step.rows_reused for step in there.get_process(last_process(there)).steps}
        assert steps == {"pages_index": 0, "materialize": 0} | dict.fromkeys(BUILDERS.keys() - {"index"}, 6)

    def test_lets_its_table_be_made_with_its_settings(self, here: TableVault, there: TableVault, place: Path) -> None:
        here.create_table("odd", allow_multiple_artifacts=True, has_side_effects=True, description="told")
        here.create_instance("odd", external_edit=True)
        here.write_instance(pd.DataFrame({"n": [1]}), "odd")

        there.import_instance(here.export_instance("odd", path=place))

        told = there.get_descriptions(table_name="odd")
        assert (told["description"], told["allow_multiple_artifacts"], told["has_side_effects"]) == ("told", True, True)
        assert (told["author"], Path(there.db_dir, "odd", "description.yaml").exists()) == ("bob", True)

    def test_of_a_table_with_side_effects_is_inactive(self, here: TableVault, there: TableVault, place: Path) -> None:
        here.create_table("odd", has_side_effects=True)
        write(here, "odd", pd.DataFrame({"n": [1]}))

        there.import_instance(here.export_instance("odd", path=place))

        assert there.get_descriptions(newest(there, "odd"), "odd")["active"] is False
        assert there.get_dataframe("odd", newest(there, "odd"))["n"].tolist() == [1]

    def test_may_go_into_another_table(self, here: TableVault, there: TableVault, place: Path, calls: Calls) -> None:
        there.create_table("leaves")
        there.import_instance(here.export_instance("pages", path=place), "leaves", with_code=True)
        there.create_instance("leaves", copy=True)

        assert called(there, calls, "leaves") == {}
        assert there.get_table_instances() == ["leaves"]

    def test_may_go_back_where_it_was_deleted(self, here: TableVault, place: Path) -> None:
        made = here.export_instance("pages", path=place)
        frame = here.get_dataframe("pages", full_artifact_path=False)
        here.delete_instance(made.instance_id, "pages")

        here.import_instance(made)

        pd.testing.assert_frame_equal(here.get_dataframe("pages", full_artifact_path=False), frame)
        states.assert_sound(Path(here.db_dir))

    def test_twice_changes_nothing(self, here: TableVault, there: TableVault, place: Path) -> None:
        made = here.export_instance("pages", path=place)
        there.import_instance(made, with_code=True)
        before = states.state(Path(there.db_dir))

        there.import_instance(made, with_code=True)
        there.import_instance(here.export_instance("pages", path=place / "again"))
        here.import_instance(made)

        assert states.state(Path(there.db_dir)) == before

    def test_of_the_same_id_that_differs_is_refused(self, here: TableVault, tmp_path: Path, place: Path) -> None:
        made = here.export_instance("pages", path=place)
        there = TableVault(tmp_path / "there", create=True)
        write(there, "pages", pd.DataFrame({"n": [1]}))
        other = there.export_instance("pages", path=place)
        forge_id(there, other.instance_id, made.instance_id)
        before = states.state(Path(there.db_dir))

        with pytest.raises(TVArgumentError, match=f"pages/{made.instance_id} is there already, and isn't what"):
            there.import_instance(made)

        assert states.state(Path(there.db_dir)) == before

    def test_that_was_written_by_hand_has_no_builders(self, here: TableVault, there: TableVault, place: Path) -> None:
        write(here, "notes", pd.DataFrame({"n": [1, None], "t": ["a", None]}), dtypes={"n": "Int64"})

        there.import_instance(here.export_instance("notes", path=place))

        pd.testing.assert_frame_equal(there.get_dataframe("notes"), here.get_dataframe("notes"))
        assert there.get_descriptions(newest(there, "notes"), "notes")["external_edit"] is True

    def test_keeps_its_lineage_where_that_is_known(self, here: TableVault, there: TableVault, place: Path) -> None:
        source = newest(here)
        text = column("n", function="shout", arguments={"word": "<<pages.name[index]>>"})
        build(here, "more", {"index": index("k", function="rows", changed_columns=["name"]), "n": text})

        there.import_instance(here.export_instance("more", path=place))
        assert there.get_descriptions(newest(there, "more"), "more")["dependencies"] == []
        imported = there.get_descriptions(newest(there, "more"), "more")["imported"]
        assert imported["sources"] == [["pages", source]]  # type: ignore[index]

        there.delete_instance(newest(there, "more"), "more")
        there.import_instance(here.export_instance("pages", path=place))
        there.import_instance(place / f"more-{newest(here, 'more')}.bundle.tar.xz")
        assert there.get_descriptions(newest(there, "more"), "more")["dependencies"] == [["pages", source]]

    def test_tells_where_it_was_made_after_another_journey(
        self, here: TableVault, there: TableVault, tmp_path: Path, place: Path
    ) -> None:
        there.import_instance(here.export_instance("pages", path=place / "1"))
        third = TableVault(tmp_path / "third", "cyd", create=True)

        third.import_instance(there.export_instance("pages", path=place / "2"))

        imported = third.get_descriptions(newest(third), "pages")["imported"]
        assert imported["process"]["author"] == "ada"  # type: ignore[index]
        assert third.get_descriptions(newest(third), "pages")["author"] == "ada"

    def test_makes_the_same_bundle_each_time(self, here: TableVault, place: Path) -> None:
        one, two = (here.export_instance("pages", path=place / name) for name in ("1", "2"))

        assert one.path.read_bytes() == two.path.read_bytes()
        assert one.bundle == two.bundle


class TestABuildersResults:
    @pytest.mark.parametrize(
        ("builder", "others"),
        [
            ("shout", PAGES | AGAIN | {"total": 1, "back": 1}),
            ("page", SHOUTS | AGAIN | {"total": 1, "back": 1}),
            ("total", SHOUTS | PAGES | AGAIN | {"back": 1}),
            ("back", SHOUTS | PAGES | AGAIN | {"total": 1}),
            ("again", SHOUTS | PAGES | {"total": 1, "back": 1}),
        ],
    )
    def test_leave_only_the_others_to_be_called(
        self,
        here: TableVault,
        there: TableVault,
        place: Path,
        calls: Calls,
        builder: str,
        others: dict[str, int],
    ) -> None:
        with_code(there)
        prepare(there)
        there.import_instance(here.export_instance("pages", path=place, builder=builder))

        assert called(there, calls) == others

        states.assert_sound(Path(there.db_dir))
        old, new = (vault.get_dataframe("pages", full_artifact_path=False) for vault in (here, there))
        pd.testing.assert_frame_equal(new, old)
        assert texts(there) == texts(here)
        steps = {step.name: step.rows_reused for step in there.get_process(last_process(there)).steps}
        assert {name for name, rows in steps.items() if rows} == {builder}
        assert steps[builder] == 6
        reused = there.get_descriptions(newest(there), "pages")["reused"]
        ((told),) = reused  # type: ignore[misc]
        assert (told["builder"], told["rows"], told["vault"]) == (builder, 6, "here")  # type: ignore[has-type]
        assert told["instance_id"] == newest(here)  # type: ignore[has-type]

    def test_are_found_by_the_primary_key(self, here: TableVault, there: TableVault, place: Path, calls: Calls) -> None:
        code = CODE.replace('["ape", "bee", "cat", "dog", "eel", "fox"]', '["fox", "gnu", "ape"]')
        begin(there, "pages", {"index": BUILDERS["index"], "shout": BUILDERS["shout"]}, code=code)
        there.import_instance(here.export_instance("pages", path=place, builder="shout"))

        assert called(there, calls) == {"shout gnu": 1}
        assert there.get_dataframe("pages")["loud"].tolist() == ["FOX", "GNU", "APE"]

    def test_of_several_builders_add_up(self, here: TableVault, there: TableVault, place: Path, calls: Calls) -> None:
        with_code(there)
        prepare(there)
        for builder in ("shout", "page", "total"):
            there.import_instance(here.export_instance("pages", path=place, builder=builder))

        assert called(there, calls) == AGAIN | {"back": 1}

    def test_come_after_the_origin(self, here: TableVault, there: TableVault, place: Path, calls: Calls) -> None:
        short = CODE.replace('["ape", "bee", "cat", "dog", "eel", "fox"]', '["ape", "bee"]')
        builders = {"index": BUILDERS["index"], "shout": BUILDERS["shout"]}
        build(there, "pages", builders, code=short)
        with_code(there)
        there.create_instance("pages", copy=True)
        there.import_instance(here.export_instance("pages", path=place, builder="shout"))

        assert called(there, calls) == {}

        (told,) = there.get_descriptions(newest(there), "pages")["reused"]  # type: ignore[misc]
        assert told["rows"] == 4  # type: ignore[has-type]

    def test_of_another_recipe_are_not_used(
        self, here: TableVault, there: TableVault, place: Path, calls: Calls
    ) -> None:
        begin(there, "pages", BUILDERS, code=CODE.replace("word.upper()", "word.upper() + '!'"))
        there.import_instance(here.export_instance("pages", path=place, builder="shout"))

        assert called(there, calls) & Counter(SHOUTS) == Counter(SHOUTS)
        assert "reused" not in there.get_descriptions(newest(there), "pages")

    def test_are_not_used_where_all_is_to_be_made_anew(
        self, here: TableVault, there: TableVault, place: Path, calls: Calls
    ) -> None:
        with_code(there)
        prepare(there)
        there.import_instance(here.export_instance("pages", path=place, builder="total"))

        assert called(there, calls, force_execute=True)["total"] == 1
        assert "reused" not in there.get_descriptions(newest(there), "pages")

    def test_go_on_being_reused(self, here: TableVault, there: TableVault, place: Path, calls: Calls) -> None:
        with_code(there)
        prepare(there)
        there.import_instance(here.export_instance("pages", path=place, builder="shout"))
        there.execute_instance("pages")
        there.create_instance("pages", copy=True)

        assert called(there, calls) == {}

    def test_twice_change_nothing(self, here: TableVault, there: TableVault, place: Path) -> None:
        prepare(there)
        made = here.export_instance("pages", path=place, builder="page")
        there.import_instance(made)
        before = states.state(Path(there.db_dir))

        there.import_instance(made)

        assert states.state(Path(there.db_dir)) == before

    def test_hold_nothing_of_other_builders(self, here: TableVault, there: TableVault, place: Path) -> None:
        prepare(there)
        there.import_instance(here.export_instance("pages", path=place, builder="shout"))

        (folder,) = Path(there.db_dir, "pages", "TEMP_base", "results").iterdir()
        found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        assert found == [
            "content/builders/shout.yaml",
            "content/code/work.py",
            "content/manifest.json",
            "content/provenance/builders.json",
            "content/provenance/shout.parquet",
            "content/table.parquet",
            "label.json",
        ]

    def test_need_a_temporary_instance(self, here: TableVault, there: TableVault, place: Path) -> None:
        made = here.export_instance("pages", path=place, builder="shout")
        there.create_table("pages")

        with pytest.raises(TVArgumentError, match=r"no temporary instance of version 'base'.*create_instance"):
            there.import_instance(made)
        there.create_instance("pages", external_edit=True)
        with pytest.raises(TVArgumentError, match="is edited externally"):
            there.import_instance(made)
        states.assert_sound(Path(there.db_dir))

    def test_may_go_into_another_version(self, here: TableVault, there: TableVault, place: Path, calls: Calls) -> None:
        with_code(there)
        prepare(there, version="draft")
        there.import_instance(here.export_instance("pages", path=place, builder="page"), version="draft")

        assert not called(there, calls, version="draft") & Counter(PAGES)

    def test_wait_for_who_executes_it(
        self, here: TableVault, there: TableVault, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with_code(there)
        prepare(there)
        with monkeypatch.context() as patch, pytest.raises(Trouble):
            fail_at(patch, "page dog")
            there.execute_instance("pages", process_id="p")

        with pytest.raises(TVLockError, match="'p'"):
            there.import_instance(here.export_instance("pages", path=place, builder="shout"))

    @pytest.mark.parametrize(
        ("builder", "message"),
        [("shouts", "has no builder 'shouts'. Did you mean 'shout'"), ("pages_index", "is the IndexBuilder")],
    )
    def test_that_there_are_none_of(self, here: TableVault, place: Path, builder: str, message: str) -> None:
        with pytest.raises(TVArgumentError, match=message):
            here.export_instance("pages", path=place, builder=builder)
        assert list(place.iterdir()) == []

    def test_that_were_changed_are_made_again(
        self, here: TableVault, there: TableVault, place: Path, calls: Calls
    ) -> None:
        with_code(there)
        prepare(there)
        there.import_instance(here.export_instance("pages", path=place, builder="page"))
        (path,) = Path(there.db_dir).rglob("results/*/content/artifacts/dog.txt")
        path.chmod(0o644)
        path.write_text("something else")

        assert called(there, calls) & Counter(PAGES) == {"page dog": 1}


class TestWhatIsUnfinished:
    def test_a_paused_execution_goes_on_elsewhere(
        self, tmp_path: Path, there: TableVault, place: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = paused(tmp_path, monkeypatch)
        made = calls()
        before = states.state(Path(here.db_dir))

        bundle = here.export_instance("pages", "TEMP_base", path=place)
        assert states.state(Path(here.db_dir)) == before
        there.import_instance(bundle, with_code=True)
        told = there.get_descriptions(newest(there), "pages")
        assert (told["success"], told["imported"]["process"]["process_id"]) == (False, "p")  # type: ignore[index]
        there.create_instance("pages", copy=True)

        done = {call for call in made if call != "page dog"}
        missing = (SHOUTS | PAGES | AGAIN | {"total": 1, "back": 1}).keys() - done
        assert called(there, calls).keys() == missing
        assert "page dog" in missing
        assert "page ape" not in missing
        assert there.get_dataframe("pages", successful_only=True)["page"].notna().all()
        states.assert_sound(Path(there.db_dir))

    def test_a_builder_that_isn_t_complete_gives_what_it_has(
        self, tmp_path: Path, there: TableVault, place: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = paused(tmp_path, monkeypatch)
        with_code(there)
        prepare(there)
        there.import_instance(here.export_instance("pages", "TEMP_base", path=place, builder="page"))

        found = called(there, calls) & Counter(PAGES)

        assert found == {"page dog": 1, "page eel": 1, "page fox": 1}

    def test_its_partial_instance_does_as_well(
        self, tmp_path: Path, there: TableVault, place: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = paused(tmp_path, monkeypatch)
        here.stop_process("p", materialize=True)
        there.import_instance(here.export_instance("pages", path=place), with_code=True)
        there.create_instance("pages", copy=True)

        assert called(there, calls) & Counter(PAGES) == {"page dog": 1, "page eel": 1, "page fox": 1}

    def test_exports_of_one_state_are_the_same(
        self, tmp_path: Path, there: TableVault, place: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls
    ) -> None:
        here = paused(tmp_path, monkeypatch)
        first = here.export_instance("pages", "TEMP_base", path=place / "1")
        second = here.export_instance("pages", "TEMP_base", path=place / "2")
        here.execute_instance("pages", process_id="p")
        third = here.export_instance("pages", path=place / "3")

        for each in (first, second, third):
            there.import_instance(each)

        assert first.path.read_bytes() == second.path.read_bytes()
        assert there.get_table_instances("pages") == [first.instance_id, third.instance_id]

    def test_an_execution_that_was_imported_is_told_of_partly(
        self, here: TableVault, there: TableVault, place: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls
    ) -> None:
        with_code(there)
        prepare(there)
        there.import_instance(here.export_instance("pages", path=place, builder="page"))
        with monkeypatch.context() as patch, pytest.raises(Trouble):
            fail_at(patch, "shout dog")
            there.execute_instance("pages", process_id="p")
        there.stop_process("p", materialize=True)

        (told,) = there.get_descriptions(newest(there), "pages")["reused"]  # type: ignore[misc]
        assert (told["builder"], told["rows"]) == ("page", 6)  # type: ignore[has-type]

    def test_there_is_nothing_of_what_was_never_begun(self, there: TableVault, place: Path) -> None:
        with_code(there)
        prepare(there)

        with pytest.raises(TVArgumentError, match="Nothing executes pages/TEMP_base"):
            there.export_instance("pages", "TEMP_base", path=place)


class TestCode:
    def test_is_kept_with_the_instance_only(self, here: TableVault, there: TableVault, place: Path) -> None:
        there.import_instance(here.export_instance("pages", path=place))

        assert there.get_code_modules_list() == []
        assert Path(there.db_dir, "pages", newest(there), "code", "work.py").read_text() == CODE

    def test_is_added_on_request(self, here: TableVault, there: TableVault, place: Path) -> None:
        there.import_instance(here.export_instance("pages", path=place), with_code=True)

        assert there.get_code_module_str("work") == CODE

    def test_that_differs_is_never_replaced(self, here: TableVault, there: TableVault, place: Path) -> None:
        there.create_code_module("work", text="A = 1\n")
        before = states.state(Path(there.db_dir))

        with pytest.raises(TVArgumentError, match=r"The code module 'work' of this vault differs .*work\.py"):
            there.import_instance(here.export_instance("pages", path=place), with_code=True)

        assert states.state(Path(there.db_dir)) == before

    def test_may_be_a_package(self, here: TableVault, there: TableVault, place: Path, tmp_path: Path) -> None:
        package = tmp_path / "tools"
        package.mkdir()
        (package / "__init__.py").write_text("from tools.inner import rows\n")
        (package / "inner.py").write_text("def rows():\n    yield 1\n")
        here.create_code_module(copy_dir=package)
        build(here, "n", {"index": index("n", code_module="tools")})
        made = here.export_instance("n", path=place)

        there.import_instance(made, with_code=True)
        assert there.get_code_modules_list() == ["tools", "tools.inner"]
        there.create_code_module("tools.inner", text="def rows():\n    yield 2\n")
        with pytest.raises(TVArgumentError, match="'tools' of this vault differs"):
            there.import_instance(made, "m", with_code=True)

    def test_is_never_imported(self, here: TableVault, there: TableVault, place: Path) -> None:
        (place / "ran").touch()
        code = f"from pathlib import Path\nPath({str(place / 'ran')!r}).unlink()\n"
        here.create_code_module("sly", text=code + "\n\ndef rows():\n    yield 1\n")
        begin(here, "sly", {"index": index("n", code_module="sly")})
        here.execute_instance("sly")
        (place / "ran").touch()

        there.import_instance(here.export_instance("sly", path=place), with_code=True)
        there.get_dataframe("sly")

        assert (place / "ran").exists()


def last_process(vault: TableVault) -> str:
    """Return the process that made the newest instance."""
    return str(vault.get_descriptions(newest(vault), "pages")["process_id"])


def forge_id(vault: TableVault, instance_id: str, other: str) -> None:
    """Give an instance the id of another."""
    from tablevault_like.catalog import Catalog
    from tablevault_like.layout import Layout

    folder = Path(vault.db_dir, "pages", instance_id)
    folder.rename(folder.with_name(other))
    catalog = Catalog(Layout(Path(vault.db_dir)).catalog)
    with catalog.transaction() as db:
        db.execute("UPDATE instances SET instance_id = ? WHERE instance_id = ?", (other, instance_id))
    catalog.close()
    assert json.loads((folder.with_name(other) / "manifest.json").read_text())["instance"] == instance_id
