"""``scripts/docs``: the site has every page, leads nowhere wrong, and fetches nothing; what is wrong is told."""

from __future__ import annotations

import doctest
import html
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from scripts.website import __main__ as website
from scripts.website import checks, commands, examples, sources
from scripts.website.sources import SiteError
from tests.test_documentation import CHECKOUT, cli_commands

building = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "site"
    website.build(CHECKOUT, folder)
    return folder


def shown(page: Path) -> str:
    """Return what a reader sees of a page."""
    text = re.sub(r"(?s)<(script|style|head|svg)\b.*?</\1>|<!--.*?-->", "", page.read_text())
    return html.unescape(re.sub(r"<[^>]+>", "", text))


class TestTheSite:
    pytestmark = building

    def test_has_every_page(self, site: Path) -> None:
        pages = {path.relative_to(CHECKOUT / "docs").with_suffix(".html") for path in CHECKOUT.glob("docs/**/*.md")}

        there = {path.relative_to(site) for path in site.rglob("*.html")}

        assert there >= pages | {Path("readme.html"), Path("examples.html"), Path("commands.html")}

    def test_shows_the_names_of_files_and_no_marks(self, site: Path) -> None:
        text = shown(site / "builders.html")

        assert "code/words.py" in text
        assert "<!--" not in text
        assert "file: code/words.py" not in text

    def test_tells_every_command_and_option(self, site: Path) -> None:
        text = shown(site / "commands.html")

        assert cli_commands()
        assert all(f"{command}¶" in text for command in cli_commands())
        assert {"--process-id", "--json", "--on-change", "error|continue|recompute|keep"} <= set(text.split())

    def test_shows_the_examples(self, site: Path) -> None:
        text = shown(site / "examples.html")

        assert all(Path(file).name in text for file in examples.files(CHECKOUT))

    def test_has_what_is_public(self, site: Path) -> None:
        assert "TableVault.execute_instance" in shown(site / "python.html")

    def test_is_replaced_by_the_next_one_and_nothing_else_is(self, site: Path, tmp_path: Path) -> None:
        (tmp_path / "mine").touch()

        with pytest.raises(SiteError, match="holds something else"):
            website.build(CHECKOUT, tmp_path)

        assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_everything_that_is_wrong_is_told_with_its_place(checkout: Path, tmp_path: Path) -> None:
    add(checkout, "docs/lonely.md", "# A page that no other leads to\n")
    add(checkout, "docs/vault.md", "# The vault\n\n\n\n[a heading](builders.md#nowhere)\n")
    add(checkout, "docs/reuse.md", "# Reuse\n\n```{eval-rst}\n:class:`tablevault_like.Nothing`\n```\n")
    (checkout / "docs/artifacts.md").unlink()
    for page in checkout.glob("docs/*.md"):
        page.write_text(re.sub(r"\]\(artifacts\.md[^)]*\)", "](builders.md)", page.read_text()))
    add(checkout, "README.md", "# A tour\n")

    with pytest.raises(SiteError) as caught:
        website.build(checkout, tmp_path / "site")

    told = str(caught.value)
    assert f"{checkout}/docs/lonely.md: WARNING: document isn't included in any toctree" in told
    assert f"{checkout}/docs/vault.md:5: WARNING: " in told
    assert "tablevault_like.Nothing" in told
    assert "'artifacts'" in told
    assert not (tmp_path / "site").exists()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with the pages of this one, which may be changed."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("docs", examples.FOLDER):
        shutil.copytree(CHECKOUT / name, folder / name)
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, folder)
    # What the tests write of is imported from here.
    (folder / "tablevault_like").symlink_to(CHECKOUT / "tablevault_like")
    return folder


def add(checkout: Path, name: str, text: str) -> None:
    (checkout / name).write_text(text)


@pytest.fixture
def written(checkout: Path, tmp_path: Path) -> Callable[[str], str]:
    """Return a function that gives what a page of this text is in the site's sources."""

    def written(text: str) -> str:
        add(checkout, "docs/vault.md", text)
        folder = tmp_path / "pages"
        sources.write(checkout, folder)
        return (folder / "vault.md").read_text()

    return written


class TestAPage:
    def test_keeps_its_lines_where_they_are(self, checkout: Path, tmp_path: Path) -> None:
        origins = sources.write(checkout, tmp_path / "pages")

        for name, origin in origins.items():
            lines = (tmp_path / "pages" / name).read_text().splitlines()
            for number, line in enumerate(origin.read_text().splitlines()):
                if line.startswith("## "):
                    assert lines[number] == line, f"{origin}:{number + 1}"

    def test_shows_the_name_of_a_file_above_it(self, written: Callable[[str], str]) -> None:
        text = written("# A\n\n<!-- file: code/a.py -->\n```python\na = 1\n```\n")

        assert text == "# A\n\n```{code-block} python\n:caption: code/a.py\na = 1\n```\n"

    def test_captions_are_names_and_no_markup(self, written: Callable[[str], str]) -> None:
        text = written("# A\n\n<!-- file: code/my_words/__init__.py -->\n```python\na = 1\n```\n")

        assert "\n:caption: code/my\\_words/\\_\\_init\\_\\_.py\n" in text

    def test_has_no_other_marks(self, written: Callable[[str], str]) -> None:
        assert written("# A\n<!-- no-run: it costs -->\n```python\n1 / 0\n```\n") == "# A\n\n```python\n1 / 0\n```\n"

    def test_shows_no_empty_line_after_a_doctest(self, written: Callable[[str], str]) -> None:
        assert written("```python\n>>> 1\n1\n\n>>> 2\n2\n\n```\nb\n") == "```python\n>>> 1\n1\n\n>>> 2\n2\n```\n\nb\n"

    def test_leaves_blocks_alone(self, written: Callable[[str], str]) -> None:
        text = "# A\n\n````text\n<!-- file: a -->\n```\n[a](../nothing.md)\n````\n\n   ```\n   [b](c)\n   ```\n"
        text += "```{note}\n[a](b.md)\n```\n"

        assert written(text) == text

    @pytest.mark.parametrize(
        ("link", "expected"),
        {
            "builders.md#arguments": "builders.md#arguments",
            "#here": "#here",
            "https://example.org/a.md": "https://example.org/a.md",
            "../README.md#limits": "readme.md#limits",
            "../CHANGELOG.md": "changelog.md",
            "../LICENSE": "changelog.md#license",
            "../builders_examples": "examples.md",
            "../builders_examples/topics": "examples.md#example-topics",
            "../builders_examples/topics/analysis/note.yaml": "examples.md#example-topics-analysis-note-yaml",
            "design-notes": "design-notes/index.md",
            "design-notes/0001-process-folders.md": "design-notes/0001-process-folders.md",
        }.items(),
    )
    def test_links_to_pages(self, written: Callable[[str], str], link: str, expected: str) -> None:
        assert written(f"# A\n\nIt is [there]({link}), is it?\n") == f"# A\n\nIt is [there]({expected}), is it?\n"

    @pytest.mark.parametrize("link", ["nothing.md", "../scripts/test", "../../elsewhere.md"])
    def test_refuses_links_to_what_has_no_page(self, written: Callable[[str], str], link: str) -> None:
        with pytest.raises(SiteError, match=rf"vault\.md: links to {re.escape(link)}"):
            written(f"# A\n\n[there]({link})\n")


class TestChecks:
    @pytest.mark.parametrize(
        "text",
        [
            '<script src="https://cdn.example/a.js"></script>',
            '<link rel="stylesheet" href="//cdn.example/a.css">',
            '<link rel="preload stylesheet" href="http://cdn.example/a.css">',
            '<img srcset="https://example.org/a.png 2x" src="a.png">',
            '<iframe src="https://example.org"></iframe>',
            '<p style="background: url(https://example.org/a.png)">',
            "<style>@import 'https://example.org/a.css';</style>",
        ],
    )
    def test_nothing_is_fetched_from_elsewhere(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "python.html").write_text(text)
        (tmp_path / "a.png").touch()

        assert any("python.html: fetches " in problem for problem in checks.problems(tmp_path))

    def test_nor_by_a_style_sheet(self, tmp_path: Path) -> None:
        (tmp_path / "python.html").touch()
        (tmp_path / "a.css").write_text("a { src: url('https://fonts.example/a.woff2') } b { src: url(data:,x) }")

        found = [problem for problem in checks.problems(tmp_path) if "fetches" in problem]

        assert found == ["a.css: fetches https://fonts.example/a.woff2"]

    def test_links_may_lead_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / "python.html").write_text('<a href="https://example.org">a</a><a href="#b">b</a><b id="b"></b>')

        assert not any("python.html" in problem for problem in checks.problems(tmp_path))

    @pytest.mark.parametrize("link", ["b.html", "a/", "#b", "python.html#b", "../b.html"])
    def test_links_lead_somewhere(self, tmp_path: Path, link: str) -> None:
        (tmp_path / "python.html").write_text(f'<a href="{link}">a</a>')

        assert f"python.html: links to {link}, which isn't there." in checks.problems(tmp_path)


def test_a_file_that_is_not_text_is_listed_with_its_size(tmp_path: Path) -> None:
    folder = tmp_path / examples.FOLDER / "vault" / "data"
    folder.mkdir(parents=True)
    (folder / "rows.parquet").write_bytes(b"PAR1\xff\x00")
    (folder / "rows.csv").write_text("Zürich\n", encoding="utf-8")

    listed = examples.listing(tmp_path)

    assert "### data/rows.parquet\n\n````text\n6 bytes that aren't text\n````\n" in listed
    assert "````text\nZürich\n````\n" in listed


@pytest.mark.parametrize("module", [checks, commands, examples, sources], ids=lambda module: module.__name__)
def test_its_examples_are_right(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
