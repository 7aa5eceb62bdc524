"""The list of the marts in the README: who may see each, and one sentence of it, from what the models' YAML says.

``python -m flows.catalogue.readme`` writes it; ``--check`` writes nothing and exits 1 where it is out of date.
"""

import re
from pathlib import Path

import click
import yaml

from flows.contract.spec import PROJECT

README = PROJECT / "README.md"
MARTS = Path("models/marts")
BEGIN = "<!-- marts: from the models' YAML by `make contract`; do not edit -->\n"
END = "<!-- /marts -->\n"


def first_sentence(text: str) -> str:
    """What a description says first, on one line: of a model, what a row of it is."""
    found = re.match(r".+?\.(?=\s|$)", text.strip(), re.DOTALL)
    return " ".join((found[0] if found else text).split())


def marts_table(project: Path) -> str:
    """Every mart, who may see it and its sentence, as a table in Markdown, domain by domain."""
    lines = ["| domain | mart | visibility | what it has |", "| --- | --- | --- | --- |"]
    for path in sorted((project / MARTS).rglob("*.yml")):
        for model in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("models", []):
            where = path.relative_to(project).with_name(f"{model['name']}.sql")
            sentence = first_sentence(model.get("description", ""))
            visibility = model.get("config", {}).get("meta", {}).get("visibility", "")
            lines.append(f"| {path.parent.name} | [`{model['name']}`]({where}) | {visibility} | {sentence} |")
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


@click.command(help="Write the list of the marts into the README.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where README.md is out of date.")
def main(check: bool) -> None:
    """The command."""
    now = README.read_text(encoding="utf-8")
    wanted = with_table(now, marts_table(PROJECT))
    if not check:
        README.write_text(wanted, encoding="utf-8")
    elif now != wanted:
        raise click.ClickException("the list of the marts in README.md is out of date; run `make contract`")


if __name__ == "__main__":
    main()
