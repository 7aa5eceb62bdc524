"""Run dbt on the project, in this process."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click import ClickException

from flows.build.logic import environment_in, variables_given
from flows.build.project import Project
from flows.build.visibility import published_models, refuse_wrong_visibility
from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.locks import warehouse_in_use
from flows.rights import make_private
from flows.settings import Settings

if TYPE_CHECKING:  # dbt takes over a second to import, and most commands run none
    from dbt.contracts.graph.manifest import Manifest

# Set while Tidemark runs dbt, and at no other time.
RUNS_DBT = "TIDEMARK_RUNS_DBT"
# Options of `dbt build` that say what is built; the others say how.
SELECTING = ("select", "exclude", "selector", "state")
BUILDS_MODELS = frozenset({"model", "all", "default"})
LIST_MODELS = ("--resource-type", "model", "--output", "name")
# Tidemark itself says how each node went. Every query in the log would take a tenth of a small build, and artifacts,
# which nothing here reads, a quarter: `-- --log-level-file debug` and `-- --write-json` ask for them.
QUIET = ["--log-level", "none", "--log-level-file", "info", "--no-write-json"]

_read: dict[str, Project] = {}


def read_project(settings: Settings) -> Project:
    """The project as it is now: parsed once in this process, and again only when a file of it changed.

    Raises :class:`TidemarkError` where dbt cannot parse it, or where a model that is published does not say who may see
    it, or more than may.
    """
    fingerprint = project_fingerprint(PROJECT)
    if fingerprint not in _read:
        _read.clear()
        project = Project(_invoke(settings, ["parse"], fingerprint), fingerprint, PROJECT)
        refuse_wrong_visibility(published_models(project), lambda model: model.columns)
        _read[fingerprint] = project
    return _read[fingerprint]


def run_dbt(
    settings: Settings,
    arguments: list[str],
    callbacks: list[Callable[..., None]] | None = None,
    environment: dict[str, str] | None = None,
    steps: Mapping[str, Mapping[str, Any]] | None = None,
    project: Project | None = None,
) -> Any:
    """Run dbt in this process on the settings' home and give its connections back, or the warehouse stays locked.

    ``environment`` is what macros may read in this run alone: ``TIDEMARK_DAYS``, ``TIDEMARK_TEST_ROWS``. ``steps`` say
    what each model has to do (flows/build/plan.py): one that has none is built whole. ``project`` is the one they were
    made of, where it was read before. Raises :class:`TidemarkError` where dbt could not begin; how each node went is in
    the result.
    """
    project = project or read_project(settings)
    fingerprint = project.fingerprint_with(variables_given(arguments))
    # Only while dbt runs: what is started from this process later may be another project.
    handed = {RUNS_DBT: "1", **(environment or {})}
    with project.planned(steps or {}):
        return _invoke(settings, arguments, fingerprint, project.manifest, callbacks, handed)


def select_models(settings: Settings, selection: str) -> frozenset[str]:
    """The names of the models that a selection in dbt's syntax holds.

    Raises :class:`TidemarkError` where it is not dbt's syntax, or a part of it matches nothing in the project.
    """
    unmatched: list[str] = []

    def on_event(event: Any) -> None:
        if event.info.name == "NoNodesForSelectionCriteria":
            unmatched.append(event.data.spec_raw)

    try:
        names = run_dbt(settings, ["list", *LIST_MODELS, "--select", *selection.split()], [on_event])
    except TidemarkError as error:
        raise TidemarkError(f"the selection {selection!r} cannot be read: {error}") from error
    if unmatched:
        raise TidemarkError(
            f"the selection {selection!r} names nothing in the project by {', '.join(map(repr, unmatched))}; "
            "look at the spelling: `.venv/bin/dbt list` names what there is"
        )
    return frozenset(names)


def models_to_build(settings: Settings, project: Project, arguments: tuple[str, ...]) -> frozenset[str]:
    """The names of the models that `dbt build` with these arguments builds: all without any.

    Raises :class:`TidemarkError` where dbt cannot read the selection in them.
    """
    from dbt.cli.main import cli  # noqa: PLC0415

    try:
        given = cli.commands["build"].make_context("build", [*arguments], resilient_parsing=True).params
    except ClickException:
        return frozenset()  # dbt will refuse them, and say why
    if "model" in given["exclude_resource_types"] or not ({*given["resource_types"]} or {"model"}) & BUILDS_MODELS:
        return frozenset()
    if not any(given.get(name) for name in SELECTING):
        return frozenset(project.models)
    options = [text for name in SELECTING if given.get(name) for text in (f"--{name}", *_texts(given[name]))]
    return frozenset(run_dbt(settings, ["list", *LIST_MODELS, *options], project=project))


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, tuple) else [str(value)]


def _invoke(
    settings: Settings,
    arguments: list[str],
    fingerprint: str,
    manifest: "Manifest | None" = None,
    callbacks: list[Callable[..., None]] | None = None,
    environment: dict[str, str] | None = None,
) -> Any:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415
    from dbt.adapters.factory import reset_adapters  # noqa: PLC0415
    from dbt.cli.main import dbtRunner  # noqa: PLC0415

    from flows.build.dbt_events import leave_out_unread_events  # noqa: PLC0415

    leave_out_unread_events()
    # Where dbt cannot write its log, as on a full disk, a traceback for each line would hide what is wrong.
    logging.raiseExceptions = False
    folder = settings.home.resolve() / "warehouse"
    with suppress(OSError):  # of what it cannot write dbt says so
        make_private(folder)
    os.environ["TIDEMARK_HOME"] = str(settings.home.resolve())
    os.environ["TIDEMARK_THREADS"] = str(settings.threads)
    os.environ["TIDEMARK_MEMORY_LIMIT"] = settings.memory_limit
    os.environ["TIDEMARK_PROJECT"] = fingerprint
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ.update(environment or {})
    command, *given = arguments
    folders = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT / "profiles")]
    outputs = ["--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]
    try:
        done = dbtRunner(manifest=manifest, callbacks=callbacks).invoke([command, *QUIET, *given, *folders, *outputs])
    finally:
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        reset_adapters()  # type: ignore[no-untyped-call]
        for name in environment or {}:
            del os.environ[name]
    if done.exception is not None:
        text = str(done.exception)
        if "Could not set lock" in text:
            raise warehouse_in_use(settings.warehouse, text)
        raise TidemarkError(f"dbt could not run: {text}\nMore in {folder / 'logs' / 'dbt.log'}")
    return done.result


def project_fingerprint(project: Path) -> str:
    """A mark of everything in the project that shapes the marts: models, macros, seeds, tests, settings, and the
    environment variables they read."""
    mark = hashlib.sha256()
    read: set[str] = set()
    for folder in ("models", "macros", "seeds", "tests/generic", "tests/singular"):
        for path in sorted((project / folder).rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                mark.update(str(path.relative_to(project)).encode() + b"\0" + content + b"\0")
                if b"env_var" in content:
                    read.update(environment_in(content.decode(errors="replace")))
    settings = (project / "dbt_project.yml").read_bytes()
    mark.update(settings)
    for name in sorted(read.union(environment_in(settings.decode(errors="replace")))):
        mark.update(f"\0{name}={os.environ.get(name, '')}".encode())
    return mark.hexdigest()
