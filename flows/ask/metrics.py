"""The metrics of a publication: what each means, how it may be cut, and the SQL that MetricFlow makes of a question.

The definitions are the publication's own, so an answer after a rollback is by the definitions of then. A question is
made of names and of values, and is refused here where the figure would be another than its name says: MetricFlow
itself would answer.
"""

import difflib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from flows.ask.publication import Publication
from flows.errors import TidemarkError
from flows.publish.definitions import SEMANTIC_MANIFEST, meaning_of, measures_of, meta_of
from flows.text import cut

if TYPE_CHECKING:  # MetricFlow takes two seconds to import
    from metricflow.engine.metricflow_engine import MetricFlowEngine

TIME = "metric_time"
GRAINS = ("day", "week", "month", "quarter", "year")
# A metric whose `grain` is one of these is asked by this grain alone; a window may be asked by any.
CALENDAR = ("day", "week", "month")
# Which rows of a table a metric is of; each metric has chosen.
HIDDEN = "period_type"
CONDITION = re.compile(r"\s*([a-z_0-9]+)\s*(!=|>=|<=|=|>|<)(.*)", re.DOTALL)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Metric:
    """A metric: its meaning, and how it may be asked.

    ``dimensions`` has what it may be cut by, under the names that are asked for, as MetricFlow writes them; some of
    them it ``needs``. One that ``is_distinct`` counts devices, which are never summed.
    """

    name: str
    label: str
    meaning: str
    unit: str
    owner: str
    grain: str | None
    needs: tuple[str, ...]
    dimensions: dict[str, str]
    is_distinct: bool


def read_metrics(publication: Publication) -> dict[str, Metric]:
    """The metrics of a publication by their names. Raises :class:`TidemarkError` where it has none."""
    return _metrics(read_definitions(publication))


@lru_cache(maxsize=2)
def _metrics(text: str) -> dict[str, Metric]:
    definitions = json.loads(text)
    return {metric["name"]: _metric(metric, definitions["semantic_models"]) for metric in definitions["metrics"]}


def read_definitions(publication: Publication) -> str:
    """The definitions that a publication was made with, as JSON."""
    with duckdb.connect(str(publication.database), read_only=True) as db:
        try:
            row = db.execute(f"select {SEMANTIC_MANIFEST}()").fetchone()
        except duckdb.CatalogException:
            row = None
    if row is None:
        raise TidemarkError(
            f"publication {publication.version} has no metrics for the level {publication.level}: they are of what is "
            "internal, and an earlier Tidemark published none; `tidemark run` publishes them"
        )
    return str(row[0])


def _metric(metric: dict[str, Any], models: list[dict[str, Any]]) -> Metric:
    of = measures_of(metric)
    used = [model for model in models if of & {measure["name"] for measure in model["measures"]}]
    cuts = [_dimensions(model) for model in used]
    meta = meta_of(metric)
    return Metric(
        name=metric["name"],
        label=metric["label"] or metric["name"],
        meaning=meaning_of(metric),
        unit=meta.get("unit", ""),
        owner=meta.get("owner", ""),
        grain=meta.get("grain"),
        needs=tuple(meta.get("needs", ())),
        dimensions={name: whole for name, whole in cuts[0].items() if all(other.get(name) == whole for other in cuts)},
        is_distinct=any(m["agg"] == "max" for model in used for m in model["measures"] if m["name"] in of),
    )


def _dimensions(model: dict[str, Any]) -> dict[str, str]:
    found = {entity["name"]: entity["name"] for entity in model["entities"] if entity["type"] != "primary"}
    for dimension in model["dimensions"]:
        if dimension["type"] == "categorical" and dimension["name"] != HIDDEN:
            found[dimension["name"]] = f"{model['primary_entity']}__{dimension['name']}"
    return found


def sql_of(publication: Publication, names: Sequence[str], by: Sequence[str], where: Sequence[str]) -> str:
    """The SELECT that answers a question for metrics. Raises :class:`TidemarkError` where it is none that can be
    answered right."""
    definitions = read_definitions(publication)
    known = _metrics(definitions)
    if not names:
        raise TidemarkError(f"name a metric; there are {', '.join(sorted(known))}")
    metrics = [_find(name, known, "metric") for name in dict.fromkeys(names)]
    first, *others = metrics
    shared = {
        name: whole for name, whole in first.dimensions.items() if all(m.dimensions.get(name) == whole for m in others)
    }
    times = {TIME: TIME} | {f"{TIME}__{grain}": f"{TIME}__{grain}" for grain in GRAINS}
    names_of_cuts = {whole: name for name, whole in shared.items()}
    cuts = [_find(names_of_cuts.get(name, name), times | shared, "dimension") for name in dict.fromkeys(by)]
    conditions = [_condition(text, shared) for text in where]
    for metric in metrics:
        _refuse_wrong(metric, cuts, [name for name, _ in conditions], shared, known)
    return _compile(definitions, tuple(m.name for m in metrics), cuts, [sql for _, sql in conditions])


def _find(name: str, known: dict[str, Found], kind: str) -> Found:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    meant = f"; did you mean {' or '.join(near)}?" if near else ";"
    raise TidemarkError(f"there is no {kind} {cut(name, 100)} here{meant} there are {', '.join(sorted(known))}")


def _condition(text: str, dimensions: dict[str, str]) -> tuple[str, str]:
    """The dimension that a condition is about, and the condition as MetricFlow reads it.

    It is put together from a known name, a known comparison and quoted values. A brace would be MetricFlow's to read.
    """
    found = CONDITION.fullmatch(text)
    if found is None or not found[3].strip():
        raise TidemarkError(
            f"the condition {cut(text, 100)} is not understood: write a dimension, one of = != < <= > >=, and a value, "
            "as product=news, product=news,sport or metric_time>=2026-01-31"
        )
    name, comparison, values = found[1], found[2], [value.strip() for value in found[3].split(",")]
    if any(character in text for character in "{}"):
        raise TidemarkError(f"the condition {cut(text, 100)} has a brace in it; no value has one")
    if len(values) > 1 and comparison not in ("=", "!="):
        raise TidemarkError(f"the condition {cut(text, 100)} compares with several values; give one")
    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    if name == TIME:
        for value in values:
            _day(value, text)
        return TIME, _compared(f"{{{{ TimeDimension('{TIME}', 'day') }}}}", comparison, quoted)
    whole = _find(name, {TIME: TIME} | dimensions, "dimension")
    kind = "Dimension" if "__" in whole else "Entity"
    return name, _compared(f"{{{{ {kind}('{whole}') }}}}", comparison, quoted)


def _day(value: str, text: str) -> None:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise TidemarkError(f"the condition {cut(text, 100)} has no day: write it as {TIME}>=2026-01-31") from None


def _compared(left: str, comparison: str, quoted: list[str]) -> str:
    if len(quoted) == 1:
        return f"{left} {comparison} {quoted[0]}"
    return f"{left} {'in' if comparison == '=' else 'not in'} ({', '.join(quoted)})"


def _refuse_wrong(
    metric: Metric, cuts: list[str], conditions: list[str], dimensions: dict[str, str], known: dict[str, Metric]
) -> None:
    """Raises :class:`TidemarkError` where the figure would be another than the metric's name says."""
    if missing := [name for name in metric.needs if dimensions.get(name) not in cuts]:
        raise TidemarkError(
            f"{metric.name} is asked by {' and '.join(metric.needs)}: its figures are never summed over "
            f"{' or '.join(missing)}; add --by {' --by '.join(missing)}"
        )
    for cut_by in cuts:
        grain = cut_by.removeprefix(f"{TIME}__")
        if metric.grain in CALENDAR and grain in GRAINS and grain != metric.grain:
            of_grain = re.sub("_(week|month)$", "", metric.name) + {"day": ""}.get(grain, f"_{grain}")
            instead = f"; ask {of_grain}" if of_grain in known else ""
            raise TidemarkError(
                f"{metric.name} is of one {metric.grain}, and is asked by {TIME}__{metric.grain}: devices that come "
                f"back cannot be summed by {grain}{instead}"
            )
    for name in conditions:
        if metric.is_distinct and name != TIME and dimensions[name] not in cuts:
            raise TidemarkError(
                f"{metric.name} counts distinct devices, which are not summed over several of {name}: with a condition "
                f"on {name}, ask by it too: --by {name}"
            )


def _compile(definitions: str, metrics: tuple[str, ...], cuts: list[str], conditions: list[str]) -> str:
    from metricflow.engine.metricflow_engine import MetricFlowQueryRequest  # noqa: PLC0415

    request = MetricFlowQueryRequest.create(
        metric_names=metrics,
        group_by_names=cuts or None,
        where_constraints=conditions or None,
        order_by_names=cuts or None,
    )
    try:
        return str(_engine(definitions).explain(request).sql_statement.without_descriptions.sql)
    except Exception as error:  # MetricFlow has no error of its own that all others are
        raise TidemarkError(f"MetricFlow makes no SQL of this: {cut(str(error), 1000)}") from error


@lru_cache(maxsize=1)
def _engine(definitions: str) -> "MetricFlowEngine":
    from metricflow.engine.metricflow_engine import MetricFlowEngine  # noqa: PLC0415
    from metricflow.protocols.sql_client import SqlEngine  # noqa: PLC0415
    from metricflow.sql.render.duckdb_renderer import DuckDbSqlPlanRenderer  # noqa: PLC0415
    from metricflow_semantics.model.dbt_manifest_parser import (  # noqa: PLC0415
        parse_manifest_from_dbt_generated_manifest,
    )
    from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup  # noqa: PLC0415

    class OnlySql:
        """What MetricFlow has to know of an engine that it asks nothing."""

        sql_engine_type = SqlEngine.DUCKDB
        sql_plan_renderer = DuckDbSqlPlanRenderer()

    for name in ("metricflow", "metricflow_semantics"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    manifest = parse_manifest_from_dbt_generated_manifest(definitions)
    return MetricFlowEngine(SemanticManifestLookup(manifest), OnlySql())  # type: ignore[arg-type]
