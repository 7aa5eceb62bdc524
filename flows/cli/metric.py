"""The command that answers by metrics: what they are, and their figures."""

import click
from rich.text import Text

from flows.ask.answer import ask
from flows.ask.connection import Limits
from flows.ask.metrics import Metric, read_metrics, sql_of
from flows.ask.publication import current_publication
from flows.cli.answers import FORMATS, described, print_answer
from flows.cli.render import out, plain
from flows.rights import Visibility
from flows.settings import Settings

ROWS = 100


@click.command("metric")
@click.argument("names", nargs=-1, metavar="[NAMES]...")
@click.option("--by", multiple=True, metavar="DIMENSION",
              help="Cut by it: product, metric_time__day, __week and so on; several times, too.")  # fmt: skip
@click.option("--where", multiple=True, metavar="CONDITION",
              help="Only where this holds, as product=news; several times, too.")  # fmt: skip
@click.option("--limit", default=ROWS, show_default=True, type=click.IntRange(1, 10_000_000), metavar="N",
              help="Rows printed at most.")  # fmt: skip
@click.option("--format", "form", type=click.Choice([*FORMATS]), default="table", metavar="FORMAT",
              help="How rows are printed: table, unless given, csv, json or markdown.")  # fmt: skip
@click.pass_obj
def metric_command(
    settings: Settings, names: tuple[str, ...], by: tuple[str, ...], where: tuple[str, ...], limit: int, form: str
) -> None:
    """Answer by metrics, defined once for all who ask.

    `tidemark metric readers_7_days --by product` gives their figures of the newest period; without a name it lists the
    metrics there are. Below the rows stand the publication, up to which day it has data, and the SQL that ran.
    """
    publication = current_publication(settings, Visibility.INTERNAL)
    if not names:
        for metric in read_metrics(publication).values():
            _print_metric(metric)
        out.print(Text(plain(described(publication)), style="dim"))
        return
    sql = sql_of(publication, names, _split(by), where)
    answer = ask(publication, sql, Limits(rows=limit, threads=settings.threads))
    print_answer(answer, form)
    click.echo(plain(" ".join(sql.split())), err=form != "table")


def _split(given: tuple[str, ...]) -> list[str]:
    """`--by a,b` is `--by a --by b`, as `mf query` has it."""
    return [name.strip() for names in given for name in names.split(",")]


def _print_metric(metric: Metric) -> None:
    times = f"metric_time__{metric.grain}" if metric.grain and metric.grain != "window" else "metric_time"
    needs = f" (always by {', '.join(metric.needs)})" if metric.needs else ""
    out.print(Text(plain(metric.name), style="bold"))
    out.print(Text(plain(f"  {metric.meaning} Unit: {metric.unit}.")))
    out.print(Text(plain(f"  by {', '.join([times, *sorted(metric.dimensions)])}{needs}"), style="dim"))
