"""IndexBuilders that make batches: which are made, recorded, taken over, and made again after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArtifactError, TVBuilderError
from tests import tasks
from tests.operations.batching import CODE, made, making, recorded, shouting, step
from tests.scenes import Calls, Scene
from tests.states import assert_sound
from tests.tables import begin, build, column, index, write_code
from tests.workers import Action, Fault, Workers, wait_until


@pytest.fixture
def vault(tmp_path: Path, calls: Calls) -> TableVault:
    return TableVault(tmp_path / "vault", "ada", create=True)


@pytest.fixture
def scene(vault: TableVault, tmp_path: Path, workers: Workers) -> Scene:
    return Scene(tmp_path / "vault", workers)


class TestBatchesThatAreMade:
    def test_make_the_rows_there_are_to_be(self, vault: TableVault, calls: Calls) -> None:
        frame = build(vault, "words", {"index": making(n_threads=2)}, code=CODE)
        assert frame["word"].tolist() == [f"w{number}" for number in range(10)]
        assert made(calls, "make") == ["0+4", "4+4", "8+2"]

    def test_may_ask_which_they_are_in_references_too(self, vault: TableVault) -> None:
        code = f"{CODE}\ndef pick(words, number, size): return [(word, number) for word in words][:size]"
        build(vault, "seeds", {"index": index("word", function="words")}, code=code)
        arguments = {
            "words": "<<seeds.word[index::~BATCH_START~:100]>>",
            "number": "batch ~BATCH_INDEX~",
            "size": "~BATCH_SIZE~",
        }
        text = index(
            "word", "batch", function="pick", return_type="batch", batch_size=3, total_rows=7, arguments=arguments
        )
        frame = build(vault, "words", {"index": text})
        assert frame["word"].tolist() == [f"w{number}" for number in range(7)]
        assert frame["batch"].tolist() == ["batch 0"] * 3 + ["batch 1"] * 3 + ["batch 2"]

    def test_a_larger_total_makes_only_what_is_missing(self, vault: TableVault, calls: Calls) -> None:
        build(vault, "words", {"index": making(8)}, code=CODE)
        vault.create_instance("words", copy=True)
        vault.create_builder_file("words", "words_index", text=making(15))
        vault.execute_instance("words", process_id="more")
        assert made(calls, "make") == ["0+4", "12+3", "4+4", "8+4"]
        found = step(vault, "more", "words_index")
        assert (found.rows_reused, found.rows_done, found.batches_done, found.batches_total) == (8, 15, 4, 4)
        assert vault.get_dataframe("words")["word"].tolist() == [f"w{number}" for number in range(15)]
        vault.create_instance("words", copy=True)
        vault.create_builder_file("words", "words_index", text=making(8))
        vault.execute_instance("words")
        assert len(made(calls, "make")) == 4
        assert len(vault.get_dataframe("words")) == 8

    @pytest.mark.parametrize(
        "change",
        ["never", "keep_old", "force", "function", "size", "overwritten", "a smaller last one"],
    )
    def test_are_made_anew_where_they_cannot_be_the_same(self, vault: TableVault, calls: Calls, change: str) -> None:
        builders = {"index": making(8)}
        if change == "overwritten":
            builders["word"] = column("word", function="again", arguments={"word": "<<self.word[index]>>"})
        code = f"{CODE}\ndef again(word): return word + word"
        build(vault, "words", builders, code=code)
        vault.create_instance("words", copy=True)
        new = {
            "never": making(8, reuse="never"),
            "keep_old": making(8, keep_old=True),
            "size": making(8, 2),
            "a smaller last one": making(7),
        }
        if change in new:
            vault.create_builder_file("words", "words_index", text=new[change])
        if change == "function":
            write_code(vault, code.replace('f"w{number}"', 'f"v{number}"'))
        vault.execute_instance("words", force_execute=change == "force")
        expected = {"size": ["0+2", "0+4", "2+2", "4+2", "4+4", "6+2"], "a smaller last one": ["0+4", "4+3", "4+4"]}
        assert made(calls, "make") == expected.get(change, ["0+4", "0+4", "4+4", "4+4"])
        assert len(vault.get_dataframe("words")) == (7 if change == "a smaller last one" else 8)

    def test_bring_their_artifacts_with_them_or_are_made_again(self, vault: TableVault, calls: Calls) -> None:
        code = """
from pathlib import Path
from tests.workers import note_call
def make(start, size, folder):
    note_call(f"make {start}+{size}")
    for number in range(start, start + size):
        Path(folder, f"{number}.txt").write_text(f"page {number}")
    return [f"{number}.txt" for number in range(start, start + size)]
"""
        arguments = {"start": "~BATCH_START~", "size": "~BATCH_SIZE~", "folder": "~ARTIFACT_FOLDER~"}
        fields = {"return_type": "batch", "batch_size": 2, "arguments": arguments}
        text = index("page", function="make", dtypes={"page": "artifact_string"}, total_rows=4, **fields)
        build(vault, "pages", {"index": text}, code=code)
        damaged = Path(vault.get_dataframe("pages")["page"][3])
        damaged.chmod(0o600)
        damaged.write_text("something else")
        vault.create_instance("pages", copy=True)
        vault.create_builder_file("pages", "pages_index", text=text.replace("total_rows: 4", "total_rows: 6"))
        vault.execute_instance("pages")
        assert made(calls, "make") == ["0+2", "2+2", "2+2", "4+2"]
        pages = [Path(path).read_text() for path in vault.get_dataframe("pages")["page"]]
        assert pages == [f"page {number}" for number in range(6)]

    def test_whose_column_another_builder_changes_leave_that_one_its_rows(self, vault: TableVault) -> None:
        again = column("word", function="again", arguments={"word": "<<self.word[index]>>"})
        build(vault, "words", {"index": making(8), "z": again}, code=f"{CODE}\ndef again(word): return word + word")
        vault.create_instance("words", copy=True)
        vault.execute_instance("words", process_id="q")
        assert (step(vault, "q", "words_index").rows_reused, step(vault, "q", "z").rows_reused) == (0, 8)
        assert vault.get_dataframe("words")["word"].tolist() == [f"w{number}w{number}" for number in range(8)]

    def test_that_were_left_empty_keep_their_places_while_it_runs(self, vault: TableVault) -> None:
        code = CODE.replace("    return [f", "    if start == 0: raise ConnectionError('down')\n    return [f")
        text = making().replace("batch_size", "on_error: null\nbatch_size")
        late = column("n", function="late", arguments={"word": "<<self.word[index]>>"})
        code += (
            "\ndef late(word):\n    if word == 'w8': raise ConnectionError('late')\n    return word and int(word[1:])\n"
        )
        begin(vault, "words", {"index": text, "late": late}, code=code)
        with pytest.raises(ConnectionError, match="late"):
            vault.execute_instance("words", process_id="p")
        frame = vault.get_dataframe("words", "TEMP_base")
        assert frame["word"].fillna("-").tolist() == [*"----", *(f"w{number}" for number in range(4, 10))]
        assert frame["n"].tolist()[4:8] == [4, 5, 6, 7]
        vault.stop_process("p", materialize=True)
        assert_sound(Path(vault.db_dir))
        (partial,) = vault.get_table_instances("words")
        vault.create_instance("words", origin_id=partial)
        write_code(vault, CODE + "\ndef late(word): return 1")
        vault.execute_instance("words", process_id="q")
        assert len(vault.get_dataframe("words")) == 10

    def test_keep_old_rows_before_them(self, vault: TableVault) -> None:
        build(vault, "words", {"index": making(4, primary_key=["word"]), "loud": shouting()}, code=CODE)
        vault.create_instance("words", copy=True)
        text = making(4, primary_key=["word"], keep_old=True)
        vault.create_builder_file("words", "words_index", text=text)
        write_code(vault, CODE.replace('f"w{number}"', 'f"v{number}"'))
        vault.execute_instance("words")
        assert vault.get_dataframe("words")["word"].tolist() == [
            *(f"w{n}" for n in range(4)),
            *(f"v{n}" for n in range(4)),
        ]
        assert vault.get_dataframe("words")["loud"].tolist()[::4] == ["W0!", "V0!"]

    def test_are_recorded_all_or_none(self, vault: TableVault, calls: Calls) -> None:
        code = """
from pathlib import Path
from tests.workers import note_call
def make(start, size, folder):
    note_call(f"make {start}+{size}")
    for number in range(start, start + size):
        if number != 5 or Path(folder, "../good").exists():
            Path(folder, f"{number}.txt").touch()
    return [f"{number}.txt" for number in range(start, start + size)]
"""
        arguments = {"start": "~BATCH_START~", "size": "~BATCH_SIZE~", "folder": "~ARTIFACT_FOLDER~"}
        text = index(
            "word",
            function="make",
            return_type="batch",
            batch_size=4,
            total_rows=10,
            arguments=arguments,
            dtypes={"word": "artifact_string"},
        )
        begin(vault, "words", {"index": text}, code=code)
        with pytest.raises(TVArtifactError, match=r"5\.txt"):
            vault.execute_instance("words", process_id="p")
        assert {row[1]: row[2] for row in recorded(vault, "p")} == dict.fromkeys(range(4), "done") | dict.fromkeys(
            range(4, 8), "failed"
        )
        (staged,) = Path(vault.db_dir).glob("metadata/processes/p/staging/*")
        (staged / "good").touch()
        vault.execute_instance("words", process_id="p")
        assert made(calls, "make") == ["0+4", "4+4", "4+4", "8+2"]

    def test_that_fail_may_be_left_empty(self, vault: TableVault) -> None:
        code = CODE.replace("    return [f", "    if start == 4: raise ConnectionError('down')\n    return [f")
        text = making().replace("batch_size", "on_error: null\nbatch_size")
        frame = build(
            vault,
            "words",
            {"index": text, "count": column("n", function="size", arguments={"w": "<<self.word[index]>>"})},
            code=f"{code}\ndef size(w): return w and len(w)",
        )
        assert frame["word"].fillna("-").tolist() == [*(f"w{n}" for n in range(4)), *"----", "w8", "w9"]
        assert frame["n"].isna().tolist() == [False] * 4 + [True] * 4 + [False] * 2

    def test_of_a_budget_are_made_as_a_whole(self, vault: TableVault, calls: Calls) -> None:
        begin(vault, "words", {"index": making(budget={"rows": 5})}, code=CODE)
        vault.execute_instance("words", process_id="p")
        assert made(calls, "make") == ["0+4", "4+4"]


class TestADifferentSize:
    @pytest.fixture
    def paused(self, vault: TableVault, tmp_path: Path) -> TableVault:
        code = CODE.replace(
            "    return [f",
            f"    if start == 4 and not Path({str(tmp_path)!r}, 'up').exists():\n"
            "        raise ConnectionError('down')\n"
            "    return [f",
        )
        begin(vault, "words", {"index": making(), "loud": shouting()}, code=code)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")
        (tmp_path / "up").touch()
        return vault

    CHANGES = (
        (
            "words_index",
            making(20),
            "builder 'words_index' now has total_rows 20, and this process was started with 10",
        ),
        (
            "words_index",
            making(10, 5),
            "builder 'words_index' now has batch_size 5, and this process was started with 4",
        ),
        ("loud", shouting(7), "builder 'loud' now has batch_size 7, and this process was started with 4"),
    )

    @pytest.mark.parametrize(("builder", "text", "message"), CHANGES)
    @pytest.mark.parametrize("on_change", ["error", "continue"])
    def test_is_an_error_that_names_both(
        self, paused: TableVault, builder: str, text: str, message: str, on_change: str
    ) -> None:
        paused.create_builder_file("words", builder, text=text)
        with pytest.raises(TVBuilderError, match=message):
            paused.execute_instance("words", process_id="p", on_change=on_change)
        assert paused.get_process("p").status == "paused"

    def test_is_ignored_by_keep(self, paused: TableVault, calls: Calls) -> None:
        paused.create_builder_file("words", "words_index", text=making(20))
        paused.execute_instance("words", process_id="p", on_change="keep")
        assert made(calls, "make") == ["0+4", "4+4", "4+4", "8+2"]

    def test_begins_anew_by_recompute(self, paused: TableVault, calls: Calls) -> None:
        paused.create_builder_file("words", "words_index", text=making(6, 5))
        paused.execute_instance("words", process_id="p", on_change="recompute")
        assert made(calls, "make") == ["0+4", "0+5", "4+4", "5+1"]
        assert len(paused.get_dataframe("words")) == 6


class TestAKilledWorker:
    def execute(self, scene: Scene, *faults: Fault) -> None:
        scene.workers.run(tasks.execute, scene.vault_dir, "words", "p", faults=faults)

    def test_leaves_what_is_recorded_and_makes_the_batch_under_way_again(self, scene: Scene, calls: Calls) -> None:
        begin(scene.vault, "words", {"index": making(), "loud": shouting()}, code=CODE)
        worker = scene.workers.start(
            tasks.execute, scene.vault_dir, "words", "p", faults=[Fault("make 4", Action.WAIT)]
        )
        assert worker.arrive() == "make 4"
        wait_until(lambda: scene.recorded("p", "words_index") == 4)
        worker.kill()
        found = step(scene.vault, "p", "words_index")
        assert (found.batches_done, found.batches_total) == (1, 3)
        frame = scene.vault.get_dataframe("words", "TEMP_base")
        assert frame["word"].tolist() == ["w0", "w1", "w2", "w3"]
        worker = scene.workers.start(
            tasks.execute, scene.vault_dir, "words", "p", faults=[Fault("shout 8", Action.WAIT)]
        )
        assert worker.arrive() == "shout 8"
        wait_until(lambda: scene.recorded("p", "loud") == 8)
        worker.kill()
        assert scene.vault.get_dataframe("words", "TEMP_base")["loud"].isna().tolist() == [False] * 8 + [True] * 2
        scene.vault.execute_instance("words", process_id="p")
        assert made(calls, "make") == ["0+4", "4+4", "4+4", "8+2"]
        assert made(calls, "shout") == ["0,1,2,3", "4,5,6,7", "8,9", "8,9"]
        assert scene.vault.get_dataframe("words")["loud"].tolist() == [f"W{number}!" for number in range(10)]
        assert_sound(scene.vault_dir)

    def test_has_recorded_a_batch_before_it_began_the_next_one(self, scene: Scene, calls: Calls) -> None:
        begin(scene.vault, "words", {"index": making(n_threads=1), "loud": shouting(n_threads=1)}, code=CODE)
        self.execute(scene, Fault("make 8", Action.KILL))
        assert scene.recorded("p", "words_index") == 8
        self.execute(scene, Fault("shout 4", Action.KILL))
        assert scene.recorded("p", "loud") == 4
        scene.vault.execute_instance("words", process_id="p")
        assert made(calls, "make") == ["0+4", "4+4", "8+2", "8+2"]
        assert made(calls, "shout") == ["0,1,2,3", "4,5,6,7", "4,5,6,7", "8,9"]

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_records_a_batch_as_a_whole(self, scene: Scene, calls: Calls, when: str) -> None:
        begin(scene.vault, "words", {"index": making(n_threads=1)}, code=CODE)
        self.execute(scene, Fault(f"{when} tablevault_like.storage.rows:RowStore.record", Action.KILL, nth=1))
        assert scene.recorded("p", "words_index") % 4 in ((0,) if when == "before" else (0, 2))
        scene.vault.execute_instance("words", process_id="p")
        found = made(calls, "make")
        assert {*found} == {"0+4", "4+4", "8+2"}
        assert scene.vault.get_dataframe("words")["word"].tolist() == [f"w{number}" for number in range(10)]

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("nth", [1, 2, 3])
    def test_takes_no_batch_over_twice_and_makes_none_that_it_has(
        self, scene: Scene, calls: Calls, when: str, nth: int
    ) -> None:
        build(scene.vault, "words", {"index": making(8), "loud": shouting()}, code=CODE)
        scene.vault.create_instance("words", copy=True)
        scene.vault.create_builder_file("words", "words_index", text=making(12))
        point = f"{when} tablevault_like.storage.rows:RowStore.record"
        self.execute(scene, Fault(point, Action.KILL, nth=nth))
        assert scene.vault.get_process("p").status == "interrupted"
        scene.vault.execute_instance("words", process_id="p")
        # The one that was under way when it was killed may be made again, and no other.
        assert made(calls, "make") in (["0+4", "4+4", "8+4"], ["0+4", "4+4", "8+4", "8+4"])
        assert made(calls, "shout") == ["0,1,2,3", "4,5,6,7", "8,9,10,11"]
        reused = [step(scene.vault, "p", name).rows_reused for name in ("words_index", "loud")]
        assert reused == [8, 8]
        assert scene.vault.get_dataframe("words")["loud"].tolist() == [f"W{number}!" for number in range(12)]
        assert_sound(scene.vault_dir)

    def test_that_is_stopped_leaves_a_partial_instance_whose_batches_are_reused(
        self, scene: Scene, calls: Calls
    ) -> None:
        begin(scene.vault, "words", {"index": making(12, n_threads=2), "loud": shouting()}, code=CODE)
        worker = scene.workers.start(
            tasks.execute, scene.vault_dir, "words", "p", faults=[Fault("make 4", Action.WAIT)]
        )
        assert worker.arrive() == "make 4"
        wait_until(lambda: scene.recorded("p", "words_index") == 8)
        worker.kill()
        scene.vault.stop_process("p", materialize=True)
        frame = scene.vault.get_dataframe("words")
        assert frame["word"].tolist() == ["w0", "w1", "w2", "w3", "w8", "w9", "w10", "w11"]
        assert frame["loud"].isna().all()
        (partial,) = scene.vault.get_table_instances("words")
        assert_sound(scene.vault_dir)
        scene.vault.create_instance("words", origin_id=partial)
        scene.vault.execute_instance("words", process_id="q")
        assert made(calls, "make") == ["0+4", "4+4", "4+4", "8+4"]
        assert step(scene.vault, "q", "words_index").rows_reused == 8
        assert scene.vault.get_dataframe("words")["word"].tolist() == [f"w{number}" for number in range(12)]

    def test_that_is_interrupted_records_the_batches_in_flight(self, scene: Scene, calls: Calls) -> None:
        begin(scene.vault, "words", {"index": making(4_000, 4_000), "loud": shouting(2)}, code=CODE)
        self.execute(scene, Fault("shout 4", Action.INTERRUPT))
        assert scene.vault.get_process("p").status == "paused"
        done = scene.recorded("p", "loud")
        assert 6 <= done < 4_000
        assert done == 2 * len(made(calls, "shout"))
        scene.vault.execute_instance("words", process_id="p")
        assert len({*made(calls, "shout")}) == len(made(calls, "shout")) == 2_000
