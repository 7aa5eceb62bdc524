"""What the project says of its models, as pages need it, and the way of a column back to where it was landed."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict


class Source(BaseModel):
    """A column of a table, from which another is made."""

    model_config = ConfigDict(frozen=True)

    table: str
    column: str


class Use(BaseModel):
    """Who uses a table: an exposure that the project declares, as a report, and who owns it."""

    model_config = ConfigDict(frozen=True)

    label: str
    kind: str
    url: str
    owner: str


class Documented(BaseModel):
    """A model, seed or source of the project; a source is named as ``landed.events``.

    ``id`` is dbt's, ``path`` the file it is written in, ``reads`` the tables it reads. ``sources`` has for each column
    the columns that its values are made of: none where it counts rows, or where that cannot be read from the SQL.
    ``fresh_within_hours`` is how old its rows are at most, as promised; ``version`` and ``deprecation_date`` are those
    of a model with versions.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    path: str
    reads: tuple[str, ...] = ()
    sources: Mapping[str, tuple[Source, ...]] = {}
    fresh_within_hours: int | None = None
    version: str = ""
    deprecation_date: str = ""
    version_policy: str = ""
    uses: tuple[Use, ...] = ()


class ProjectRecord(BaseModel):
    """Everything that the project documents, by name.

    ``fingerprint`` is of the files it was made from, ``unread`` says which lineage could not be read.
    """

    model_config = ConfigDict(frozen=True)

    fingerprint: str
    tables: Mapping[str, Documented]
    unread: tuple[str, ...] = ()

    def way_back(self, table: str, column: str) -> list[list[Source]]:
        """The columns that a column is made of, and those that these are made of, back to what was landed.

        One list per step: what it is made of directly comes first. A column stands once, at the farthest step at which
        it is met, so that each is made of later ones alone.
        """
        steps: dict[Source, int] = {}
        start = Source(table=table, column=column)
        pending = [(source, 1, frozenset({start})) for source in self._sources(start)]
        while pending:
            source, step, met = pending.pop()
            if source in met or steps.get(source, 0) >= step:
                continue
            steps[source] = step
            pending += [(further, step + 1, met | {source}) for further in self._sources(source)]
        return [
            sorted((source for source, at in steps.items() if at == step), key=lambda one: (one.table, one.column))
            for step in range(1, max(steps.values(), default=0) + 1)
        ]

    def _sources(self, source: Source) -> tuple[Source, ...]:
        documented = self.tables.get(source.table)
        return documented.sources.get(source.column, ()) if documented else ()


def read_project_record(
    manifest: Mapping[str, Any], edges: Sequence[Mapping[str, Any]], fingerprint: str, unread: Sequence[str] = ()
) -> ProjectRecord:
    """What dbt's manifest and the edges of dbt-colibri say.

    An edge leads from ``source``, ``sourceColumn`` to ``target``, ``targetColumn``; tables are named by dbt's ids. One
    without a column says that a table is read at all, as by a join: the manifest knows that.
    """
    nodes: dict[str, Any] = {**manifest["nodes"], **manifest["sources"]}
    kept = {id_: node for id_, node in nodes.items() if node["resource_type"] in ("model", "seed", "source")}
    sources: dict[str, dict[str, dict[Source, None]]] = {}
    for edge in edges:
        if edge["source"] in kept and edge["sourceColumn"] and edge["targetColumn"]:
            source = Source(table=_name(kept[edge["source"]]), column=edge["sourceColumn"])
            sources.setdefault(edge["target"], {}).setdefault(edge["targetColumn"], {})[source] = None
    uses = _uses(manifest)
    return ProjectRecord(
        fingerprint=fingerprint,
        unread=tuple(unread),
        tables={
            _name(node): Documented(
                id=id_,
                path=node["original_file_path"],
                reads=tuple(sorted({_name(kept[parent]) for parent in _parents(node) if parent in kept})),
                sources={column: tuple(found) for column, found in sources.get(id_, {}).items()},
                fresh_within_hours=_meta(node).get("fresh_within_hours"),
                version=str(node.get("version") or ""),
                deprecation_date=str(node.get("deprecation_date") or "")[:10],
                version_policy=" ".join(_meta(node).get("version_policy", "").split()),
                uses=tuple(uses.get(id_, ())),
            )
            for id_, node in kept.items()
        },
    )


def _uses(manifest: Mapping[str, Any]) -> dict[str, list[Use]]:
    """The exposures that read each table, by its id."""
    found: dict[str, list[Use]] = {}
    for exposure in manifest["exposures"].values():
        owner = exposure["owner"]
        use = Use(
            label=exposure.get("label") or exposure["name"],
            kind=str(exposure["type"]),
            url=exposure.get("url") or "",
            owner=owner.get("name") or owner.get("email") or "",
        )
        for id_ in exposure["depends_on"]["nodes"]:
            found.setdefault(id_, []).append(use)
    return found


def _name(node: Mapping[str, Any]) -> str:
    """The name of a table; of what landed, as ``landed.events``."""
    return f"{node['source_name']}.{node['name']}" if node["resource_type"] == "source" else str(node["name"])


def _parents(node: Mapping[str, Any]) -> list[str]:
    return list(node.get("depends_on", {}).get("nodes", ()))


def _meta(node: Mapping[str, Any]) -> dict[str, Any]:
    return dict(node["config"].get("meta") or {})
