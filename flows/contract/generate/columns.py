"""The columns of events in models whose logic is written by hand.

Such a model, and its description, has one part between two marks: ``make contract`` writes what stands there, and
nothing else of the file. So a column that the contract has cannot be forgotten, and the logic reads as one piece.
"""

import re
import textwrap
from pathlib import Path

import click

from flows.contract.generate.documents import column_yaml, yaml_text
from flows.contract.generate.staging import staged_columns
from flows.contract.spec import LINEAGE, Column, DatasetSpec

FOLDER = Path("models/intermediate/events")
BEGIN = "Generated from the contract by `make contract`, to the end of generated columns."
END = "End of generated columns."
_PART = re.compile(
    rf"^(?P<begin>(?P<indent> *)(?:--|#) {re.escape(BEGIN)}\n)(?P<part>.*?)(?P<end>^ *(?:--|#) {re.escape(END)}\n)",
    re.MULTILINE | re.DOTALL,
)


def of_events(spec: DatasetSpec, project: Path) -> dict[Path, bytes]:
    """The models of events that have a generated part, with this part as the contract says it.

    Raises ``click.ClickException`` where one is not there or lacks its marks.
    """
    parts = {
        FOLDER / "int_events__copies_compared.sql": _compared(spec),
        FOLDER / "int_events__events_deduplicated.sql": _selected(spec),
        FOLDER / "int_events__events_deduplicated.yml": _described(spec),
    }
    return {path: _with_part(project, path, part) for path, part in parts.items()}


def _with_part(project: Path, path: Path, part: str) -> bytes:
    try:
        text = (project / path).read_text()
    except FileNotFoundError:
        raise click.ClickException(f"{path}: not there; its columns follow from the contract") from None
    marks = list(_PART.finditer(text))
    if len(marks) != 1:
        raise click.ClickException(
            f"{path}: its generated columns stand between the comments {BEGIN!r} and {END!r}, each once on a line of "
            "its own; put them back"
        )
    (mark,) = marks
    written = textwrap.indent(part, mark["indent"])
    return (text[: mark.end("begin")] + written + text[mark.start("end") :]).encode()


def _columns(spec: DatasetSpec) -> list[Column]:
    """All of staging but where a copy came from: that is not the event's, and is written by hand."""
    return [each.column for each in staged_columns(spec) if each.column.name not in LINEAGE]


def _selected(spec: DatasetSpec) -> str:
    """Each column; what needs consent, where there is still consent to one of its purposes."""
    says = {column: purpose for purpose, column in spec.said_of_purposes.items()}
    needs = spec.with_consent_alone
    lines = []
    for column in _columns(spec):
        if column.name in says:
            lines.append(f"{{{{ still_has_consent('{says[column.name]}') }}}} as {column.name},\n")
        elif column.name in needs:
            purposes = ", ".join(f"'{purpose}'" for purpose in says.values() if purpose in needs[column.name])
            lines.append(f"{{{{ with_consent('{column.name}', [{purposes}]) }}}} as {column.name},\n")
        else:
            lines.append(f"{column.name},\n")
    return "".join(lines)


def _described(spec: DatasetSpec) -> str:
    return yaml_text([column_yaml(_with_consent_said(spec, column)) for column in _columns(spec)])


def _with_consent_said(spec: DatasetSpec, column: Column) -> Column:
    said = ""
    if column.name in spec.said_of_purposes.values():
        said = " False where it was withdrawn since."
    elif needed := spec.with_consent_alone.get(column.name):
        purposes = [purpose for purpose in spec.said_of_purposes if purpose in needed]
        said = f" NULL without consent to {' or '.join(purposes)}."
    return column.model_copy(update={"description": column.description + said})


def _compared(spec: DatasetSpec) -> str:
    """What tells copies of one event and day apart: what a retry repeats, its time first, and what it does not."""
    identity = {f.column for f in spec.fields if f.name in spec.key} | {"event_date"}
    of_delivery = [f.column for f in spec.fields if f.per_delivery]
    repeated = [c.name for c in _columns(spec) if c.name not in identity and c.name not in of_delivery]
    repeated.sort(key=lambda name: name != spec.day_of)
    return _jinja_list("compared", repeated) + _jinja_list("of_delivery", of_delivery)


def _jinja_list(name: str, values: list[str]) -> str:
    lines = textwrap.wrap(", ".join(f"'{value}'" for value in values), 110)
    return f"{{% set {name} = [\n" + "".join(f"    {line}\n" for line in lines) + "] %}\n"
