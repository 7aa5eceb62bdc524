"""Write the catalogue of the project: ``python -m flows.catalogue.write FOLDER``.

``models.html`` is dbt's pages of every model and column, ``lineage.html`` dbt-colibri's drawing of which column comes
from which, ``project.json`` what other pages need of both. No lake and no warehouse is opened.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from dbt.cli.main import dbtRunner
from dbt.task.docs import DOCS_INDEX_FILE_PATH
from dbt_colibri.lineage_extractor.extractor import DbtColumnLineageExtractor
from dbt_colibri.report.generator import DbtColibriReportGenerator

from flows.catalogue.catalogue import LINEAGE, MODELS, RECORD, catalogue_fingerprint
from flows.catalogue.record import ProjectRecord, read_project_record
from flows.errors import TidemarkError
from flows.settings import PROJECT

OWN = ("model", "seed")
# It names the tool that made the page, which says little to who reads it.
TITLE = re.compile(r"<title>[^<]*</title>")


def write_catalogue(folder: Path, project: Path = PROJECT) -> ProjectRecord:
    """Write the catalogue of a project, each file in one step: who has a link to the one before keeps that.

    Raises :class:`TidemarkError` where dbt cannot compile the project.
    """
    fingerprint = catalogue_fingerprint(project)
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    manifest = _compile(project, work)
    catalog = catalog_of(manifest)
    (work / "catalog.json").write_text(json.dumps(catalog), encoding="utf-8")
    edges, unread = _trace_columns(work)
    record = read_project_record(manifest, edges, fingerprint, unread)
    pages = Path(DOCS_INDEX_FILE_PATH).read_text(encoding="utf-8")
    pages = pages.replace('"MANIFEST.JSON INLINE DATA"', json.dumps(manifest), 1)
    pages = pages.replace('"CATALOG.JSON INLINE DATA"', json.dumps(catalog), 1)
    drawn = (work / "lineage" / "index.html").read_text(encoding="utf-8")
    for name, title, text in ((MODELS, "Models", pages), (LINEAGE, "Lineage of columns", drawn)):
        named = TITLE.sub(f"<title>{title}</title>", text, count=1)
        _put(folder / name, named.replace(f"{project}/", ""))  # where it was made is nobody's concern
    _put(folder / RECORD, record.model_dump_json())
    return record


def catalog_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """dbt's catalog of the columns that the project declares, which contracts and tests hold the tables to.

    dbt makes it from the tables themselves, and so has none for a project that was not built, or while it is.
    """
    nodes = {id_: _columns_of(node) for id_, node in manifest["nodes"].items() if node["resource_type"] in OWN}
    sources = {id_: _columns_of(node) for id_, node in manifest["sources"].items()}
    metadata = {"dbt_schema_version": "https://schemas.getdbt.com/dbt/catalog/v1.json"}
    metadata |= {name: manifest["metadata"][name] for name in ("dbt_version", "generated_at", "invocation_id")}
    return {"metadata": metadata, "nodes": nodes, "sources": sources, "errors": None}


def _columns_of(node: Mapping[str, Any]) -> dict[str, Any]:
    kind = "view" if node.get("config", {}).get("materialized") == "view" else "table"
    table = {name: node[name] for name in ("database", "schema")}
    return {
        "metadata": {**table, "type": kind, "name": node.get("alias") or node["name"], "comment": None, "owner": None},
        "columns": {
            name: {"type": column.get("data_type") or "varchar", "index": n, "name": name, "comment": None}
            for n, (name, column) in enumerate(node["columns"].items(), start=1)
        },
        "stats": {},
        "unique_id": node["unique_id"],
    }


class _Collector(logging.Handler):
    """Keeps the errors of a log."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.kept.append(record.getMessage())


def _trace_columns(work: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Which column comes from which, by dbt-colibri, which draws it as well; and what it could not read."""
    unread: list[str] = []
    log = logging.getLogger("colibri")
    log.propagate = False
    log.addHandler(_Collector(unread))
    extractor = DbtColumnLineageExtractor(str(work / "manifest.json"), str(work / "catalog.json"))
    report = DbtColibriReportGenerator(extractor, light_mode=True, disable_telemetry=True)
    report.generate_report(str(work / "lineage"))
    drawn = json.loads((work / "lineage" / "colibri-manifest.json").read_text(encoding="utf-8"))
    return drawn["lineage"]["edges"], unread


def _compile(project: Path, work: Path) -> dict[str, Any]:
    """dbt's manifest of a project, with the SQL that it makes of each model where nothing was built yet."""
    os.environ["DO_NOT_TRACK"] = "1"
    folders = ["--project-dir", str(project), "--profiles-dir", str(project / "profiles")]
    outputs = ["--target-path", str(work), "--log-path", str(work / "logs")]
    done = dbtRunner().invoke(
        [
            "--quiet",
            "--log-level",
            "none",
            "docs",
            "generate",
            "--target",
            "lint",
            "--empty-catalog",
            *folders,
            *outputs,
        ]
    )
    if not done.success:
        raise TidemarkError(
            f"dbt cannot compile the project: {done.exception or 'see its log'}\nMore in {work / 'logs' / 'dbt.log'}"
        )
    manifest: dict[str, Any] = json.loads((work / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def _put(path: Path, text: str) -> None:
    making = path.with_name(f".{path.name}.making")
    making.write_text(text, encoding="utf-8")
    making.replace(path)


@click.command(help="Write the catalogue of the project into FOLDER.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def main(folder: Path) -> None:
    """The command."""
    try:
        write_catalogue(folder.resolve())
    except TidemarkError as error:
        sys.exit(f"error: {error}")
    for what, name in (("Models and columns", MODELS), ("Which column comes from which", LINEAGE)):
        print(f"{what}: {(folder.resolve() / name).as_uri()}")


if __name__ == "__main__":
    main()
