"""The command that says how the pseudonym key stands, and changes it."""

from datetime import UTC, datetime

import click

from flows.cli.by_hand import count_by_hand
from flows.cli.lake_files import send_or_say_why
from flows.cli.privacy import print_renewed
from flows.cli.render import out, print_line, safe
from flows.clock import local_day
from flows.land.rotation import OVERLAP_DAYS, Rotation, Stage, first_day_to_finish
from flows.privacy.rotate import Finished, KeyState, key_state, rotate
from flows.settings import Settings
from flows.text import counted

WARNING = (
    "Afterwards nobody can join what happened before {day} with what happened since, and nobody can be found in what "
    "happened before, to be answered or erased. The earlier key is destroyed. Finish?"
)


@click.command("keys")
@click.argument("what", type=click.Choice(["status", "rotate"]), default="status")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
@click.pass_obj
def keys_command(settings: Settings, what: str, yes: bool) -> None:
    """Show how the key of pseudonyms stands, or change it.

    WHAT is `status`, unless given, or `rotate`. The first `rotate` begins: from then on rows land with the pseudonyms
    of both keys. The second, once 28 whole days are over, finishes: days since the beginning get the later pseudonyms,
    earlier ones keep theirs, what is published is made again, versions published before are removed, and the earlier
    key is destroyed. Killed anywhere, the next call goes on.

    Keys are named by their check values, which tell them apart and reveal nothing.
    """
    state = key_state(settings)
    if what == "status":
        _print_state(state)
        return
    began = datetime.now(UTC)
    if state.may_finish_from and local_day(began) >= state.may_finish_from and not yes:
        click.confirm(WARNING.format(day=state.rotations.rotations[-1].from_day), abort=True)
    done = rotate(settings, now=began, progress=print_line)
    if isinstance(done, Rotation):
        _print_begun(done)
    else:
        _print_finished(done, key_state(settings))
        count_by_hand(settings, began, ["land", "publish"] if done.renewed else [], has_built=bool(done.renewed))
    send_or_say_why(settings)


def _print_state(state: KeyState) -> None:
    if state.check is None:
        out.print("[bold]keys[/]     nothing has landed, so there are no pseudonyms yet")
        return
    out.print(f"[bold]keys[/]     rows land with the pseudonyms of {state.check}")
    for one in state.rotations.rotations:
        out.print(f"         {one.before} until {one.from_day}, {one.after} since: {_described(one)}")


def _described(rotation: Rotation) -> str:
    if rotation.stage is Stage.FINISHED and rotation.finished_at:
        return f"finished {local_day(rotation.finished_at)}"
    if rotation.stage is Stage.FINISHING:
        return "being finished; `tidemark keys rotate` goes on"
    return f"rows land with both; may be finished from {first_day_to_finish(rotation)}"


def _print_begun(rotation: Rotation) -> None:
    out.print(f"[bold]begun[/]    rows land with the pseudonyms of {rotation.before} and of {rotation.after}")
    day = first_day_to_finish(rotation)
    out.print(f"         from {day}, after {OVERLAP_DAYS} whole days, `tidemark keys rotate` finishes")
    out.print("         back up the next key; have accounts delivered again by then, or they become strangers")


def _print_finished(done: Finished, state: KeyState) -> None:
    for one in done.rekeyed:
        of_days = f" of {counted(one.days, 'day')}" if one.days else ""
        print_line(f"keys     {one.dataset}  {counted(one.rows, 'row')}{of_days} written again")
    for one in done.rekeyed:
        for column, number in one.not_met.items():
            out.print(f"         {number:,} of {column} in {one.dataset} did not come again since: now strangers")
    print_renewed(done.renewed)
    out.print(f"[bold]finished[/] rows land with the pseudonyms of {state.check}")
    if done.to_do:
        out.print(f"[yellow]to do[/]    {safe(done.to_do)}")
