"""What happens before dbt opens the warehouse when a person typed `dbt`: the same as before Tidemark's own builds.

A plugin of dbt-duckdb, named in profiles/profiles.yml. Without it, `dbt build` would know nothing of what landed since
the last `tidemark build`, fail in a home without a warehouse, and run into the builds of a Tidemark that is served.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt.adapters.events.logging import AdapterLogger
from dbt_common.exceptions import DbtRuntimeError
from filelock import Timeout
from pydantic import ValidationError

from flows.build.dbt import RUNS_DBT
from flows.build.landings import enter_landings
from flows.build.lent import PUBLISHED, read_lent
from flows.build.warehouse import lock_file, warehouse_lock
from flows.errors import TidemarkError
from flows.land.field_sql import literal
from flows.locks import holder_of, sign
from flows.settings import Settings, explain

log = AdapterLogger("Tidemark")


class Plugin(BasePlugin):
    """Holds the warehouse's lock as long as dbt has the warehouse open, and enters what landed into it.

    The name is dbt-duckdb's. What is wrong is raised as dbt's own error: of any other, dbt prints a traceback.
    """

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Called once by dbt, before it connects."""
        if RUNS_DBT in os.environ:
            return  # Tidemark runs dbt, and has done all this
        assert self.creds is not None
        try:
            home = Path(self.creds.path).parent.parent  # as profiles.yml says
            settings = Settings(home=home)
            self._lock = warehouse_lock(settings)  # released with the plugin
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                by = holder_of(lock_file(settings)) or "Tidemark"
                log.warning(f"{by} is at work in {settings.warehouse}; waiting until it is done (Ctrl+C gives up)")
                self._lock.acquire()
            sign(lock_file(settings), "dbt by hand")
            entered = enter_landings(settings)
        except ValidationError as error:
            raise DbtRuntimeError("\n".join(explain(error))) from error
        except TidemarkError as error:
            raise DbtRuntimeError(str(error)) from error
        except (OSError, duckdb.Error) as error:
            raise DbtRuntimeError(
                f"{' '.join(str(error).split())}; fix the cause (a missing permission, a full disk) and run the same "
                "again"
            ) from error
        if entered:
            log.info(f"{entered:,} new landings entered into {settings.warehouse}")
        if read_lent(settings) is None and next(settings.landed.glob("*/batch-*"), None) is None:
            log.warning(
                f"nothing has landed in {settings.landed.resolve()}, so every model will be empty: `make demo` makes a "
                "sample, `tidemark land` lands your own files, TIDEMARK_HOME names another home"
            )

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Called by dbt when it has connected: a developer's warehouse reads what is published beside its own."""
        if folder := self._published:
            conn.execute(f"attach {literal(str(folder / 'marts.duckdb'))} as {PUBLISHED} (read_only)")

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Called by dbt for each query: what is attached finds its files by a variable of the cursor."""
        if folder := self._published:
            cursor.execute(f"set variable version_folder = {literal(str(folder))}")

    @cached_property
    def _published(self) -> Path | None:
        """The version that a developer's warehouse reads, the same for all queries; None of any other warehouse."""
        assert self.creds is not None
        if self.creds.path == ":memory:":
            return None
        lent = read_lent(Settings(home=Path(self.creds.path).parent.parent))
        return lent.publication.resolve() if lent and (lent.publication / "marts.duckdb").exists() else None
