"""The builder files of ``builders_examples``: all of them run, and together they use all that one can say."""

from __future__ import annotations

import inspect
import pydoc_data.topics
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import product
from pathlib import Path
from typing import get_origin

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.builders.document import KeyPath
from tablevault_like.builders.form import Form
from tablevault_like.builders.spec import RawBuilder, read_builder
from tablevault_like.functions import builtin
from tablevault_like.model import BuilderType, ReturnType
from tablevault_like.references.grammar import parse
from tablevault_like.references.keywords import Keyword, occurring
from tablevault_like.references.syntax import INDEX, SELF, Between, Condition, Equal, Reference, Template, walk

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLES = CHECKOUT / "builders_examples"
FILES = sorted(EXAMPLES.glob("*/*/*.yaml"))
FOLDERS = re.findall(r"^\| `([a-z_]+/[a-z_]+)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, create=True)


@pytest.fixture
def code(vault: TableVault, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Give the vault the code modules of an example, and go where it is executed from."""
    monkeypatch.delenv("DEMO_SERVICE", raising=False)
    monkeypatch.chdir(CHECKOUT)
    folder = EXAMPLES / request.param / "code_functions"
    if folder.exists():
        vault.create_code_module(copy_dir=str(folder))


def in_vault(example: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("code", [example], indirect=True)


def add(vault: TableVault, folder: str, *, origin_id: str = "") -> tuple[str, str]:
    """Make a temporary instance with the builder files of an example's folder, and return its table and version."""
    (file,) = (EXAMPLES / folder).glob("*_index.yaml")
    table = file.stem.removesuffix("_index")
    version = Path(folder).name.removeprefix(table).removeprefix("_") or "base"
    if table not in vault.get_table_instances():
        vault.create_table(table)
    vault.create_instance(table, version, origin_id=origin_id)
    vault.create_builder_file(table, version=version, copy_dir=str(EXAMPLES / folder))
    return table, version


def build(vault: TableVault, folder: str, *, origin_id: str = "") -> pd.DataFrame:
    table, version = add(vault, folder, origin_id=origin_id)
    vault.execute_instance(table, version)
    return vault.get_dataframe(table, version=version)


@dataclass(frozen=True)
class Text:
    """A string of a builder file, and where it stands there."""

    text: str
    path: KeyPath
    is_key: bool

    @property
    def template(self) -> Template:
        return parse(self.text)

    @property
    def is_argument(self) -> bool:
        return self.path[0] == "arguments"

    @property
    def places(self) -> Iterator[str]:
        if not self.is_argument:
            yield "a field"
        elif self.is_key:
            yield "a key of a mapping"
        else:
            yield "alone" if self.template.sole_reference else "within text"
            yield "a list" if isinstance(self.path[-1], int) else "an argument" if len(self.path) == 2 else "a mapping"


def texts(value: object, path: KeyPath = (), *, is_key: bool = False) -> Iterator[Text]:
    match value:
        case str():
            yield Text(value, path, is_key)
        case list():
            for position, item in enumerate(value):
                yield from texts(item, (*path, position))
        case dict():
            for key, item in value.items():
                yield from texts(key, (*path, key), is_key=bool(path))
                yield from texts(item, (*path, key))


@dataclass(frozen=True)
class Shape:
    """The form of a reference, without its names."""

    is_self: bool
    has_version: bool
    columns: str
    conditions: frozenset[str]
    nested: frozenset[str]

    @classmethod
    def of(cls, reference: Reference) -> Shape:
        columns = reference.columns
        count = "all" if columns is None else "one" if len(columns) == 1 else "some"
        return cls(
            reference.table.literal == SELF,
            reference.version is not None,
            "position" if reference.is_row_index else count,
            frozenset(map(_form, reference.conditions)),
            frozenset(part for part, template in _parts(reference) if template.references),
        )


def _form(condition: Condition) -> str:
    key = "index" if condition.key.literal == INDEX else "key"
    match condition.value:
        case None:
            return f"[{key}]"
        case Equal():
            return f"[{key}::value]"
        case Between():
            return f"[{key}::from:to]"


def _parts(reference: Reference) -> Iterator[tuple[str, Template]]:
    yield "table", reference.table
    if reference.version is not None:
        yield "version", reference.version
    for column in reference.columns or ():
        yield "column", column
    for condition in reference.conditions:
        key, *values = condition.templates
        yield "key", key
        for value in values:
            yield "value", value


BUILDERS = [read_builder(path, path.stem) for path in FILES]
TEXTS = [text for builder in BUILDERS for text in texts(builder.fields)]
REFERENCES = [reference for each in TEXTS for outer in each.template.references for reference in walk(outer)]
DOCUMENTED = re.findall(
    r"^\| `(<<.*>>)` \|", (CHECKOUT / "docs" / "references.md").read_text().partition("## What")[0], re.MULTILINE
)


def given(builder: RawBuilder, field: str) -> object:
    return builder.fields.get(field)


class TestCoverage:
    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
    def test_every_file_says_what_it_is_for(self, path: Path) -> None:
        first = path.read_text().splitlines()[0]

        assert first.startswith("# ")
        assert first.endswith(".")

    def test_the_readme_tells_of_every_table(self) -> None:
        assert sorted(FOLDERS) == sorted({path.parent.relative_to(EXAMPLES).as_posix() for path in FILES})

    @pytest.mark.parametrize("field", ["name", *Form.model_fields])
    def test_every_field(self, field: str) -> None:
        written = [builder.document.value for builder in BUILDERS]

        assert any(isinstance(fields, dict) and field in fields for fields in written)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (name, value)
            for name, field in Form.model_fields.items()
            if isinstance(field.annotation, type) and (field.annotation is bool or issubclass(field.annotation, Enum))
            for value in ([True, False] if field.annotation is bool else field.annotation)
        ],
    )
    def test_every_value_of_a_closed_set(self, field: str, value: object) -> None:
        assert value in [given(builder, field) for builder in BUILDERS]

    @pytest.mark.parametrize(("builder_type", "return_type"), [*product(BuilderType, ReturnType)])
    def test_every_return_type_of_both_types_of_builders(self, builder_type: str, return_type: str) -> None:
        types = [(given(builder, "builder_type"), given(builder, "return_type")) for builder in BUILDERS]

        assert (builder_type, return_type) in types

    @pytest.mark.parametrize(
        "field",
        [
            name
            for name, field in Form.model_fields.items()
            if get_origin(field.annotation) is list and name != "dependencies"
        ],
    )
    def test_one_word_and_a_list_of_words(self, field: str) -> None:
        assert {str, list} <= {type(given(builder, field)) for builder in BUILDERS}

    def test_every_way_to_name_a_dependency(self) -> None:
        declared = [each for builder in BUILDERS for each in builder.fields.get("dependencies", [])]  # type: ignore[attr-defined]

        assert any(isinstance(each, list) for each in declared)
        assert any("." in each and "(" not in each for each in declared if isinstance(each, str))
        assert any("." in each and "(" in each for each in declared if isinstance(each, str))

    def test_several_threads(self) -> None:
        assert any(threads > 1 for each in BUILDERS if isinstance(threads := given(each, "n_threads"), int))

    @pytest.mark.parametrize("keyword", Keyword)
    def test_every_keyword(self, keyword: Keyword) -> None:
        assert any(keyword in occurring(each.text) for each in TEXTS if each.is_argument)

    def test_a_keyword_within_text(self) -> None:
        assert any(occurring(each.text) and each.text not in list(Keyword) for each in TEXTS)

    @pytest.mark.parametrize(
        ("module", "name", "argument"),
        [
            (module, name, parameter.name)
            for module in builtin.modules()
            for name in builtin.functions(module)
            for parameter in inspect.signature(builtin.function(module, name)).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ],
    )
    def test_every_argument_of_every_built_in_function(self, module: str, name: str, argument: str) -> None:
        arguments = [
            each.fields.get("arguments")
            for each in BUILDERS
            if given(each, "code_module") == module
            and given(each, "python_function") == name
            and not given(each, "is_custom")
        ]

        assert any(isinstance(each, dict) and argument in each for each in arguments)

    def test_the_documentation_names_the_forms_of_references(self) -> None:
        assert len(DOCUMENTED) == len(set(DOCUMENTED)) >= 11

    @pytest.mark.parametrize("form", DOCUMENTED)
    def test_every_form_of_reference(self, form: str) -> None:
        (reference,) = parse(form).references

        assert Shape.of(reference) in {*map(Shape.of, REFERENCES)}

    @pytest.mark.parametrize("part", ["table", "version", "column", "key", "value"])
    def test_a_reference_in_every_part_of_another(self, part: str) -> None:
        assert any(part in Shape.of(reference).nested for reference in REFERENCES)

    @pytest.mark.parametrize(
        "place",
        ["an argument", "a list", "a mapping", "a key of a mapping", "alone", "within text", "a field"],
    )
    def test_a_reference_in_every_place(self, place: str) -> None:
        assert any(place in each.places for each in TEXTS if each.template.references)

    @pytest.mark.parametrize("quote", ["'", '"'])
    def test_quotes(self, quote: str) -> None:
        assert any(part.text.startswith(quote) for reference in REFERENCES for _, part in _parts(reference))

    def test_a_mark_that_is_mere_text(self) -> None:
        assert any("<<" in part for each in TEXTS for part in each.template.parts if isinstance(part, str))


@pytest.mark.parametrize("code", sorted({folder.split("/")[0] for folder in FOLDERS}), indirect=True)
def test_every_table_can_be_built_in_the_order_of_the_readme(
    vault: TableVault, code: None, request: pytest.FixtureRequest
) -> None:
    example = request.node.callspec.params["code"]
    for folder in (folder for folder in FOLDERS if folder.startswith(f"{example}/")):
        # A row-wise IndexBuilder has the rows of the instance that it is made from.
        origin_id = vault.get_table_instances("phrases", version="base")[-1] if folder.endswith("_loud") else ""

        frame = build(vault, folder, origin_id=origin_id)

        columns = [each for path in (EXAMPLES / folder).glob("*.yaml") for each in _columns(path)]
        assert len(frame) > 0
        assert {*columns} <= {*frame.columns}


def _columns(path: Path) -> list[str]:
    columns = read_builder(path, path.stem).fields["changed_columns"]
    words = columns if isinstance(columns, list) else [columns]
    return [str(word) for word in words if "<<" not in str(word)]


@in_vault("topics")
@pytest.mark.usefixtures("code")
class TestTopics:
    def test_documents_are_the_topics_of_this_python(self, vault: TableVault) -> None:
        frame = build(vault, "topics/documents")

        assert dict(zip(frame["name"], frame["text"], strict=True)) == pydoc_data.topics.topics

    def test_analysis_has_a_row_with_a_note_for_each_document(self, vault: TableVault) -> None:
        documents = build(vault, "topics/documents")
        frame = build(vault, "topics/analysis")

        assert frame["name"].tolist() == documents["name"].tolist()
        row = frame.set_index("name").loc["assert"]
        assert row["pace"] == round(row["words"] / row["sentences"], 1)
        assert len(row["keywords"]) == 3
        note = Path(row["note"]).read_text()
        assert note.startswith(
            f"# assert\n\n{row['words']} words, {row['pace']} a sentence.\n\n- {row['keywords'][0]}\n"
        )
        assert not frame.isna().any(axis=None)


@in_vault("evaluation")
@pytest.mark.usefixtures("code")
class TestEvaluation:
    def test_questions_have_the_dtypes_that_the_file_names(self, vault: TableVault) -> None:
        frame = build(vault, "evaluation/questions")

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
        build(vault, "evaluation/questions")
        (origin_id,) = vault.get_table_instances("questions")
        text = vault.get_code_module_str("evaluation").replace('("q1"', '("q5"')
        vault.create_code_module("evaluation", text=text)
        add(vault, "evaluation/questions", origin_id=origin_id)

        vault.execute_instance("questions")

        assert vault.get_dataframe("questions")["id"].tolist() == ["q1", "q5", "q2", "q3", "q4"]

    def test_answers_are_asked_for_graded_and_summed_up(self, vault: TableVault) -> None:
        for table in ("questions", "geography", "music"):
            build(vault, f"evaluation/{table}")

        frame = build(vault, "evaluation/answers")

        assert frame["answer"].fillna("-").tolist() == ["Lima", "Mekong", "-", "Beethoven"]
        assert [usage["hinted"] for usage in frame["usage"]] == [True, False, False, False]
        assert frame["certainty"].dtype == "Float32"
        assert frame["points"].tolist() == [1, 0, 0, 2]
        assert frame["total"].tolist() == [1, 1, 1, 3]


@in_vault("llm")
@pytest.mark.usefixtures("code")
class TestLlm:
    def test_a_model_is_asked_about_reviews(self, vault: TableVault) -> None:
        build(vault, "llm/services")

        frame = build(vault, "llm/reviews")

        assert frame["mood"].tolist() == ["glad", "glad", "calm", "glad", "sad"]
        assert frame["words"].tolist() == [7, 8, 4, 8, 6]
        assert frame["longest"].tolist() == ["saved", "good", "monday", "tuesday", "sorry"]
        assert frame["letters"].tolist() == [19, 23, 14, 26, 20]


@in_vault("files")
@pytest.mark.usefixtures("code")
class TestFiles:
    def test_cities_are_those_of_the_file(self, vault: TableVault) -> None:
        frame = build(vault, "files/cities")

        assert frame["zip_code"].tolist() == ["00100", "0150", "10121", "20001"]
        assert frame["population"].isna().tolist() == [False, False, False, True]
        assert frame.dtypes.astype(str).to_dict()["population"] == "Int64"

    def test_stations_are_read_as_spreadsheets_write_them(self, vault: TableVault) -> None:
        frame = build(vault, "files/stations")

        assert frame["station"].tolist() == ["Zürich", "NA", "Østfold", "Lima"]
        assert frame["height"].isna().tolist() == [False, False, True, True]
        assert frame["height"].tolist()[:2] == [556, 12]

    def test_readings_are_some_columns_of_the_file(self, vault: TableVault) -> None:
        frame = build(vault, "files/readings")

        assert frame.columns.tolist() == ["station", "celsius"]
        assert frame["station"].tolist() == ["Zürich", "Lima", "Lima"]
        assert frame["celsius"].fillna(-1.0).tolist() == [11.5, 22.0, -1.0]

    def test_papers_are_there_twice(self, vault: TableVault) -> None:
        frame = build(vault, "files/papers")

        assert frame["file_name"].tolist() == ["crows_0", "crows_1", "foxes_0", "foxes_1"]
        papers = [Path(path).read_text() for path in frame["artifact_name"]]
        assert [animal in paper for paper, animal in zip(papers, ["crow", "crow", "fox", "fox"], strict=True)] == [
            True
        ] * 4

    def test_measurements_keep_lists_and_what_is_missing(self, vault: TableVault) -> None:
        frame = build(vault, "files/measurements")

        assert frame["values"].tolist() == [[18.5, 21.0], [4.0], None]
        assert frame["note"].isna().tolist() == [True, True, False]

    def test_letters_are_artifacts(self, vault: TableVault) -> None:
        frame = build(vault, "files/letters")

        assert frame["file_name"].tolist() == ["first.txt", "first.txt", "second.txt"]
        assert [Path(path).read_text().splitlines()[1] for path in frame["artifact_name"]] == [
            "it rains here, too.",
            "it rains.",
            "the sun is out.",
        ]
        assert frame["artifact_name"][0].endswith("/answers/first.txt")

    def test_a_tour_is_the_same_each_time(self, vault: TableVault) -> None:
        build(vault, "files/cities")
        first, again = build(vault, "files/tour"), build(vault, "files/tour")

        assert first["id"].tolist() == again["id"].tolist()
        assert first["id"].nunique() == 2

    def test_codes_are_random_and_those_with_a_seed_the_same_each_time(self, vault: TableVault) -> None:
        first, again = build(vault, "files/codes"), build(vault, "files/codes")

        assert (first == again).all().to_dict() == {
            "purpose": True,
            "code": True,
            "spare": True,
            "nonce": False,
            "pin": True,
            "serial": True,
        }
        strings = first.drop(columns="purpose").to_numpy().ravel().tolist()
        assert len({*strings}) == 15
        assert {len(each) for each in strings} == {20}


@in_vault("stream")
@pytest.mark.usefixtures("code")
class TestStream:
    def test_definitions_are_those_of_the_standard_library(self, vault: TableVault) -> None:
        frame = build(vault, "stream/definitions")

        found = frame[(frame["module"] == "enum") & (frame["name"] == "Enum")].iloc[0]
        lines = Path(inspect.getsourcefile(Enum) or "").read_text().splitlines()
        assert lines[found["line"] - 1].startswith("class Enum")
        assert len(frame) > 5_000
        assert found[["kind", "is_private", "letters"]].tolist() == ["class", False, 4]

    def test_definitions_may_begin_anywhere(self, vault: TableVault) -> None:
        whole = build(vault, "stream/definitions")
        add(vault, "stream/definitions")

        vault.execute_instance("definitions", start_at={"definitions_index": len(whole) - 3})

        assert vault.get_dataframe("definitions")["name"].tolist() == whole["name"].tolist()[-3:]

    def test_points_are_added_in_batches(self, vault: TableVault) -> None:
        first = build(vault, "stream/points")
        (origin_id,) = vault.get_table_instances("points")
        add(vault, "stream/points", origin_id=origin_id)
        text = vault.get_builder_str("points", "points_index", is_temp=True)
        vault.create_builder_file("points", "points_index", text=text.replace("total_rows: 1000", "total_rows: 1300"))

        process_id = vault.execute_instance("points")

        frame = vault.get_dataframe("points")
        assert len(frame) == 1300
        pd.testing.assert_frame_equal(frame.head(900), first.head(900))
        assert vault.get_process(process_id).steps[0].rows_reused == 900


@in_vault("shop")
@pytest.mark.usefixtures("code")
class TestShop:
    @pytest.fixture(autouse=True)
    def tables(self, vault: TableVault, code: None) -> None:
        for table in ("customers", "addresses", "orders", "coupons", "phrases", "phrases_casual", "settings"):
            build(vault, f"shop/{table}")

    def test_rows_are_as_they_stand_in_the_file(self, vault: TableVault) -> None:
        orders, addresses = vault.get_dataframe("orders"), vault.get_dataframe("addresses")

        assert orders.loc[2].to_dict() == {"customer": "c2", "year": 2023, "item": "rug", "total": 80, "gift": False}
        assert orders.dtypes.astype(str)[["year", "item", "gift"]].tolist() == ["Int64", "string", "boolean"]
        assert addresses["email"].isna().tolist() == [True, False]
        assert addresses["phone"].tolist() == ["0123", "0456"]

    def test_a_version_is_made_from_an_instance(self, vault: TableVault) -> None:
        (origin_id,) = vault.get_table_instances("phrases", version="casual")

        frame = build(vault, "shop/phrases_loud", origin_id=origin_id)

        assert frame.to_dict("list") == {
            "phrase": ["greeting", "farewell"],
            "en": ["Hi!", "See you!"],
            "de": ["Hallo!", "Bis bald!"],
        }

    def test_letters_say_what_was_looked_up(self, vault: TableVault) -> None:
        frame = build(vault, "shop/letters")

        assert frame["text"].tolist() == [
            "Dear Ada Bell,\nYou spent 135, most of it on: chair.\nLetter 0, <<date>>\nSPRING\nYours sincerely",
            "Hallo Cem Demir,\nYou spent 80, most of it on: desk.\nLetter 1, <<date>>\nBis bald",
            "Hi Eve Fox,\nYou spent 0, most of it on: nothing.\nLetter 2, <<date>>\nSUMMER\nSee you",
        ]
        assert frame["city"].tolist() == ["Bath", "Bremen", "unknown"]
        assert frame["spent"].dtype == "Int64"

    def test_a_report_has_its_figures_without_a_row(self, vault: TableVault) -> None:
        table, version = add(vault, "shop/report")
        process_id = vault.execute_instance(table, version)

        frame = vault.get_dataframe(table)

        assert dict(zip(frame["figure"], frame["value"], strict=True)) == {
            "orders": "5",
            "customers": "Ada Bell (c1), Cem Demir (c2), Eve Fox (c3)",
            "phrases": "greeting, farewell",
            "bath": "ada@example.org",
            "gifts": "[120, 15]",
            "lost": "None",
            "first": "['lamp', 'chair']",
            "made_by": f"process {process_id}",
        }
