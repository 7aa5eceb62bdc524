"""How generated files are written: the notice at their head, YAML, columns and what they hold."""

import textwrap
from collections.abc import Iterable

import yaml

from flows.contract.spec import Column

NOTICE = "Generated from the contract by `make contract`; do not edit."


def sql_document(comments: Iterable[str], body: str) -> bytes:
    """A model: the notice, the comments wrapped, the SQL."""
    lines = [line for comment in comments for line in textwrap.wrap(comment, 107)]
    return "".join(f"-- {line}\n" for line in (NOTICE, *lines)).encode() + body.encode()


def yaml_document(node: dict[str, object]) -> bytes:
    """A properties file of dbt, under the notice."""
    return f"# {NOTICE}\n".encode() + yaml_text(node).encode()


def yaml_text(node: object) -> str:
    """YAML in the order given, what occurs twice written twice."""
    text: str = yaml.dump(node, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    return text


def column_yaml(column: Column) -> dict[str, object]:
    """A column as dbt's properties describe it."""
    return {
        "name": column.name,
        "description": column.description,
        "data_type": "varchar[]" if column.type == "string[]" else column.type,
        "config": _OneLine({"meta": {"privacy": column.privacy}}),
    }


class _OneLine(dict[str, object]):
    """Written in braces on one line, as people write it."""


class _Plain(yaml.SafeDumper):  # type: ignore[misc]
    """Writes as people do: lists indented, names in a list on one line, what occurs twice twice and not as an alias."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


_Plain.add_representer(
    list,
    lambda dumper, nodes: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", nodes, flow_style=all(isinstance(node, str) for node in nodes)
    ),
)
_Plain.add_representer(
    _OneLine,
    lambda dumper, node: dumper.represent_mapping("tag:yaml.org,2002:map", node, flow_style=True),
)
