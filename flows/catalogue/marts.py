"""The list of the marts, from what the models' YAML says: docs/marts.md with who may see each and one sentence of it,
and their names in the README.

``python -m flows.catalogue.marts`` writes both; ``--check`` writes nothing and exits 1 where one is out of date.
"""

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import click
import yaml

from flows.contract.spec import PROJECT

README = Path("README.md")
LIST = Path("docs/marts.md")
MARTS = Path("models/marts")
BEGIN = "<!-- marts: from the models' YAML by `make contract`; do not edit -->\n"
END = "<!-- /marts -->\n"
HEAD = """# The marts

<!-- from the models' YAML by `make contract`; do not edit -->

What is published, and [who may see it](guides/operating.md#who-may-read-what). A name leads to its SQL. Columns and how
fresh a table is are on the *Data* pages of the site and in `published_tables`; how to query them is in
[for analysts](guides/analysts.md).
"""


@dataclass(frozen=True)
class Mart:
    """A mart, as its YAML has it; ``sql`` is the path of its SQL in the project."""

    domain: str
    name: str
    sql: Path
    visibility: str
    sentence: str


def first_sentence(text: str) -> str:
    """What a description says first, on one line: of a model, what a row of it is."""
    found = re.match(r".+?\.(?=\s|$)", text.strip(), re.DOTALL)
    return " ".join((found[0] if found else text).split())


def read_marts(project: Path) -> list[Mart]:
    """Every mart, domain by domain."""
    return [
        Mart(
            domain=path.parent.name,
            name=model["name"],
            sql=path.relative_to(project).with_name(f"{model['name']}.sql"),
            visibility=model.get("config", {}).get("meta", {}).get("visibility", ""),
            sentence=first_sentence(model.get("description", "")),
        )
        for path in sorted((project / MARTS).rglob("*.yml"))
        for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", [])
    ]


def list_of(marts: list[Mart]) -> str:
    """docs/marts.md: a table for each domain."""
    parts = [HEAD]
    for domain, found in groupby(marts, lambda mart: mart.domain):
        head = [f"## {domain}\n", "| mart | visibility | what it has |", "| --- | --- | --- |"]
        rows = [f"| [`{m.name}`](../{m.sql.as_posix()}) | {m.visibility} | {m.sentence} |" for m in found]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def names_of(marts: list[Mart]) -> str:
    """The table in the README: the marts of each domain."""
    lines = ["| domain | marts |", "| --- | --- |"]
    for domain, found in groupby(marts, lambda mart: mart.domain):
        lines.append(f"| {domain} | {', '.join(f'[`{m.name}`]({m.sql.as_posix()})' for m in found)} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str, table: str) -> str:
    """The README with this table between its marks.

    Raises ``click.ClickException`` where they are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise click.ClickException(
            f"README.md has no place for the list of the marts: put these two lines where it is to be\n{BEGIN}{END}"
        )
    return f"{before}{begin}\n{table}\n{end}{after}"


def written(project: Path) -> dict[Path, str]:
    """The files that list the marts, and what stands in them."""
    marts = read_marts(project)
    readme = (project / README).read_text(encoding="utf-8")
    return {project / README: with_table(readme, names_of(marts)), project / LIST: list_of(marts)}


@click.command(help="Write the lists of the marts into docs/marts.md and the README.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where one is out of date.")
def main(check: bool) -> None:
    """The command."""
    for path, wanted in written(PROJECT).items():
        if not check:
            path.write_text(wanted, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
            name = path.relative_to(PROJECT)
            raise click.ClickException(f"the list of the marts in {name} is out of date; run `make contract`")


if __name__ == "__main__":
    main()
