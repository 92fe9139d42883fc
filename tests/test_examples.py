"""The builder files of ``builders_examples``: all of them run, and together they use every field."""

from __future__ import annotations

import pydoc_data.topics
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.builders.form import Form
from tablevault_like.builders.spec import read_builder
from tablevault_like.model import ReturnType
from tablevault_like.references.keywords import Keyword

EXAMPLES = Path(__file__).resolve().parent.parent / "builders_examples"
FILES = sorted(EXAMPLES.glob("*/*/*.yaml"))


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, create=True)


def add(vault: TableVault, example: str, table: str, *, origin_id: str = "") -> None:
    """Make a temporary instance of a table with the builder files of an example."""
    if table not in vault.get_table_instances():
        vault.create_table(table)
    vault.create_instance(table, origin_id=origin_id)
    vault.create_builder_file(table, copy_dir=str(EXAMPLES / example / table))


def build(vault: TableVault, example: str, table: str) -> pd.DataFrame:
    add(vault, example, table)
    vault.execute_instance(table)
    return vault.get_dataframe(table)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_every_example_says_what_it_is_for(path: Path) -> None:
    first = path.read_text().splitlines()[0]

    assert first.startswith("# ")
    assert first.endswith(".")


def test_the_examples_use_every_field_and_keyword() -> None:
    fields = [read_builder(path, path.stem).fields for path in FILES]

    assert {name for each in fields for name in each} == set(Form.model_fields)
    assert {each.get("return_type") for each in fields} >= set(ReturnType)
    text = "".join(path.read_text() for path in FILES)
    assert all(keyword in text for keyword in Keyword if keyword is not Keyword.PROCESS_ID)


class TestTopics:
    @pytest.fixture(autouse=True)
    def code(self, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DEMO_SERVICE", raising=False)
        vault.create_code_module(copy_dir=str(EXAMPLES / "topics" / "code_functions"))

    def test_documents_are_the_topics_of_this_python(self, vault: TableVault) -> None:
        frame = build(vault, "topics", "documents")

        assert dict(zip(frame["name"], frame["text"], strict=True)) == pydoc_data.topics.topics

    def test_analysis_has_a_row_with_a_note_for_each_document(self, vault: TableVault) -> None:
        documents = build(vault, "topics", "documents")
        frame = build(vault, "topics", "analysis")

        assert frame["name"].tolist() == documents["name"].tolist()
        row = frame.set_index("name").loc["assert"]
        assert row["pace"] == round(row["words"] / row["sentences"], 1)
        assert len(row["keywords"]) == 3
        note = Path(row["note"]).read_text()
        assert note.startswith(
            f"# assert\n\n{row['words']} words, {row['pace']} a sentence.\n\n- {row['keywords'][0]}\n"
        )
        assert not frame.isna().any(axis=None)


class TestEvaluation:
    @pytest.fixture(autouse=True)
    def code(self, vault: TableVault) -> None:
        vault.create_code_module(copy_dir=str(EXAMPLES / "evaluation" / "code_functions"))

    def write(self, vault: TableVault, table: str, **columns: list[str]) -> None:
        vault.create_table(table)
        vault.create_instance(table, external_edit=True)
        vault.write_instance(pd.DataFrame(columns), table)

    def test_questions_have_the_dtypes_that_the_file_names(self, vault: TableVault) -> None:
        frame = build(vault, "evaluation", "questions")

        assert frame.dtypes.astype(str).to_dict() == {
            "id": "string",
            "topic": "category",
            "question": "string",
            "expected": "string",
            "points": "Int16",
            "added": "datetime64[us]",
        }
        assert frame["added"].isna().tolist() == [False, False, False, True]

    def test_questions_that_are_no_longer_given_are_kept(self, vault: TableVault) -> None:
        build(vault, "evaluation", "questions")
        (origin_id,) = vault.get_table_instances("questions")
        text = vault.get_code_module_str("evaluation").replace('("q1"', '("q5"')
        vault.create_code_module("evaluation", text=text)
        add(vault, "evaluation", "questions", origin_id=origin_id)

        vault.execute_instance("questions")

        assert vault.get_dataframe("questions")["id"].tolist() == ["q1", "q5", "q2", "q3", "q4"]

    def test_answers_are_asked_for_graded_and_summed_up(self, vault: TableVault) -> None:
        build(vault, "evaluation", "questions")
        self.write(vault, "geography", id=["q1"], hint=["It begins with L."])
        self.write(vault, "music", id=["q9"], hint=["Count them."])

        frame = build(vault, "evaluation", "answers")

        assert frame["answer"].fillna("-").tolist() == ["Lima", "Mekong", "-", "Beethoven"]
        assert [usage["hinted"] for usage in frame["usage"]] == [True, False, False, False]
        assert frame["certainty"].dtype == "Float32"
        assert frame["points"].tolist() == [1, 0, 0, 2]
        assert frame["total"].tolist() == [1, 1, 1, 3]


class TestFiles:
    @pytest.fixture(autouse=True)
    def here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(EXAMPLES.parent)

    def test_cities_are_those_of_the_file(self, vault: TableVault) -> None:
        frame = build(vault, "files", "cities")

        assert frame["zip_code"].tolist() == ["00100", "0150", "10121", "20001"]
        assert frame["population"].isna().tolist() == [False, False, False, True]
        assert frame.dtypes.astype(str).to_dict()["population"] == "Int64"

    def test_measurements_keep_lists_and_what_is_missing(self, vault: TableVault) -> None:
        frame = build(vault, "files", "measurements")

        assert frame["values"].tolist() == [[18.5, 21.0], [4.0], None]
        assert frame["note"].isna().tolist() == [True, True, False]

    def test_letters_are_artifacts(self, vault: TableVault) -> None:
        frame = build(vault, "files", "letters")

        assert frame["file_name"].tolist() == ["first.txt", "second.txt"]
        assert [Path(path).read_text().splitlines()[1] for path in frame["artifact_name"]] == [
            "it rains.",
            "the sun is out.",
        ]

    def test_a_tour_is_the_same_each_time(self, vault: TableVault) -> None:
        build(vault, "files", "cities")
        first, again = build(vault, "files", "tour"), build(vault, "files", "tour")

        assert first["id"].tolist() == again["id"].tolist()
        assert first["id"].nunique() == 2

    def test_codes_are_random_and_those_with_a_seed_the_same_each_time(self, vault: TableVault) -> None:
        first, again = build(vault, "files", "codes"), build(vault, "files", "codes")

        assert (first == again).all().to_dict() == {
            "purpose": True,
            "code": True,
            "spare": True,
            "nonce": False,
            "serial": True,
        }
        strings = first[["code", "spare", "nonce", "serial"]].to_numpy().ravel().tolist()
        assert len({*strings}) == 12
        assert {len(each) for each in strings} == {20}
