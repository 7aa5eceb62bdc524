"""Superset over what Tidemark publishes: read-only, each connection on one whole publication, no rows kept.

SUPERSET_CONFIG_PATH names this file, and three variables say what only the place knows: TIDEMARK_HOME (the home that
has the publications), SUPERSET_SECRET_KEY (signs sessions; `openssl rand -base64 42`) and SUPERSET_HOME (the folder
in which Superset keeps users and charts, in a database of its own).
"""

import os
from pathlib import Path
from threading import Lock

import duckdb

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
HOME = Path(os.environ["TIDEMARK_HOME"]).absolute()
SQLALCHEMY_DATABASE_URI = f"sqlite:///{Path(os.environ['SUPERSET_HOME']).absolute() / 'superset.db'}"

# Rows that are kept outlive a rollback and an erasure. What is kept here is which filters somebody chose, for a day.
CACHE_CONFIG = DATA_CACHE_CONFIG = {"CACHE_TYPE": "NullCache"}
FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = {
    "CACHE_TYPE": "SupersetMetastoreCache",
    "CACHE_DEFAULT_TIMEOUT": 24 * 60 * 60,
}
RESULTS_BACKEND = None
# Nobody sees anything without logging in.
PUBLIC_ROLE_LIKE = None
# Pages ask no other host for anything: Superset's own list has a counter of visits and servers of maps.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": False,
}
LOG_LEVEL = "WARNING"

# Memory that the queries of one process may take together. The longest wait for an answer, in seconds.
MEMORY_LIMIT = "1GB"
SUPERSET_WEBSERVER_TIMEOUT = 60

_locking = Lock()


def DB_CONNECTION_MUTATOR(uri, params, _username, _security_manager, _source):
    """Open the version that is current now, locked to the tables of its file, and for SELECT alone.

    The link `current` is followed once: what is opened and the folders that may be read are then of one version, though
    another is published in between. A relative path is below TIDEMARK_HOME.
    """
    if uri.get_backend_name() == "duckdb":
        uri = uri.set(database=str((HOME / uri.database).resolve()))
        params["pool_events"] = [*params.get("pool_events", []), (_lock, "connect"), (_only_read, "connect")]
    return uri, params


def _only_read(connection, _record) -> None:
    """Let SELECT through, and nothing else, whatever of Superset asks.

    Superset's own check does not see that DuckDB's COPY ... TO writes, and not all of its ways to a database call the
    hook for statements.
    """
    make = connection.cursor

    def cursor():
        made = make()
        run, run_many = made.execute, made.executemany
        made.execute = lambda sql, *values: run(_checked(sql), *values)
        made.executemany = lambda sql, *values: run_many(_checked(sql), *values)
        return made

    connection.cursor = cursor


def _checked(sql: str) -> str:
    kinds = {statement.type for statement in duckdb.extract_statements(sql)}
    if kinds != {duckdb.StatementType.SELECT}:
        names = ", ".join(sorted(kind.name for kind in kinds)) or "nothing"
        raise duckdb.PermissionException(f"this is {names}: what is published is only read, so write a SELECT")
    return sql


def _lock(connection, _record) -> None:
    """Let a connection read the files of its own tables alone, and change no setting.

    Connections to one version share DuckDB's settings, so the first one locks for all. In this order, since each step
    forbids what the one before needed (flows/ask/connection.py does the same).
    """
    with _locking:
        if connection.execute("select current_setting('lock_configuration')").fetchone()[0]:
            return
        database = Path(connection.execute("select path from duckdb_databases() where not internal").fetchone()[0])
        tables = connection.execute("select view_name from duckdb_views() where not internal").fetchall()
        folders = [str(database.parent / "parquet" / name).replace("'", "''") for (name,) in tables]
        listed = ", ".join(f"'{folder}/'" for folder in folders)
        for setting in (
            f"allowed_directories = [{listed}]",
            "enable_external_access = false",
            f"memory_limit = '{MEMORY_LIMIT}'",
            "max_temp_directory_size = '0KB'",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "allow_community_extensions = false",
            "python_enable_replacements = false",
            "TimeZone = 'UTC'",
            "lock_configuration = true",
        ):
            connection.execute(f"set {setting}")
