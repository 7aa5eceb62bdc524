"""Alerts are judged by what local servers received: an alert that was not received was not sent."""

import email
import email.policy
import json
import logging
import socket
import socketserver
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flows.alerts import notify as alerts
from flows.alerts.channels import load_channels, redacted
from flows.alerts.incidents import KEPT_DAYS
from flows.alerts.messages import Message, fit
from flows.alerts.notify import Observed, Problem, deliver, digest, note, observe, open_incidents, unsent
from flows.cli import main
from flows.contract.spec import PROJECT
from flows.errors import TidemarkError
from flows.settings import Settings
from flows.text import cut
from tests.support.alerts import NOW, PROBLEM, Hook, _Answer
from tests.support.processes import FORKSERVER

TOKEN = "tOkEn-of-the-tests-4711"
WARNING = replace(
    PROBLEM, key="test:w", title="test w warned", is_warning=True, rows=7, reproduce="tidemark build -- w"
)


class Post(socketserver.ThreadingTCPServer):
    """A mail server: keeps what it was sent as (recipients, message)."""

    daemon_threads = True

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], email.message.EmailMessage]] = []
        super().__init__(("127.0.0.1", 0), _Deliver)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Deliver(socketserver.StreamRequestHandler):
    server: Post

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        to: list[str] = []
        while line := self.rfile.readline():
            command = line.decode().strip()
            if command.upper().startswith("RCPT TO:"):
                to.append(command[8:].split()[0].strip("<>"))
            if command.upper() == "DATA":
                self.wfile.write(b"354 go on\r\n")
                data = b""
                while (line := self.rfile.readline()) != b".\r\n":
                    data += line
                message = email.message_from_bytes(data, policy=email.policy.default)
                self.server.mails.append((to, message))  # type: ignore[arg-type]
            self.wfile.write(b"221 bye\r\n" if command.upper() == "QUIT" else b"250 ok\r\n")
            if command.upper() == "QUIT":
                return


@pytest.fixture(name="hook")
def hook_fixture() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


@pytest.fixture(name="other")
def other_fixture() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


@pytest.fixture(autouse=True)
def no_channel_rests_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports come again in other tests, and with them addresses."""
    monkeypatch.setattr(alerts, "_kept_waiting", {})


@pytest.fixture(name="settings")
def settings_fixture(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "data")


def give(settings: Settings, **channels: list[str]) -> None:
    """Write the channels file."""
    settings.channels.parent.mkdir(parents=True, exist_ok=True)
    settings.channels.touch(mode=0o600)
    settings.channels.write_text(yaml.safe_dump(channels))


def see(settings: Settings, *problems: Problem, minutes: float = 0, scope: str = "build") -> Observed:
    """Observe these problems, this many minutes after NOW."""
    return observe(settings, scope, problems, NOW + timedelta(minutes=minutes))


# What arrives


def test_an_alert_says_what_whose_since_when_how_many_how_to_reproduce_and_where(
    settings: Settings, hook: Hook
) -> None:
    give(settings, audience=[f"json://{hook.at}/hooks/{TOKEN}"])
    assert see(settings, PROBLEM).unsent == 0
    [(path, body)] = hook.bodies
    assert path == f"/hooks/{TOKEN}"
    assert body["title"] == "[tidemark] test fct_sessions_has_valid_rows failed"
    assert body["type"] == "failure", "which gives it a colour where a service has colours"
    assert body["message"].splitlines() == [
        "test fct_sessions_has_valid_rows failed",
        "owner: audience",
        "since: 2026-11-22 05:00 UTC, 12 min when noticed",
        "rows: 1,204",
        "detail: broken rules, with rows: engaged_seconds is not negative (1204)",
        "reproduce: tidemark build -- --select fct_sessions_has_valid_rows",
        "link: http://tidemark.example/runs/1",
    ]


def test_an_alert_says_what_fixes_it_after_what_shows_it_again(settings: Settings, hook: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"])
    see(settings, replace(PROBLEM, remedy="fix it, then `tidemark build --retry`"))
    *_, reproduce, remedy, _ = hook.bodies[0][1]["message"].splitlines()
    assert reproduce.startswith("reproduce: ") and remedy == "remedy: fix it, then `tidemark build --retry`"
    assert open_incidents(settings)[0].problem.remedy == "fix it, then `tidemark build --retry`"


def test_an_alert_is_sent_once_and_followed_by_a_recovery(settings: Settings, hook: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"])
    assert len(see(settings, PROBLEM).opened) == 1
    for minutes in (1, 2, 3):
        assert see(settings, PROBLEM, minutes=minutes).held == 1
    assert len(hook.bodies) == 1
    assert [i.problem.key for i in see(settings, minutes=113).recovered] == [PROBLEM.key]
    see(settings, minutes=114)
    assert hook.texts == [
        "test fct_sessions_has_valid_rows failed",
        "recovered after 2 h 5 min: test fct_sessions_has_valid_rows failed",
    ]
    assert "until: 2026-11-22 07:05 UTC" in hook.bodies[1][1]["message"]
    assert [body["type"] for _, body in hook.bodies] == ["failure", "success"]
    assert open_incidents(settings) == unsent(settings) == []


def test_a_recovery_links_to_the_run_that_fixed_it_and_never_to_the_one_that_failed(
    settings: Settings, hook: Hook
) -> None:
    give(settings, audience=[f"json://{hook.at}"])
    for fixed_by in (None, "http://tidemark.example/runs/2"):
        note(settings, "build", [PROBLEM], NOW)
        note(settings, "build", [], NOW, fixed_by=fixed_by)
    deliver(settings, NOW)
    _, by_hand, _, by_run = (body["message"] for _, body in hook.bodies)
    assert "http" not in by_hand
    assert by_run.splitlines()[-1] == "fixed by: http://tidemark.example/runs/2" and PROBLEM.link not in by_run


def test_what_comes_back_is_a_new_incident(settings: Settings, hook: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"])
    for problems in ([PROBLEM], [], [PROBLEM]):
        see(settings, *problems)
    assert hook.texts == [PROBLEM.title, f"recovered after 12 min: {PROBLEM.title}", PROBLEM.title]


def test_more_rows_or_another_since_is_the_same_incident(settings: Settings, hook: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"])
    see(settings, PROBLEM)
    see(settings, replace(PROBLEM, rows=5, since=NOW, detail="x" * 600))
    assert len(hook.bodies) == 1
    [incident] = open_incidents(settings)
    assert (incident.problem.rows, incident.problem.since) == (5, PROBLEM.since)
    assert len(incident.problem.detail) == 500
    assert "... " in incident.problem.detail


def test_scopes_do_not_end_each_others_incidents(settings: Settings, hook: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"])
    see(settings, PROBLEM)
    late = replace(PROBLEM, scope="schedule", title="late")
    assert see(settings, late, scope="schedule").recovered == ()
    assert see(settings, scope="landing").recovered == ()
    assert hook.texts == [PROBLEM.title, "late"]
    with pytest.raises(ValueError, match="another scope"):
        see(settings, late)


def test_alerts_go_to_the_owners_channels_else_to_the_default(settings: Settings, hook: Hook, other: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}/1", f"json://{hook.at}/2"], default=[f"json://{other.at}"])
    see(settings, PROBLEM, replace(PROBLEM, key="k", owner="adverts", title="of adverts"))
    assert [path for path, _ in hook.bodies] == ["/1", "/2"]
    assert other.texts == ["of adverts"]


def test_an_alert_of_several_owners_reaches_each_and_each_address_once(
    settings: Settings, hook: Hook, other: Hook
) -> None:
    shared = f"json://{hook.at}/shared"
    give(
        settings,
        **{"audience-insight": [f"json://{hook.at}/1", shared], "data-platform": [shared, f"json://{hook.at}/2"]},
        default=[f"json://{other.at}"],
    )
    of_both = replace(PROBLEM, owner="audience-insight, data-platform")
    see(settings, of_both)
    assert [path for path, _ in hook.bodies] == ["/1", "/shared", "/2"]
    assert other.bodies == []
    see(settings, of_both, replace(PROBLEM, key="k", owner="customer-data, data-platform", title="of others"))
    assert [path for path, _ in hook.bodies[3:]] == ["/shared", "/2"]
    assert other.texts == ["of others"]


def test_of_several_owners_channels_at_one_host_only_that_which_failed_is_tried_again(
    settings: Settings, hook: Hook
) -> None:
    give(settings, **{"audience-insight": [f"json://{hook.at}/1"], "data-platform": [f"json://{hook.at}/2"]})
    of_both = replace(PROBLEM, owner="audience-insight, data-platform")
    labels = [channel.label for channel in load_channels(settings).of(of_both.owner)]
    assert labels == [f"json://{hook.at} of audience-insight", f"json://{hook.at} of data-platform"]
    refused = {"/2"}

    def refuse(self: Any) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path not in refused:
            hook.bodies.append((self.path, body))
        self.send_response(400 if self.path in refused else 200)
        self.end_headers()

    hook.RequestHandlerClass = type("Refuses", (_Answer,), {"do_POST": refuse})
    assert see(settings, of_both).unsent == 1
    refused.clear()
    assert see(settings, of_both).unsent == 0
    assert [path for path, _ in hook.bodies] == ["/1", "/2"]


def test_of_several_owners_one_without_a_channel_is_alerted_once_there_is_one(settings: Settings, hook: Hook) -> None:
    give(settings, **{"data-platform": [f"json://{hook.at}/2"]})
    of_both = replace(PROBLEM, owner="audience-insight, data-platform")
    assert see(settings, of_both).unsent == 1
    [incident] = unsent(settings)
    assert "no channel for owner audience-insight" in str(incident.last_error)
    give(settings, **{"audience-insight": [f"json://{hook.at}/1"], "data-platform": [f"json://{hook.at}/2"]})
    assert see(settings, of_both).unsent == 0
    assert [path for path, _ in hook.bodies] == ["/2", "/1"]


def test_a_warning_of_several_owners_is_in_the_digest_of_each(settings: Settings, hook: Hook, other: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"], adverts=[f"json://{other.at}"])
    see(settings, replace(WARNING, owner="adverts, audience"), replace(WARNING, key="v", owner="audience"))
    assert digest(settings, NOW) == 2
    assert hook.texts == ["open warnings: 2; over since the last digest: 0"]
    assert other.texts == ["open warnings: 1; over since the last digest: 0"]


def test_who_was_alerted_gets_the_recovery_and_who_owns_a_warning_the_warning(
    settings: Settings, hook: Hook, other: Hook
) -> None:
    give(settings, audience=[f"json://{hook.at}"], adverts=[f"json://{other.at}"])
    see(settings, PROBLEM, WARNING)
    see(settings, replace(PROBLEM, owner="adverts"), replace(WARNING, owner="adverts"))
    see(settings, replace(WARNING, owner="adverts"))
    digest(settings, NOW)
    assert hook.texts == [PROBLEM.title, f"recovered after 12 min: {PROBLEM.title}"]
    assert other.texts == ["open warnings: 1; over since the last digest: 0"]


def test_a_slack_compatible_hook_gets_text_alone_in_which_nothing_is_a_sign(settings: Settings, hook: Hook) -> None:
    give(settings, audience=[f"slack+http://{hook.at}/services/T0/B0/{TOKEN}?rto=5"])
    see(settings, replace(PROBLEM, detail="<!channel> & a < b"))
    [(path, body)] = hook.bodies
    assert path == f"/services/T0/B0/{TOKEN}"
    assert set(body) == {"text"}
    assert body["text"].startswith("[tidemark] test fct_sessions_has_valid_rows failed\nowner: audience\n")
    assert "detail: &lt;!channel&gt; &amp; a &lt; b\n" in body["text"]


@pytest.mark.parametrize("form", ["", "&format=text"])
def test_a_mail_arrives_with_subject_and_body(settings: Settings, form: str) -> None:
    post = Post()
    give(settings, audience=[f"mailto://{post.at}?from=tidemark@example.org&to=audience@example.org{form}"])
    assert see(settings, replace(PROBLEM, title="two\nlines\x00", detail="a < b")).unsent == 0
    [(to, mail)] = post.mails
    assert to == ["audience@example.org"]
    assert mail["subject"] == "[tidemark] two lines"
    body = mail.get_body(("plain",))
    assert body is not None
    assert "owner: audience" in body.get_content()
    assert "detail: a < b" in body.get_content()
    post.shutdown()
    post.server_close()


# What does not arrive


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_was_not_taken_is_tried_again_at_the_next_observation(settings: Settings, hook: Hook, status: int) -> None:
    give(settings, audience=[f"json://{hook.at}/{TOKEN}?optional=yes"])  # to Apprise a failure then counts as sent
    hook.status = status
    assert see(settings, PROBLEM).unsent == 1
    assert see(settings, PROBLEM).unsent == 1
    [incident] = unsent(settings)
    assert incident.attempts == 2
    assert incident.last_error is not None and f"error={status}" in incident.last_error
    hook.status = 200
    assert observe(settings, "landing", [], NOW).unsent == 0
    assert hook.texts == [PROBLEM.title]
    assert unsent(settings) == []
    assert len(open_incidents(settings)) == 1


def test_of_two_channels_only_the_one_that_failed_is_tried_again(settings: Settings, hook: Hook, other: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}", f"json://{other.at}"])
    other.status = 500
    for _ in range(3):
        see(settings, PROBLEM)
    other.status = 200
    see(settings, PROBLEM)
    assert hook.texts == other.texts == [PROBLEM.title]


def test_what_recovers_before_it_could_be_sent_is_sent_afterwards_in_order(settings: Settings, hook: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"])
    hook.status = 500
    for minutes in range(3):
        see(settings, PROBLEM, minutes=minutes)
    see(settings, minutes=3)
    assert [(i.problem.key, i.recovered_at is not None) for i in unsent(settings)] == [(PROBLEM.key, True)]
    hook.status = 200
    assert see(settings, minutes=4).unsent == 0
    assert hook.texts == [PROBLEM.title, f"recovered after 15 min: {PROBLEM.title}"]


def test_a_recovery_waits_for_its_alert_and_holds_up_no_other(settings: Settings, hook: Hook) -> None:
    """A service that refuses one message for what it says: others pass it."""
    give(settings, audience=[f"json://{hook.at}"])
    refused = replace(PROBLEM, key="refused", title="refused")

    def refuse(self: Any) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_refused = body["message"].startswith("refused")
        if not is_refused:
            hook.bodies.append((self.path, body))
        self.send_response(400 if is_refused else 200)
        self.end_headers()

    hook.RequestHandlerClass = type("Refuses", (_Answer,), {"do_POST": refuse})
    see(settings, refused)
    see(settings, refused, PROBLEM)
    see(settings, PROBLEM)
    see(settings, PROBLEM)
    assert hook.texts == [PROBLEM.title]
    see(settings, replace(PROBLEM, key="k", title="later"))
    see(settings)
    see(settings)
    assert f"recovered after 12 min: {PROBLEM.title}" in hook.texts
    assert not [text for text in hook.texts if text.endswith("refused")]
    assert [i.problem.key for i in unsent(settings)] == ["refused"]


def connections_to(server: socket.socket) -> int:
    """How many connections a server has that nobody took yet: they are taken now."""
    server.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_a_server_that_never_answers_is_waited_for_once_in_an_observation(
    settings: Settings, other: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.alerts.channels.TIMEOUT_SECONDS", 0.9)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, reads and answers nothing
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        give(
            settings, audience=[f"json://{at}", f"json://{other.at}"], default=[f"mailto://{at}?to=a@b.se&from=c@d.se"]
        )
        done = see(settings, *(replace(PROBLEM, key=str(n), title=f"title {n}") for n in range(20)))
        see(settings, *(replace(PROBLEM, scope="flow", key=str(n), owner="none") for n in range(20)), scope="flow")
        assert 2 <= connections_to(silent) <= 4, "one channel, then two: not twenty each"
    assert done.unsent == 20
    assert sorted(other.texts) == sorted(f"title {n}" for n in range(20))


def test_a_channel_that_did_not_answer_holds_up_one_observation_and_is_tried_again_later(
    settings: Settings, other: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.alerts.channels.TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(alerts, "SLOW_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        give(settings, audience=[f"json://127.0.0.1:{port}", f"json://{other.at}"])
        see(settings, PROBLEM)
        assert connections_to(silent) == 1
        for minutes in (1, 2, 3):
            assert see(settings, PROBLEM, minutes=minutes).unsent == 1
        assert see(settings, replace(PROBLEM, scope="flow", title="later"), scope="flow").unsent == 2
        assert connections_to(silent) == 0, "it is left alone"
    assert other.texts == [PROBLEM.title, "later"]
    assert [i.attempts for i in unsent(settings)] == [1, 0]
    hook = Hook(port)
    assert see(settings, PROBLEM).unsent == 2
    monkeypatch.setattr(alerts, "REST_SECONDS", 0.0)
    assert see(settings, PROBLEM).unsent == 0
    assert sorted(hook.texts) == sorted([PROBLEM.title, "later"])
    assert other.texts == [PROBLEM.title, "later"]
    hook.stop()


def test_services_that_take_their_time_do_not_hold_up_an_observation_for_ever(
    settings: Settings, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "SENDING_SECONDS", 0.5)
    give(settings, audience=[f"json://{hook.at}"])
    hook.seconds = 0.2
    many = [replace(PROBLEM, key=str(n)) for n in range(10)]
    left = see(settings, *many).unsent
    assert 6 <= left < 10
    while left:
        now_left = see(settings, *many).unsent
        assert now_left < left
        left = now_left
    assert len(hook.bodies) == 10


def test_without_a_channel_the_alert_is_logged_once_and_stays_unsent(
    settings: Settings, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    give(settings, **{"data-platform": [f"json://{hook.at}"]})
    for _ in range(2):
        assert see(settings, PROBLEM).unsent == 1
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    for said in (
        "no channel for owner audience",
        "fct_sessions_has_valid_rows failed",
        "rows: 1,204",
        str(settings.channels),
    ):
        assert said in record.getMessage()
    assert [i.attempts for i in unsent(settings)] == [2]
    give(settings, default=[f"json://{hook.at}"])
    assert see(settings, PROBLEM).unsent == 0
    assert hook.texts == [PROBLEM.title]


def test_a_channels_file_that_is_wrong_fails_no_observation(
    settings: Settings, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    give(settings, audience=["nonsense"])
    assert see(settings, PROBLEM).unsent == 1
    assert "owner audience, address 1" in caplog.text
    give(settings, audience=[f"json://{hook.at}"])
    assert see(settings, PROBLEM).unsent == 0
    assert hook.texts == [PROBLEM.title]


def test_incidents_that_cannot_be_written_are_an_error(settings: Settings) -> None:
    settings.incidents.parent.mkdir(parents=True)
    settings.incidents.write_bytes(b"no database" * 1000)
    with pytest.raises(TidemarkError, match=r"incidents\.sqlite.*move it away"):
        see(settings, PROBLEM)


# Warnings


def test_warnings_come_in_one_digest_per_owner_and_day(settings: Settings, hook: Hook, other: Hook) -> None:
    give(settings, audience=[f"json://{hook.at}"], default=[f"json://{other.at}"])
    see(settings, WARNING, replace(WARNING, key="v", title="test v warned"), replace(WARNING, key="u", owner="adverts"))
    assert hook.bodies == other.bodies == []
    assert digest(settings, NOW) == 2
    assert digest(settings, NOW + timedelta(hours=5)) == 0
    [(_, body)] = hook.bodies
    assert body["title"] == "[tidemark] open warnings: 2; over since the last digest: 0"
    assert body["type"] == "warning"
    assert body["message"].splitlines()[1:] == [
        "warning: test w warned",
        "  since: 2026-11-22 05:00 UTC (12 min)",
        "  rows: 7",
        "  reproduce: tidemark build -- w",
        "  link: http://tidemark.example/runs/1",
        "warning: test v warned",
        "  since: 2026-11-22 05:00 UTC (12 min)",
        "  rows: 7",
        "  reproduce: tidemark build -- w",
        "  link: http://tidemark.example/runs/1",
    ]
    assert other.texts == ["open warnings: 1; over since the last digest: 0"]


def test_a_digest_says_once_what_recovered_and_then_nothing(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    see(settings, WARNING)
    see(settings, minutes=60)
    see(settings, replace(WARNING, owner="adverts"), minutes=90)
    see(settings, replace(WARNING, owner="audience"), minutes=91)
    assert [digest(settings, NOW + timedelta(days=day)) for day in (1, 2)] == [1, 1]
    assert hook.bodies[0][1]["message"].splitlines()[-1] == "recovered after 1 h 12 min: test w warned"
    assert hook.texts[1] == "open warnings: 1; over since the last digest: 0"
    see(settings, minutes=60 * 50)
    assert [digest(settings, NOW + timedelta(days=day)) for day in (3, 4, 5)] == [1, 0, 0]
    assert hook.texts[2:] == ["open warnings: 0; over since the last digest: 1"]


def test_the_day_of_a_digest_is_that_of_the_organisation(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    see(settings, WARNING)
    before_midnight = datetime(2026, 11, 22, 22, 59, tzinfo=UTC)  # 23:59 in Stockholm
    assert [digest(settings, before_midnight + timedelta(minutes=m)) for m in (0, 1, 2)] == [1, 1, 0]


def test_a_digest_that_was_not_taken_is_tried_again_by_any_observation(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    see(settings, WARNING)
    hook.status = 500
    assert digest(settings, NOW) == 0
    assert [i.problem.key for i in unsent(settings)] == ["test:w"]
    hook.status = 200
    assert see(settings, WARNING).unsent == 0
    assert digest(settings, NOW) == 0
    assert hook.texts == ["open warnings: 1; over since the last digest: 0"]


def test_a_warning_that_becomes_a_failure_alerts_and_the_other_way_recovers(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    see(settings, WARNING)
    see(settings, replace(WARNING, is_warning=False, title="test w failed"))
    assert hook.texts == ["test w failed"]
    digest(settings, NOW)
    assert hook.bodies[1][1]["message"].splitlines()[1:] == ["became a failure after 12 min: test w warned"]
    see(settings, WARNING)
    assert hook.texts[2] == "recovered after 12 min: test w failed"
    assert "still: a warning, which is in the daily digest" in hook.bodies[2][1]["message"]


# The clock


def test_a_clock_set_back_sends_nothing_twice_and_makes_no_negative_time(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    see(settings, PROBLEM, WARNING)
    assert digest(settings, NOW) == 1
    back = -60 * 24 * 3
    see(settings, PROBLEM, WARNING, minutes=back)
    assert digest(settings, NOW) == 0
    see(settings, replace(PROBLEM, key="new"), WARNING, minutes=back)
    assert len(hook.bodies) == 4
    assert hook.texts[2:] == [PROBLEM.title, f"recovered after less than a minute: {PROBLEM.title}"]
    assert "since: 2026-11-22 05:00 UTC, less than a minute when noticed" in hook.bodies[2][1]["message"]


def test_a_clock_that_was_years_ahead_stops_no_digest(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    see(settings, WARNING)
    assert [digest(settings, NOW + timedelta(days=day)) for day in (900, 0)] == [1, 1]


def test_a_time_without_zone_is_an_error(settings: Settings) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        see(settings, replace(PROBLEM, since=datetime(2026, 1, 1)))
    assert open_incidents(settings) == []


def test_what_is_long_over_and_delivered_is_deleted(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    held = replace(PROBLEM, key="held")
    see(settings, PROBLEM, held, WARNING)
    see(settings, held)
    hook.status = 500
    see(settings, held, replace(PROBLEM, key="unsent"))
    see(settings, held)
    see(settings, held, minutes=60 * 24 * (KEPT_DAYS + 1))
    with sqlite3.connect(settings.incidents) as database:
        kept = {key for (key,) in database.execute("select key from incidents")}
        messages = database.execute("select count(*) from messages").fetchone()
    assert kept == {"held", "unsent", WARNING.key}  # no digest has the warning yet
    assert messages == (3,)


# Several processes, and kills


def _observe_together(home: Path, number: int, start: float) -> None:
    time.sleep(max(0.0, start - time.time()))
    settings = Settings(home=home)
    see(settings, PROBLEM)
    see(settings, replace(PROBLEM, scope=f"flow {number}", title=f"own {number}"), scope=f"flow {number}")


def test_processes_that_observe_at_once_alert_once(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    hook.seconds = 0.05
    for round_ in range(2):
        together = [
            FORKSERVER.Process(target=_observe_together, args=(settings.home, n, time.time() + 2)) for n in "abc"
        ]
        for process in together:
            process.start()
        for process in together:
            process.join()
            assert process.exitcode == 0
        assert sorted(hook.texts) == ["own a", "own b", "own c", PROBLEM.title], f"round {round_}"
        for scope in ("build", "flow a", "flow b", "flow c"):
            see(settings, scope=scope)
        hook.bodies.clear()


def test_who_sends_also_sends_what_others_wrote_meanwhile(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    hook.seconds = 0.5
    sender = threading.Thread(target=see, args=(settings, PROBLEM))
    sender.start()
    _wait(lambda: hook.requests == 1)
    assert see(settings, replace(PROBLEM, scope="flow", title="meanwhile"), scope="flow").unsent == 2
    sender.join()
    assert hook.texts == [PROBLEM.title, "meanwhile"]


def _observe(home: Path) -> None:
    see(Settings(home=home), PROBLEM)


def _wait(until: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_killed_before_sending_leaves_the_alert_to_the_next(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        give(settings, default=[f"json://127.0.0.1:{port}"])
        process = FORKSERVER.Process(target=_observe, args=(settings.home,))
        process.start()
        connection, _ = silent.accept()  # it is at sending, and has the lock
        assert len(unsent(settings)) == 1
        assert see(settings, PROBLEM).unsent == 1  # leaves the sending to the other
        process.kill()
        process.join()
        connection.close()
    hook = Hook(port)
    assert see(settings, PROBLEM).unsent == 0
    assert hook.texts == [PROBLEM.title]
    hook.stop()


def test_a_process_killed_after_sending_may_send_twice_but_never_not(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    read = threading.Event()

    def hang(self: Any) -> None:
        hook.bodies.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
        read.set()
        time.sleep(5)

    hook.RequestHandlerClass = type("Hangs", (_Answer,), {"do_POST": hang})
    process = FORKSERVER.Process(target=_observe, args=(settings.home,))
    process.start()
    assert read.wait(20)
    process.kill()
    process.join()
    hook.RequestHandlerClass = _Answer
    see(settings, PROBLEM)
    see(settings, PROBLEM)
    assert hook.texts == [PROBLEM.title, PROBLEM.title]


# Secrets


def test_no_address_reaches_a_log_an_error_or_the_store(
    settings: Settings, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    logging.getLogger("urllib3.connectionpool").warning("of another's request")
    closed = socket.create_server(("127.0.0.1", 0))
    nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    give(
        settings,
        audience=[
            f"json://user:{TOKEN}@{hook.at}/hooks/{TOKEN}?+X-Key={TOKEN}&-k={TOKEN}",
            f"slack+http://{hook.at}/services/{TOKEN}",
            f"slack+http://{nowhere}/services/{TOKEN}",
            f"mailto://user:{TOKEN}@{nowhere}?to=a@b.se&from=c@d.se&mode=insecure",
            f"json://{TOKEN}.invalid/",
        ],
    )
    see(settings, PROBLEM)
    hook.status = 500
    see(settings, PROBLEM, replace(PROBLEM, key="k"))
    [first, *_] = load_channels(settings).of("audience")
    assert len(hook.bodies) == 2
    said = caplog.text + repr(first) + "".join(str(i.last_error) for i in unsent(settings))
    said += "".join(p.read_bytes().decode("latin-1") for p in settings.incidents.parent.iterdir())
    said = said.replace(f"json://{TOKEN}.invalid".lower(), "").replace(f"json://{TOKEN}.invalid", "")  # a host
    assert "of another's request" in said
    assert "Failed to send JSON" in said
    assert TOKEN.lower() not in said.lower()


def test_where_a_token_stands_for_the_host_only_the_scheme_is_shown(settings: Settings) -> None:
    slack = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
    give(settings, audience=[slack, slack + "#general", "json://hooks.example.org/1", "jsons://hooks.example.org:9/1"])
    labels = [channel.label for channel in load_channels(settings).of("audience")]
    assert labels == ["slack://", "slack:// (2)", "json://hooks.example.org", "jsons://hooks.example.org:9"]


@pytest.mark.parametrize(
    "address",
    [f"ntfy://{TOKEN}", f"ntfys://{TOKEN}", f"matrix://{'a1' * 32}", f"notica://{TOKEN}", f"pushdeer://{'a1' * 32}"],
)
def test_a_token_where_others_have_a_host_is_not_shown(settings: Settings, address: str) -> None:
    give(settings, audience=[address])
    [channel] = load_channels(settings).of("audience")
    assert channel.label == address.partition("://")[0] + "://"


def test_redaction_takes_every_part_of_an_address() -> None:
    said = redacted(
        f"to http://h.example/a/{TOKEN}?k=s%20cret: s cret", f"jsons://u:pass@h.example/a/{TOKEN}?k=s%20cret"
    )
    assert said == "to http://***/a/***?k=***: ***"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_channels_file_that_others_may_use_is_refused(settings: Settings, mode: int) -> None:
    give(settings, audience=["json://hooks.example.org"])
    settings.channels.chmod(mode)
    with pytest.raises(TidemarkError, match=r"channels\.yml.*chmod 600"):
        load_channels(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"audience: [json://ok.example.org, 'nonsense://{TOKEN}']", "owner audience, address 2: Apprise cannot"),
        (f"audience: ['slack://{TOKEN}']", "owner audience, address 1: Apprise cannot"),
        (f"audience: ['json://h.example:{TOKEN}:x']", "owner audience, address 1: Apprise cannot"),
        (f"audience: json://h.example/{TOKEN}", "owner audience: must be a list"),
        ("audience: []", "owner audience: must be a list"),
        (f"audience: [json://ok.example.org]\nb: [{TOKEN}\nc: x", "line 3: not YAML"),
        (f"- json://h.example/{TOKEN}", "must be a mapping"),
        (f"audience: [{{json: {TOKEN}}}]", "owner audience: must be a list"),
    ],
)
def test_a_channels_file_that_is_wrong_is_refused_without_a_secret(
    settings: Settings, text: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    give(settings)
    settings.channels.write_text(text)
    with pytest.raises(TidemarkError) as error:
        load_channels(settings)
    assert message in str(error.value)
    assert str(settings.channels) in str(error.value)
    assert TOKEN.lower() not in (str(error.value) + caplog.text).lower()
    assert error.value.__cause__ is None


def test_a_store_of_an_earlier_version_keeps_what_it_has_and_goes_on(settings: Settings, hook: Hook) -> None:
    see(settings, PROBLEM)  # unsent, as there is no channel yet
    with closing(sqlite3.connect(settings.incidents)) as store:
        store.executescript("alter table messages drop column kind; alter table incidents drop column remedy;")
        store.execute("pragma user_version = 1")
    assert open_incidents(settings)[0].problem.title == PROBLEM.title, "who only reads upgrades nothing"
    give(settings, audience=[f"json://{hook.at}"])
    see(settings, minutes=1)
    assert [body["type"] for _, body in hook.bodies] == ["info", "success"]


def test_the_incidents_are_for_their_owner_alone(settings: Settings) -> None:
    see(settings, PROBLEM)
    assert stat.S_IMODE(settings.incidents.stat().st_mode) == 0o600


def test_the_channels_file_is_below_the_home_unless_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings(home=tmp_path).channels == tmp_path / "secrets" / "channels.yml"
    monkeypatch.setenv("TIDEMARK_HOME", "elsewhere")
    assert Settings().channels == Path("elsewhere/secrets/channels.yml")
    monkeypatch.delenv("TIDEMARK_HOME")
    assert Settings().channels == Path("data/secrets/channels.yml")
    monkeypatch.setenv("TIDEMARK_CHANNELS", str(tmp_path / "mine.yml"))
    assert Settings(home=tmp_path).channels == tmp_path / "mine.yml"


# Room


def test_what_has_no_room_is_counted(settings: Settings, hook: Hook) -> None:
    give(settings, default=[f"json://{hook.at}"])
    see(settings, *(replace(WARNING, key=str(n), title=f"test {n} warned") for n in range(400)))
    assert digest(settings, NOW) == 1
    [(_, body)] = hook.bodies
    lines = body["message"].splitlines()
    result = sum(line.startswith("warning: ") for line in lines)
    assert 100 < result < 400
    assert lines[-1] == f"... {400 - result} more warnings"
    assert len(body["message"]) <= 32768


@pytest.mark.parametrize("room", range(30, 140, 7))
@pytest.mark.parametrize("is_escaped", [False, True])
def test_a_text_never_exceeds_its_room(room: int, is_escaped: bool) -> None:
    items = ("owner: audience", "detail: " + "<x>" * 20, "link: http://tidemark.example")
    text = fit(Message("a headline", items), room, is_escaped=is_escaped)
    assert len(text) <= room
    assert text.startswith("a headline")
    assert "more" in text or text.count("\n") == 3


def test_a_text_says_how_much_of_it_is_missing() -> None:
    text = cut("x" * 1034, 60)
    kept = len(text) - len(text.lstrip("x"))
    assert len(text) == 60
    assert text.endswith(f"x ... {1034 - kept:,} more characters")
    assert cut("abc", 3) == "abc"


# The command


def test_the_command_says_per_channel_whether_it_took_the_test(
    settings: Settings, hook: Hook, other: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(settings.home))
    give(settings, **{"audience-insight": [f"json://{hook.at}/{TOKEN}", f"slack+http://{other.at}/{TOKEN}"]})
    done = CliRunner().invoke(main, ["alert", "--test", "audience-insight"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [f"json://{hook.at}: taken", f"slack+http://{other.at}: taken"]
    assert hook.texts == ["test message to audience-insight"]
    assert other.texts == ["[tidemark] test message to audience-insight"]
    other.status = 500
    done = CliRunner().invoke(main, ["alert", "--test", "audience-insight"])
    assert done.exit_code == 1
    assert f"json://{hook.at}: taken" in done.output
    assert f"slack+http://{other.at}: not taken: " in done.output
    assert TOKEN not in done.output
    done = CliRunner().invoke(main, ["alert", "--test", "customer-data"])
    assert done.exit_code == 1
    assert "no channel for owner customer-data" in done.output


def test_without_a_channels_file_the_command_says_so_and_what_to_write(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(settings.home))
    done = CliRunner().invoke(main, ["alert", "--test", "audience-insight"])
    result = " ".join(done.output.split())
    assert done.exit_code == 1 and "channels.yml does not exist" in result and "has no channel" not in result
    assert "`default: [mailtos://" in result and "docs/guides/alerts.md" in result


def test_the_command_refuses_an_owner_of_nothing_and_names_those_there_are(
    settings: Settings, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(settings.home))
    give(settings, audience=[f"json://{hook.at}"], default=[f"json://{hook.at}"])
    for owner in ("audience", "nobody", "audience, data-platform"):
        done = CliRunner().invoke(main, ["alert", "--test", owner])
        assert done.exit_code == 1
        assert "no owner" in done.output
        assert all(known in done.output for known in ("audience-insight", "customer-data", "data-platform"))
    assert hook.bodies == []
    for owner in ("default", "audience-insight, data-platform"):
        assert CliRunner().invoke(main, ["alert", "--test", owner]).exit_code == 0


def test_a_channels_file_with_an_owner_of_nothing_is_reported_once_and_still_used(
    settings: Settings, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    give(settings, **{"audience": [f"json://{hook.at}/{TOKEN}"], "audience-insight": [f"json://{hook.at}"]})
    for minutes in range(3):
        see(settings, replace(PROBLEM, owner="audience-insight"), minutes=minutes)
    assert load_channels(settings).of("audience-insight")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "no owner audience in " in record.getMessage()
    assert "audience-insight" in record.getMessage()
    assert TOKEN not in caplog.text
    assert hook.texts == [PROBLEM.title]


def test_the_guides_example_names_owners_there_are(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    guide = (PROJECT / "docs" / "guides" / "alerts.md").read_text()
    example = guide.partition("```yaml\n")[2].partition("```")[0]
    give(settings)
    settings.channels.write_text(example)
    assert len(load_channels(settings).by_owner) == 2
    assert caplog.records == []
