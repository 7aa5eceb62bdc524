"""DuckDB's clients of databases, and their addresses."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import duckdb

from flows.errors import TidemarkError
from flows.land.field_sql import literal


def load_extension(engine: duckdb.DuckDBPyConnection, name: str, of: str) -> None:
    """Load DuckDB's client of a kind of database: from the package that has it, or as DuckDB finds it.

    Raises :class:`TidemarkError` where it is not here.
    """
    try:
        packaged = importlib.import_module(f"duckdb_extension_{name}_scanner")  # only who extracts has it
        (found,) = Path(packaged.__file__ or "").parent.rglob("*.duckdb_extension")
        engine.execute(f"load {literal(str(found))}")
    except ImportError:
        try:
            engine.execute(f"install {name}; load {name}")
        except duckdb.Error as error:
            raise TidemarkError(
                f"DuckDB's client of {of} is not here, and cannot be fetched; `pip install tidemark[sources]`"
            ) from error


def with_defaults(url: str, defaults: Mapping[str, str]) -> str:
    """An address with these parameters too, but for those that it has."""
    more = [f"{name}={value}" for name, value in defaults.items() if f"{name}=" not in url]
    if "://" not in url:
        return " ".join([url, *more])
    return f"{url}{'&' if '?' in url else '?'}{'&'.join(more)}" if more else url
