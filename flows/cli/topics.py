"""The command that finds topics in free text, and shows them."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from flows.cli.by_hand import count_by_hand
from flows.cli.render import out, plain, print_error, print_line
from flows.settings import Settings
from flows.text import counted

if TYPE_CHECKING:
    from flows.topics.fit import Choice
    from flows.topics.topics import Fitted, Shown

BAR = 20


@click.command("topics")
@click.argument("what", type=click.Choice(["show", "fit", "label", "compare"]), default="show")
@click.argument("dataset", required=False)
@click.option("--from", "fewest", default=2, show_default=True, type=click.IntRange(2, 200), metavar="N",
              help="With compare: the fewest topics.")  # fmt: skip
@click.option("--to", "most", default=15, show_default=True, type=click.IntRange(2, 200), metavar="N",
              help="With compare: the most topics.")  # fmt: skip
@click.pass_obj
def topics_command(settings: Settings, what: str, dataset: str | None, fewest: int, most: int) -> None:
    """Find what free text is about, and show it.

    WHAT is `show`, unless given: the topics of a DATASET. `compare` says what other numbers of topics would give. `fit`
    finds topics again; those that go on keep their numbers. `label` says of each text which it is about, and `run` then
    takes that to the marts. How many topics there are, people say in `seeds/topic_settings.csv`, and what they are
    called in `seeds/topic_names.csv`. By night a job labels the texts that came.
    """
    # scikit-learn takes seconds to load, which no other command needs.
    from flows.topics import topics  # noqa: PLC0415
    from flows.topics.declared import read_declared  # noqa: PLC0415
    from flows.topics.label import label, label_all  # noqa: PLC0415

    if dataset is None and what != "label":
        declared = [*read_declared()]
        if len(declared) != 1:
            raise click.UsageError(f"name the dataset: {', '.join(declared) or 'none is declared'}")
        (dataset,) = declared
    began = datetime.now(UTC)
    match what, dataset:
        case "fit", str(name):
            _print_fitted(topics.fit(settings, name))
            _print_topics(topics.show(settings, name))
        case "compare", str(name):
            _print_choices(topics.compare_numbers(settings, name, range(fewest, most + 1)))
        case "label", name:
            done = [label(settings, name, print_line)] if name else label_all(settings, print_line)
            for one in done:
                texts = f"{counted(one.texts_count, 'text')} of {counted(one.days_count, 'day')}"
                unclear = f", {one.unclear_count / one.texts_count:.0%} unclear" if one.texts_count else ""
                out.print(f"[bold]labelled[/] {one.dataset}: {texts}{unclear}")
                for fault in one.faults:
                    print_error(fault)
            if any(one.faults for one in done):
                sys.exit(1)
            count_by_hand(settings, began, ["topics"])
        case _, str(name):
            _print_topics(topics.show(settings, name))


def _print_fitted(done: "Fitted") -> None:
    of = f"{counted(done.texts_count, 'text')} of {counted(done.days_count, 'day')}"
    out.print(f"[bold]fitted[/]   {len(done.model.numbers)} topics of {done.declared.dataset}, by {of}")
    if done.since == "first":
        return
    if done.since == "unchanged":
        out.print("         as before: neither the texts nor what is declared changed")
    for numbers, said in ((done.new, "new"), (done.gone, "gone, and their numbers are not given again")):
        if numbers:
            out.print(f"         {said}: {', '.join(map(str, numbers))}")


def _print_topics(shown: "list[Shown]") -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading, justify in (("topic", "right"), ("name", "left"), ("texts", "right"), ("stable", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("told by", overflow="fold")
    for one in shown:
        table.add_row(
            str(one.number), plain(one.name), f"{one.share:.0%}", f"{one.stability:.0%}",
            Text(plain(", ".join(one.keywords)), style="dim"),
        )  # fmt: skip
    out.print(table)
    if weak := [str(one.number) for one in shown if one.stability < 0.6]:
        out.print(f"Other fits find less than 60 % of {', '.join(weak)}: hardly topics; ask for another number.")


def _print_choices(found: "list[Choice]") -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading, justify in (
        ("topics", "right"), ("fits agree", "right"), ("", "left"), ("separate", "right"), ("smallest", "right"),
    ):  # fmt: skip
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for one in found:
        bar = "█" * max(0, round(BAR * one.agreement))
        table.add_row(
            str(one.topics_count), f"{one.agreement:.0%}", Text(bar, style="cyan"), f"{one.separation:.2f}",
            f"{one.smallest:.0%}",
        )  # fmt: skip
    out.print(table)
    out.print(
        "Fits agree where other beginnings find the same topics. No number is right by itself: take one that agrees, "
        "and whose topics mean something to you."
    )
