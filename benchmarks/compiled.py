"""The SQL of models as dbt compiles it for a whole build, to be run on data that is made up."""

import re
import tempfile
from functools import cache
from pathlib import Path

from flows.build.dbt import read_project, run_dbt
from flows.build.landings import enter_landings
from flows.settings import Settings

_QUOTED = re.compile(r'"[^"]+"\."(intermediate|marts|seeds)"\."([^"]+)"')


@cache
def compiled(*models: str) -> dict[str, str]:
    """The SQL by the model's name; tables it reads are named by schema and name."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        settings.warehouse.parent.mkdir()
        project = read_project(settings)
        enter_landings(settings)
        done = run_dbt(settings, ["compile", "--no-defer", "--quiet", "--select", *models], project=project)
        return {
            result.node.name: _QUOTED.sub(r"\1.\2", result.node.compiled_code)
            for result in done.results
            if result.node.name in models
        }
