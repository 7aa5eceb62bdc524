"""Whether every model, and the SQL of every data test, can be built: on empty tables, without a lake or a warehouse.

dbt compiles the project; DuckDB then plans each statement on the empty tables of all before it. Below a model that is
broken, its YAML stands for it, so one check finds all that is wrong.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from flows.build.dbt import read_project, run_dbt
from flows.build.landings import enter_landings
from flows.build.warehouse import open_warehouse
from flows.contract.spec import PROJECT
from flows.develop.findings import Finding, explained, line_in_file, mismatches
from flows.errors import TidemarkError
from flows.land.field_sql import identifier, literal
from flows.locks import held
from flows.settings import Settings

if TYPE_CHECKING:  # dbt takes over a second to import
    from dbt.contracts.graph.manifest import Manifest

# What dbt parsed is kept here, below what git ignores: the next check parses only what changed.
PLACE = PROJECT / "target" / "check"
COMPILE = ["compile", "--no-defer", "--exclude", "test_type:unit"]
# How dbt begins what it says of a node.
HEAD = re.compile(r"^\w[\w ]* Error(?: in \w+ \S+ \([^)]*\))?\n")
NODE_PATH = re.compile(r"\(((?:models|seeds|tests|macros)/\S+?)\)|'((?:models|seeds|tests|macros)/[^']+)'")


@dataclass(frozen=True)
class Check:
    """What was checked, and all that was found."""

    models: int
    tests: int
    findings: tuple[Finding, ...]


def check(settings: Settings) -> Check:
    """Check the project as it is in its folder. Nothing is written but what dbt parsed, below ``target/``."""
    own = settings.model_copy(update={"home": PLACE})
    with held(PLACE / "lock", "a check"):
        # Of a check before, which another contract or time zone may have shaped.
        shutil.rmtree(own.lake, ignore_errors=True)
        own.warehouse.unlink(missing_ok=True)
        own.warehouse.with_suffix(".duckdb.wal").unlink(missing_ok=True)
        try:
            project = read_project(own)
        except TidemarkError as error:
            return Check(0, 0, (_unparsed(str(error)),))
        enter_landings(own)
        compiled = run_dbt(own, COMPILE, project=project)
        with open_warehouse(own) as db:
            return _check_all(db, project.manifest, compiled.results)


def _check_all(db: duckdb.DuckDBPyConnection, manifest: "Manifest", results: list[Any]) -> Check:
    for seed in (node for node in manifest.nodes.values() if str(node.resource_type) == "seed"):
        _make_seed(db, seed)
    by_id = {result.node.unique_id: result for result in results}
    findings: list[Finding] = []
    counts = {"model": 0, "test": 0}
    for id_ in _in_order(manifest):
        if id_ not in by_id:
            continue
        result = by_id[id_]
        kind = str(result.node.resource_type)
        if kind in counts:
            counts[kind] += 1
            findings += _check_model(db, result) if kind == "model" else _check_test(db, result)
    return Check(counts["model"], counts["test"], tuple(findings))


def _in_order(manifest: "Manifest") -> Iterator[str]:
    """The nodes, each after all that it reads."""
    seen: set[str] = set()

    def visit(id_: str) -> Iterator[str]:
        if id_ in seen or id_ not in manifest.nodes:
            return
        seen.add(id_)
        for parent in manifest.nodes[id_].depends_on_nodes:
            yield from visit(parent)
        yield id_

    for id_ in sorted(manifest.nodes):
        yield from visit(id_)


def _check_model(db: duckdb.DuckDBPyConnection, result: Any) -> list[Finding]:
    node, name = result.node, _name(result.node)
    db.execute(f"create schema if not exists {identifier(node.schema)}")
    declared, finding = _declared(db, node)
    if finding:
        return [finding]
    if failed := _uncompiled(result):
        _make_as_declared(db, name, declared)
        return [failed]
    try:
        db.execute(f"create table {name} as (\n{_sql(node)}\n) with no data")
    except duckdb.Error as error:
        _make_as_declared(db, name, declared)
        return [_refused(node, error)]
    made = _columns(db, f"from {name}")
    wrong = mismatches(made, declared)
    return [Finding(node.name, _yaml(node), None, f"the contract is not kept: {'; '.join(wrong)}")] if wrong else []


def _check_test(db: duckdb.DuckDBPyConnection, result: Any) -> list[Finding]:
    if failed := _uncompiled(result):
        return [failed]
    try:
        db.execute(f"explain select * from (\n{_sql(result.node)}\n) as tested")
    except duckdb.Error as error:
        return [_refused(result.node, error)]
    return []


def _uncompiled(result: Any) -> Finding | None:
    """What dbt says of a node whose SQL it could not write."""
    node = result.node
    if str(result.status) == "skipped":
        return Finding(node.name, node.original_file_path, None, "not checked: dbt could not compile what it reads")
    if str(result.status) != "success":
        text = HEAD.sub("", str(result.message or ""))
        found = re.search(r"\n\s*line (\d+)", text)
        line = int(found[1]) if found and node.original_file_path.endswith(".sql") else None
        return Finding(node.name, node.original_file_path, line, " ".join(text.split()))
    return None


def _refused(node: Any, error: duckdb.Error) -> Finding:
    """What DuckDB says of a node's statement, which begins with a line of ours."""
    message, line = explained(str(error))
    is_own = str(node.original_file_path).endswith(".sql")
    in_file = line_in_file(node.raw_code, _sql(node), line - 1) if line and is_own else None
    return Finding(node.name, node.original_file_path, in_file, message)


def _declared(db: duckdb.DuckDBPyConnection, node: Any) -> tuple[dict[str, str], Finding | None]:
    """The columns of a model's YAML, with types as DuckDB spells them; what is wrong where it knows no such type."""
    given = {column.name: str(column.data_type or "") for column in node.columns.values()}
    columns = ", ".join(f"cast(null as {kind or 'integer'}) as {identifier(name)}" for name, kind in given.items())
    if not columns:
        return {}, Finding(node.name, _yaml(node), None, "its YAML names no columns; give each a name and a data_type")
    try:
        return _columns(db, f"from (select {columns})"), None
    except duckdb.Error as error:
        return {}, Finding(node.name, _yaml(node), None, f"a data_type in it is none: {explained(str(error))[0]}")


def _make_as_declared(db: duckdb.DuckDBPyConnection, name: str, declared: dict[str, str]) -> None:
    columns = ", ".join(f"{identifier(column)} {kind}" for column, kind in declared.items())
    db.execute(f"create table {name} ({columns})")


def _make_seed(db: duckdb.DuckDBPyConnection, node: Any) -> None:
    """The seed's empty table: its columns are those of the file, of the types that its YAML says."""
    db.execute(f"create schema if not exists {identifier(node.schema)}")
    path = literal(str(PROJECT / node.original_file_path))
    db.execute(f"create table {_name(node)} as from read_csv({path}, header = true) with no data")
    types = {column.name: column.data_type for column in node.columns.values()} | dict(node.config.column_types)
    for column, kind in types.items():
        with suppress(duckdb.CatalogException, duckdb.BinderException):  # of columns that the file has not, tests speak
            db.execute(f"alter table {_name(node)} alter {identifier(column)} type {kind}")


def _columns(db: duckdb.DuckDBPyConnection, query: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in db.execute(f"describe {query}").fetchall()}


def _name(node: Any) -> str:
    return f"{identifier(node.schema)}.{identifier(node.alias)}"


def _sql(node: Any) -> str:
    return str(node.compiled_code).rstrip().rstrip(";")


def _yaml(node: Any) -> str:
    return str(node.patch_path or node.original_file_path).partition("://")[2] or str(node.original_file_path)


def _unparsed(text: str) -> Finding:
    """What dbt, which stops at the first, could not parse."""
    text = text.partition("\nMore in ")[0].removeprefix("dbt could not run: ")
    found = NODE_PATH.search(text)
    path = (found[1] or found[2]) if found else "dbt_project.yml"
    line = re.search(r"\bline (\d+)", text)
    message = f"{' '.join(HEAD.sub('', text).split())} (nothing else was checked: dbt stops at what it cannot parse)"
    return Finding(Path(path).stem, path, int(line[1]) if line else None, message)
