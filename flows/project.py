"""The dbt project: run dbt on it, and read what its manifest says of models and tests."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from flows.contract import PROJECT
from flows.errors import TidemarkError
from flows.settings import Settings

STORED = ("incremental", "table")
# Every run changes these: that alone is no reason for another test or version.
RUN_RECORDS = ("ops_model_runs", "ops_test_runs", "ops_backfills")


@dataclass(frozen=True)
class Model:
    """A model as the manifest has it; ``day_column`` is that of the day it is kept by, None where it is not."""

    name: str
    schema: str
    materialized: str
    day_column: str | None
    description: str
    columns: dict[str, str]


@dataclass(frozen=True)
class DataTest:
    """A data test. ``reads`` names what it must look at again when that changed: entries of ``ops.changes``."""

    unique_id: str
    name: str
    is_blocking: bool
    reads: frozenset[str]


class Project:
    """What dbt's manifest says of the models and tests, and a mark of all that shapes them."""

    def __init__(self, manifest: Manifest, fingerprint: str) -> None:
        self.manifest = manifest
        self.fingerprint = fingerprint

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
                reads=frozenset(self._changing(node.depends_on.nodes)) - {*RUN_RECORDS},
            )
            for node in self._nodes("test")
        ]

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

    def _nodes(self, kind: str) -> list[Any]:
        return [node for node in self.manifest.nodes.values() if str(node.resource_type) == kind]

    def _changing(self, ids: Iterable[str]) -> Iterable[str]:
        """The names under which changes of these nodes are noted: a view changes as what it reads does."""
        for id_ in ids:
            if id_ in self.manifest.sources:
                yield self.manifest.sources[id_].name
                continue
            node: Any = self.manifest.nodes[id_]
            yield node.name
            if node.config.materialized == "view":
                yield from self._changing(node.depends_on.nodes)


def _day_column(node: Any) -> str | None:
    """As the macro ``day_column`` has it."""
    if node.config.get("incremental_strategy") == "replace_days":
        return str(node.config.unique_key)
    day = (node.config.meta or {}).get("day")
    return str(day) if day else None


_read: dict[str, Project] = {}


def read_project(settings: Settings) -> Project:
    """The project as it is now: parsed once in this process, and anew only when a file of it changed.

    Raises :class:`TidemarkError` where dbt cannot parse it.
    """
    fingerprint = project_fingerprint()
    if fingerprint not in _read:
        _read.clear()
        _read[fingerprint] = Project(_invoke(settings, ["parse"], fingerprint), fingerprint)
    return _read[fingerprint]


def run_dbt(
    settings: Settings,
    arguments: list[str],
    callbacks: list[Callable[..., None]] | None = None,
    environment: dict[str, str] | None = None,
) -> Any:
    """Run dbt in this process on the settings' home and give its connections back, or the warehouse stays locked.

    ``environment`` is what macros may read in this run alone: ``TIDEMARK_DAYS``, ``TIDEMARK_TEST_ROWS``. Raises
    :class:`TidemarkError` where dbt could not begin; how each node went is in the result.
    """
    project = read_project(settings)
    return _invoke(settings, arguments, project.fingerprint, project.manifest, callbacks, environment)


def _invoke(
    settings: Settings,
    arguments: list[str],
    fingerprint: str,
    manifest: Manifest | None = None,
    callbacks: list[Callable[..., None]] | None = None,
    environment: dict[str, str] | None = None,
) -> Any:
    folder = settings.home.resolve() / "warehouse"
    os.environ["TIDEMARK_HOME"] = str(settings.home.resolve())
    os.environ["TIDEMARK_THREADS"] = str(settings.threads)
    os.environ["TIDEMARK_MEMORY_LIMIT"] = settings.memory_limit
    os.environ["TIDEMARK_PROJECT"] = fingerprint
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ.update(environment or {})
    folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles")]
    outputs = ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
    try:
        done = dbtRunner(manifest=manifest, callbacks=callbacks).invoke(["--quiet", *arguments, *folders, *outputs])
    finally:
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        reset_adapters()  # type: ignore[no-untyped-call]
        for name in environment or {}:
            del os.environ[name]
    if done.exception is not None:
        text = str(done.exception)
        if "Could not set lock" in text:
            raise TidemarkError(
                f"another process has the warehouse {settings.warehouse} open; readers should open "
                "published/current/marts.duckdb instead; close it and run again"
            )
        raise TidemarkError(f"dbt could not run: {text}\nMore in {folder / 'logs' / 'dbt.log'}")
    return done.result


def project_fingerprint(project: Path = PROJECT) -> str:
    """A mark of everything in the project that shapes the marts: models, macros, seeds, tests, settings."""
    mark = hashlib.sha256()
    for folder in ("models", "macros", "seeds", "tests/generic", "tests/singular"):
        for path in sorted((project / folder).rglob("*")):
            if path.is_file():
                mark.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes() + b"\0")
    mark.update((project / "dbt_project.yml").read_bytes())
    return mark.hexdigest()
