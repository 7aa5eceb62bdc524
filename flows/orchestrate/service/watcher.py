"""The watcher: lands what settled in the inbox, starts what is due and no trigger brought, and reports what is late.

File events wake it and polling finds what they missed. It keeps nothing in memory that matters: killed at any moment,
the next one sees the same inbox, the same journal. It imports little, and leaves all work to processes of their own
(:mod:`flows.orchestrate.service.launch`, forked by :mod:`flows.orchestrate.service.prefork.host`).
"""

import http.client
import logging
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import watchfiles
from pythonjsonlogger.json import JsonFormatter

from flows.alerts.notify import deliver, send_unnoted
from flows.clock import duration, organisation_timezone
from flows.contract.spec import load_specs
from flows.errors import TidemarkError
from flows.land.inbox import is_settled, new_deliveries
from flows.land.receipts import Receipts
from flows.orchestrate.due import Decision, decide
from flows.orchestrate.intake import Intake
from flows.orchestrate.job import OPERATOR
from flows.orchestrate.journal import Journal
from flows.orchestrate.problems import (
    api_url,
    observe_refused,
    observe_runs,
    observe_schedule,
    observe_server,
    observing,
)
from flows.orchestrate.service.prefork.host import client_command
from flows.release.releases import is_outdated
from flows.rights import make_inbox
from flows.schedule import JOBS
from flows.settings import Settings

# Files that come closer together than QUIET are one burst; a burst that does not end is taken after GATHER.
QUIET_MS = 300
GATHER_MS = 5_000
# An inbox is looked through every POLL seconds, a large one less often: that takes no more than 1/200 of the time.
POLL_SECONDS = 5.0
LOOK_SHARE = 200
RETRY_SECONDS = 2.0
# What triggers bring begins within seconds; after this many, none did.
GRACE_SECONDS = 20.0
# Who has just begun does not know yet what came meanwhile, and our own extracts have not run: silence is reported
# later.
HEARS_AFTER_SECONDS = 3600.0
# Turns of half a second after which file events are tried again.
REWATCH_TICKS = 120
# What landed is sent as soon as it has; what could not be, and what was compacted, after so long.
SEND_SECONDS = 600.0
# A server that is restarted, or begins, is no incident before.
SERVER_SECONDS = 75.0
# The operator is alerted again after this many seconds to what cannot be recorded as an incident, while it lasts.
ALERT_AGAIN_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 60.0

log = logging.getLogger("tidemark.watch")


class Watcher:
    """What the watcher does at each tick; ``clock`` is monotonic, in seconds, and ``calendar`` gives the moment."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        calendar: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._calendar = calendar
        self._specs = load_specs()
        self._journal = Journal(settings, calendar)
        self._landing: subprocess.Popen[bytes] | None = None
        self._jobs: subprocess.Popen[bytes] | None = None
        self._sending: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._is_waiting_for_server = False
        self._intake = Intake(settings, self._journal)
        self._intake_at, self._hears_from = clock(), clock() + HEARS_AFTER_SECONDS
        self._look_at = self._pass_at = self._tidy_at = self._server_answered = self._alert_at = clock()
        self._send_at = clock()

    @property
    def is_idle(self) -> bool:
        """Whether nothing that it started is at work. What is sent goes on wherever it was stopped."""
        return self._landing is None and (self._jobs is None or self._jobs.poll() is not None)

    def tick(self, woken: bool) -> None:
        """Look after what was started, and do what it is time for; ``woken`` says that files changed."""
        now = self._clock()
        if self._ended_landing():
            woken = self._failures == 0
            self._pass_at = self._send_at = now  # jobs may have waited for what landed
        if self._landing is None and (now >= self._look_at or (woken and not self._failures)):
            self._look()
        if now >= self._pass_at:
            self._pass_at = now + self._settings.watch_seconds
            try:
                self._pass()
            except TidemarkError as error:
                log.error("the schedule could not be looked at: %s", error)
                self._alert_operator(now, str(error))

        if self._settings.landed_url is not None and now >= self._send_at:
            self._send(now)

    def _send(self, now: float) -> None:
        """Start to send what landed to the object store: beside landing, which no store keeps waiting."""
        if self._sending is None or self._sending.poll() is not None:
            self._send_at = now + SEND_SECONDS
            self._sending = start(self._settings, "send")

    def _alert_operator(self, now: float, error: str) -> None:
        """Alert the operator directly: where the journal cannot be written, an incident cannot be either."""
        if now >= self._alert_at:
            self._alert_at = now + ALERT_AGAIN_SECONDS
            send_unnoted(self._settings, OPERATOR, "the watcher cannot do its work", error)

    def _ended_landing(self) -> bool:
        if self._landing is None or (code := self._landing.poll()) is None:
            return False
        self._landing = None
        self._failures = self._failures + 1 if code else 0
        if code:
            pause = min(LONGEST_PAUSE_SECONDS, RETRY_SECONDS * 2 ** min(self._failures, 10))
            self._look_at = self._clock() + pause
            log.error("landing ended with code %d; what it left waits in the inbox; next try in %.0f s", code, pause)
        return True

    def _look(self) -> None:
        """Start a landing where a file settled that was not dealt with."""
        began = self._clock()
        found = is_young = False
        try:
            with closing(Receipts(self._settings)) as receipts:
                for delivery in new_deliveries(self._settings.inbox, self._specs, receipts.is_unchanged):
                    found = is_settled(delivery.stat, time.time(), self._settings.settle_seconds)
                    if found:
                        break
                    is_young = True
        except (OSError, sqlite3.Error, ValueError, TidemarkError) as error:  # the disk, the landing index, a receipt
            log.error("the inbox %s cannot be checked for new files: %s", self._settings.inbox, error)
            self._alert_operator(began, f"the inbox cannot be checked for new files, so nothing lands: {error}")
        ended = self._clock()
        pause = min(POLL_SECONDS, self._settings.settle_seconds) if is_young else POLL_SECONDS
        self._look_at = ended + max(pause, LOOK_SHARE * (ended - began))
        if found and not self._must_wait_for_server():
            self._landing = start(self._settings, "land")

    def _must_wait_for_server(self) -> bool:
        """Whether landing must wait for the server, since landings are its flow runs; logged when that begins and
        ends."""
        error = server_error(self._settings)
        if error and not self._is_waiting_for_server:
            log.error(
                "files wait in the inbox: Prefect's server at %s does not answer (%s); they land when it does",
                api_url(self._settings),
                error,
            )
        elif self._is_waiting_for_server and not error:
            log.info("Prefect's server answers again: what waits in the inbox lands now")
        self._is_waiting_for_server = error is not None
        return self._is_waiting_for_server

    def _pass(self) -> None:
        """Find what is due, crashed or late."""
        now = self._calendar()
        is_server_up = self._look_after_server(now)
        for run in self._journal.void_future(now):
            log.warning(
                "the clock was set back: the run of %s for %s that says it began at %s is not believed",
                run.job,
                run.slot,
                run.started_at,
            )
        for line in self._journal.seen(JOBS, now):
            log.info(line)
        if down := self._journal.note_served(now):
            log.info("nothing was served for %s: deadlines stood still meanwhile", duration(down))
        crashed = self._journal.crash()
        for run in crashed:
            log.error("%s of %s crashed: %s; the next run heals what it left", run.job, run.slot, run.message)
        with observing(self._settings):
            state = self._journal.read_schedule_state(self._settings, JOBS, now)
            if state.trouble:
                log.error("what landed cannot be read, so nothing that needs it starts: %s", state.trouble)
            else:
                observe_refused(self._settings)
            decisions = decide(JOBS, state, now, organisation_timezone())
            observe_runs(self._settings, self._journal.failures(), now)
            observe_schedule(self._settings, decisions, state, now, self._journal.waits())
            if not state.trouble:
                self._look_at_intake(now)
        deliver(self._settings, now)
        overdue = [d for d in decisions if _was_missed(d, now)]
        if is_server_up and (crashed or overdue or self._clock() >= self._tidy_at):
            self._tidy_at = self._clock() + self._settings.tidy_seconds
            self._journal.prune(now)
            self._start_jobs(overdue)

    def _look_at_intake(self, now: datetime) -> None:
        began = self._clock()
        if began >= self._intake_at:
            self._intake.observe(now, may_call_silent=began >= self._hears_from)
            ended = self._clock()
            self._intake_at = ended + LOOK_SHARE * (ended - began)

    def _look_after_server(self, now: datetime) -> bool:
        """Whether the server answers; one that does not is reported once it had the time to restart."""
        error = server_error(self._settings)
        if error is None:
            self._server_answered = self._clock()
        if error is None or self._clock() - self._server_answered > SERVER_SECONDS:
            observe_server(self._settings, error, now)
        return error is None

    def _start_jobs(self, overdue: list[Decision]) -> None:
        if self._jobs is not None:
            if (code := self._jobs.poll()) is None:
                return
            if code:
                log.error("starting jobs ended with code %d, as said above; they are started again now", code)
        for decision in overdue:
            log.info("%s of %s is due since %s and was not started", decision.job, decision.slot, decision.due_at)
        self._jobs = start(self._settings, "jobs", *sorted({decision.job for decision in overdue}))


def _was_missed(decision: Decision, now: datetime) -> bool:
    return decision.state == "due" and (now - decision.due_at).total_seconds() > GRACE_SECONDS


def start(settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
    """Start :mod:`flows.orchestrate.service.launch` in a warm process."""
    return subprocess.Popen(
        [*client_command(settings), "flows.orchestrate.service.launch", *arguments], stdin=subprocess.DEVNULL
    )


def server_error(settings: Settings) -> str | None:
    """Why the server does not answer; None where it does."""
    try:
        with urllib.request.urlopen(f"{api_url(settings)}/health", timeout=5):
            return None
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def watch(settings: Settings) -> None:
    """Watch until interrupted, or until another release is active."""
    make_inbox(settings.inbox)
    watcher = _begin(settings)
    log.info("watching %s", settings.inbox)
    for woken in _wakes(settings.inbox):
        watcher.tick(woken)
        if watcher.is_idle and is_outdated(settings):
            log.info("another release is active: the watcher restarts as that")
            return


def _begin(settings: Settings) -> Watcher:
    """A watcher, as soon as the journal can be opened. Nobody else would report that it cannot."""
    alert_at = time.monotonic()
    while True:
        try:
            return Watcher(settings)
        except TidemarkError as error:
            log.error("the watcher cannot begin: %s", error)
            if time.monotonic() >= alert_at:
                alert_at = time.monotonic() + ALERT_AGAIN_SECONDS
                send_unnoted(settings, OPERATOR, "the watcher cannot begin", str(error))
        time.sleep(settings.watch_seconds)


def _wakes(inbox: Path) -> Iterator[bool]:
    """Turns: True when files changed and the burst is over, False when nothing did for a second."""
    while True:
        try:
            make_inbox(inbox)
            watched = inbox.stat().st_ino
            for changes in watchfiles.watch(
                inbox,
                watch_filter=None,
                debounce=GATHER_MS,
                step=QUIET_MS,
                rust_timeout=1_000,
                yield_on_timeout=True,
            ):
                yield bool(changes)
                if not inbox.exists() or inbox.stat().st_ino != watched:
                    break  # somebody emptied it by taking the folder itself away
        except (OSError, RuntimeError) as error:  # more folders than the system lets watch: then polling must do
            log.warning("no file events (%s); the inbox is polled for now", error)
            for _ in range(REWATCH_TICKS):
                time.sleep(0.5)
                yield False


def main() -> None:
    """The watcher's process, with a line of JSON for each log record."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=os.environ.get("PREFECT_LOGGING_LEVEL", "INFO"), handlers=[handler])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    watch(Settings())


if __name__ == "__main__":
    main()
