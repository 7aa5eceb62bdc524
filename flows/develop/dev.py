"""A developer's own home: a warehouse over the last days of a lake that stays where it is, beside what is published.

dbt takes a model that was not built there from the publication: it is asked to defer to the manifest that this makes,
of the commit that published, in which marts are where the publication has them.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.build.dbt import run_dbt
from flows.build.landings import enter_landings
from flows.build.lent import PUBLISHED, Lent, delete_warehouse, lend, read_lent
from flows.build.warehouse import warehouse_held
from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.publish.manifest import Manifest, current_version, read_manifest
from flows.release.releases import copy_of_commit
from flows.rights import make_private
from flows.settings import Settings

# Below what git ignores: it is made again at any time.
PLACE = PROJECT / "target" / "dev"
# What marts are made of; tests are for what a change builds.
LAYERS = ("resource_type:seed", "path:models/raw", "path:models/staging", "path:models/intermediate")
BUILD = ["build", "--no-defer", "--resource-type", "model", "--resource-type", "seed", "--select", *LAYERS]
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Dev:
    """A developer's home, the folder of the manifest that dbt defers to, and what was built.

    ``commit`` is that of the manifest; None where it is of the project as it is now, for ``why_no_commit``.
    """

    home: Path
    state: Path
    models: int
    version: str
    commit: str | None
    why_no_commit: str = ""


def make_dev(settings: Settings, days: int) -> Dev:
    """Make the developer's home again, over the last days of the lake of the settings' home.

    Raises :class:`TidemarkError` where nothing is published there, and where a model cannot be built.
    """
    lent = Lent((before.home if (before := read_lent(settings)) else settings.home).absolute(), days)
    version = current_version(lent.settings)
    if version is None:
        raise TidemarkError(
            f"nothing is published in {lent.settings.published}: `tidemark run` publishes there, and TIDEMARK_HOME "
            "says whose lake is meant"
        )
    own = settings.model_copy(update={"home": PLACE})
    make_private(own.warehouse.parent)
    lend(own, lent)
    with warehouse_held(own, "making a developer's home"):
        delete_warehouse(own)
        enter_landings(own)
        commit, why = _write_state(own, read_manifest(lent.settings, version))
        done = run_dbt(own, BUILD)
    failed = [result for result in done.results if str(result.status) in ("error", "fail")]
    if failed:
        raise TidemarkError(
            "\n".join(f"{one.node.original_file_path}: {' '.join(str(one.message).split())}" for one in failed)
            + "\n`tidemark check` says more; fix it and run `tidemark dev` again"
        )
    models = sum(str(result.node.resource_type) == "model" for result in done.results)
    return Dev(own.home, own.home / "state", models, version, commit, why)


def _write_state(own: Settings, published: Manifest) -> tuple[str | None, str]:
    """Write the manifest of the commit that published; which that is, or why it is that of the project as it is."""
    state = own.home / "state"
    state.mkdir(exist_ok=True)
    commit = (published.git_revision or "").removesuffix("+changes")
    with TemporaryDirectory() as folder:
        why = _check_out(commit, Path(folder) / "project")
        _parse(PROJECT if why else Path(folder) / "project", own, state)
    manifest = json.loads((state / MANIFEST).read_text(encoding="utf-8"))
    (state / MANIFEST).write_text(json.dumps(with_published(manifest, {t.name for t in published.tables})))
    return (None if why else commit), why


def with_published(
    manifest: dict[str, dict[str, dict[str, object]]], tables: set[str]
) -> dict[str, dict[str, dict[str, object]]]:
    """A manifest of dbt in which these models are where the publication has them."""
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and node["name"] in tables:
            node |= {
                "database": PUBLISHED,
                "schema": "main",
                "alias": node["name"],
                "relation_name": f'"{PUBLISHED}"."main"."{node["name"]}"',
            }
    return manifest


def _check_out(commit: str, folder: Path) -> str:
    """Put the files of a commit into a new folder; why not, where that cannot be."""
    if not commit:
        return "the publication does not say which commit made it"
    try:
        copy_of_commit(commit, folder)
    except TidemarkError:
        return f"commit {commit[:10]}, which published, is not in this clone (`git fetch` may bring it)"
    return ""


def _parse(project: Path, own: Settings, state: Path) -> None:
    """Let dbt write the manifest of a project. In a process of its own: it is another project than this one's."""
    dbt = Path(sys.executable).with_name("dbt")
    places = ["--project-dir", str(project), "--profiles-dir", str(project / "profiles"), "--target-path", str(state)]
    environment = {**os.environ, "TIDEMARK_HOME": str(own.home), "DBT_LOG_PATH": str(own.home / "logs")}
    done = subprocess.run(
        [str(dbt), "parse", "--no-partial-parse", *places], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise TidemarkError(f"dbt could not parse the project in {project}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
