"""What dbt's manifest says of the project's models and tests."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.build.logic import ProjectLogic, is_touched_by_day, variables_of

if TYPE_CHECKING:  # dbt takes over a second to import, and most commands run none
    from dbt.contracts.graph.manifest import Manifest

STORED = ("incremental", "table")
# The layers that are published.
SCHEMAS = ("marts", "ops")
# Every run changes these: that alone is no reason for another test or version.
RUN_RECORDS = ("ops_model_runs", "ops_test_runs", "ops_backfills")


@dataclass(frozen=True)
class Model:
    """A model as the manifest has it; ``day_column`` is that of the day it is partitioned by, None where it is not.

    ``upstream`` names the models and seeds it depends on, directly or not. ``visibility`` is who may see it published,
    as ``path`` says, '' where it does not; ``privacy`` has the privacy class of each of its columns.
    """

    name: str
    schema: str
    materialized: str
    day_column: str | None
    description: str
    columns: dict[str, str]
    upstream: frozenset[str]
    visibility: str = ""
    privacy: Mapping[str, str] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True)
class DataTest:
    """A data test. ``reads`` names what it must look at again when that changed: entries of ``ops.changes``.

    ``guards`` names the models that must not be published while it fails. One that ``is_attached`` to a model is a
    statement about that model; any other compares models.
    """

    unique_id: str
    name: str
    is_blocking: bool
    reads: frozenset[str]
    guards: frozenset[str]
    is_attached: bool = True


class Project:
    """What dbt's manifest says of the models and tests, and a mark of all that shapes them."""

    def __init__(self, manifest: "Manifest", fingerprint: str, folder: Path) -> None:
        self.manifest = manifest
        self.fingerprint = fingerprint
        self.folder = folder
        self._logic: dict[str, ProjectLogic] = {}

    @cached_property
    def models(self) -> dict[str, Model]:
        """Every model by its name."""
        return {
            node.name: Model(
                name=node.name,
                schema=node.schema,
                materialized=node.config.materialized,
                day_column=_day_column(node),
                description=node.description,
                columns={name: column.description for name, column in node.columns.items()},
                upstream=frozenset(
                    self.manifest.nodes[id_].name for id_ in self._lineage[node.unique_id] if id_ in self.manifest.nodes
                ),
                visibility=str((node.config.meta or {}).get("visibility", "")),
                privacy={name: privacy_of(column) for name, column in node.columns.items()},
                path=str(Path(node.original_file_path).with_suffix(".yml")),
            )
            for node in self._nodes("model")
        }

    @cached_property
    def tests(self) -> list[DataTest]:
        """Every data test that runs."""
        return [
            DataTest(
                unique_id=node.unique_id,
                name=node.name,
                is_blocking=str(node.config.severity).lower() == "error",
                reads=frozenset(self._changing(node)) - {*RUN_RECORDS},
                guards=guarded_models(self.manifest, self._lineage, node),
                is_attached=bool(getattr(node, "attached_node", None)),
            )
            for node in self._nodes("test")
        ]

    @cached_property
    def seeds(self) -> frozenset[str]:
        """Every seed by its name."""
        return frozenset(node.name for node in self._nodes("seed"))

    @cached_property
    def semantic_manifest(self) -> str:
        """The metrics, and what they are made of, as JSON: what dbt writes for MetricFlow."""
        from dbt.contracts.graph.semantic_manifest import SemanticManifest  # noqa: PLC0415

        made = SemanticManifest(self.manifest)._get_pydantic_semantic_manifest()  # it gives no text but to a file
        return str(made.json())

    @cached_property
    def partitioned_by_day(self) -> frozenset[str]:
        """Every model of which chosen days can be rebuilt, by its name: those kept by day, and those of things that are
        touched by day."""
        return frozenset(
            node.name
            for node in self._nodes("model")
            if node.config.get("incremental_strategy") == "replace_days" or is_touched_by_day(self.manifest, node)
        )

    @cached_property
    def owners(self) -> dict[str, str]:
        """Who is to be asked, for each model, seed and test by its name; '' where the project does not say."""
        return {
            node.name: owner_of(self.manifest, node) for kind in ("model", "seed", "test") for node in self._nodes(kind)
        }

    def logic(self, given: Mapping[str, Any]) -> ProjectLogic:
        """The logic of every model and seed, with ``given`` variables before the project's own."""
        key = _text_of(given)
        if key not in self._logic:
            self._logic[key] = ProjectLogic(self.manifest, variables_of(self.folder, given))
        return self._logic[key]

    def fingerprint_with(self, given: Mapping[str, Any]) -> str:
        """The mark of the project with these variables: without any, that of the project as it is."""
        return hashlib.sha256((self.fingerprint + _text_of(given)).encode()).hexdigest() if given else self.fingerprint

    def downstream(self, name: str) -> frozenset[str]:
        """The models downstream of this model or seed, and itself where it is a model."""
        return frozenset(model.name for model in self.models.values() if name == model.name or name in model.upstream)

    @contextmanager
    def tagged(self, tag: str, names: set[str]) -> Iterator[None]:
        """Let these models and tests have a tag in the manifest meanwhile, for dbt to select.

        To select sixty nodes by their names takes dbt most of a second, by a tag no time.
        """
        nodes = [node for node in self.manifest.nodes.values() if node.name in names]
        for node in nodes:
            node.tags.append(tag)
        try:
            yield
        finally:
            for node in nodes:
                node.tags.remove(tag)

    @contextmanager
    def planned(self, steps: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
        """Let each model have its step of the build in its ``meta`` meanwhile, where its macros read it.

        Not in an environment variable: dbt reads the whole environment at each of its events.
        """
        metas = [(node.config.meta, steps[node.name]) for node in self._nodes("model") if node.name in steps]
        try:
            for meta, step in metas:
                meta["step"] = dict(step)
            yield
        finally:
            for meta, _ in metas:
                meta.pop("step", None)

    @cached_property
    def _lineage(self) -> dict[str, frozenset[str]]:
        return lineage(self.manifest)

    def _nodes(self, kind: str) -> list[Any]:
        return [node for node in self.manifest.nodes.values() if str(node.resource_type) == kind]

    def _changing(self, reader: Any) -> Iterable[str]:
        """The names under which changes of what a node reads are noted: a view changes as what it reads does."""
        for id_ in reader.depends_on.nodes:
            if id_ in self.manifest.sources:
                name = self.manifest.sources[id_].name
                is_of_landings = name in ("landings", "landed_files")
                yield landings_of(dataset) if is_of_landings and (dataset := _dataset_of(reader)) else name
                continue
            node: Any = self.manifest.nodes[id_]
            yield node.name
            if node.config.materialized == "view":
                yield from self._changing(node)


def lineage(manifest: "Manifest") -> dict[str, frozenset[str]]:
    """For each node and source, by unique id, the ids of all upstream of it."""
    found: dict[str, frozenset[str]] = {id_: frozenset() for id_ in manifest.sources}

    def upstream(id_: str) -> frozenset[str]:
        if id_ not in found:
            node: Any = manifest.nodes[id_]
            parents = node.depends_on_nodes
            found[id_] = frozenset(parents).union(*(upstream(parent) for parent in parents))
        return found[id_]

    return {id_: upstream(id_) for id_ in (*manifest.sources, *manifest.nodes)}


def guarded_models(manifest: "Manifest", upstream: dict[str, frozenset[str]], test: Any) -> frozenset[str]:
    """The names of the models that must not be published while this test fails; ``upstream`` is its :func:`lineage`.

    Of a generic test, the model it is attached to and all downstream. Of any other, each model it reads, and all
    downstream of any: it does not say which of them is wrong. One that reads nothing holds a macro to account, which
    may be in every model.
    """
    attached = getattr(test, "attached_node", None)
    read = {attached} if attached else {*test.depends_on_nodes}
    read = {id_ for id_ in read if id_ not in manifest.sources} or read
    return frozenset(
        node.name
        for id_, node in manifest.nodes.items()
        if str(node.resource_type) == "model" and (not read or id_ in read or read & upstream[id_])
    )


def owner_of(manifest: "Manifest", node: Any) -> str:
    """Who is to be asked about a node: its ``meta.owner``, else its group's, else, of a test, the owners of what it
    tests; '' where the project says none."""
    if owner := (node.config.meta or {}).get("owner"):
        return str(owner)
    name = getattr(node, "group", None) or getattr(node.config, "group", None)
    for group in manifest.groups.values():
        if group.name == name:
            return str(group.owner.name or group.name)
    if str(node.resource_type) != "test":
        return ""
    attached = getattr(node, "attached_node", None)
    tested = [attached] if attached else node.depends_on_nodes
    owners = {owner_of(manifest, manifest.nodes[id_]) for id_ in tested if id_ in manifest.nodes}
    return ", ".join(sorted(owners - {""}))


def privacy_of(column: Any) -> str:
    """The privacy class of a column; '' where the project does not say."""
    return str((column.config.meta or column.meta or {}).get("privacy", ""))


def landings_of(dataset: str) -> str:
    """The name under which changes of a dataset's landings are noted, beside those of all: ``landings``."""
    return f"landings of {dataset}"


def _dataset_of(reader: Any) -> str | None:
    """The dataset whose landings alone a generic test looks at: it is given as ``dataset``."""
    metadata = getattr(reader, "test_metadata", None)
    return metadata.kwargs.get("dataset") if metadata else None


def _text_of(variables: Mapping[str, Any]) -> str:
    return json.dumps(variables, sort_keys=True, default=str)


def _day_column(node: Any) -> str | None:
    """As the macro ``day_column`` has it."""
    if node.config.get("incremental_strategy") == "replace_days":
        return str(node.config.unique_key)
    day = (node.config.meta or {}).get("day")
    return str(day) if day else None
