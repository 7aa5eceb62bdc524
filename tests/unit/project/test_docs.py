"""The docs lead somewhere: links, headings, the index of pages."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.contract.spec import PROJECT

FOLDERS = ("docs", "flows", "deploy", "contracts", "benchmarks")
PAGES = sorted([*PROJECT.glob("*.md"), *(page for folder in FOLDERS for page in (PROJECT / folder).rglob("*.md"))])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """A page without its blocks of code, in which brackets mean something else."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{link}: there is no {target}"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{link}: {target.name} has no heading for it"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [*broken(page)] == []


def test_the_readme_is_one_screen_and_its_claims_name_their_tests() -> None:
    text = (PROJECT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"\(\[test\]\(tests/", text.partition("## What it promises")[2])) == 5


def test_every_page_is_in_the_index() -> None:
    index = (PROJECT / "docs" / "README.md").read_text()
    pages = [
        page for page in (PROJECT / "docs").glob("**/*.md") if page.parent.name != "adr" and page.name != "README.md"
    ]
    assert [page.name for page in pages if page.name not in index] == []


def test_code_owners_are_those_of_the_models() -> None:
    groups = yaml.safe_load((PROJECT / "models" / "_groups.yml").read_text())["groups"]
    lines = [line.split() for line in (PROJECT / ".github" / "CODEOWNERS").read_text().splitlines() if line[:1] in "*/"]
    owned = {path: owner.rpartition("/")[2] for path, owner in lines}
    assert owned.pop("*") == "data-platform"
    assert {f"/models/marts/{group['name']}/" for group in groups} - {"/models/marts/platform/"} <= owned.keys()
    for path, owner in owned.items():
        assert (PROJECT / path.strip("/")).is_dir(), path
        assert owner == next(g["owner"]["name"] for g in groups if g["name"] == path.split("/")[-2]), path
