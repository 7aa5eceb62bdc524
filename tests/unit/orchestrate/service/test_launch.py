"""What the watcher starts is started as far as it can be: one job that cannot holds up no other."""

from typing import Any

import pytest

from flows.orchestrate.service import launch as wake


@pytest.fixture(name="started")
def started_fixture(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the server, in order; deployments named gone are not there."""
    started: list[str] = []

    def run_deployment(name: str, **_: Any) -> None:
        if name.startswith("gone/"):
            raise ValueError("no such deployment")
        started.append(name)

    monkeypatch.setattr(wake, "run_deployment", run_deployment)
    monkeypatch.setattr(wake, "mark_dead", lambda settings: started.append("mark_dead"))
    return started


def test_a_job_that_cannot_be_started_holds_up_no_other(started: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        wake.main(["jobs", "audit", "gone", "refine"])
    assert end.value.code == 1
    assert started == ["audit/tidemark", "refine/tidemark", "mark_dead"]
    [record] = caplog.records
    assert "gone" in record.getMessage()
    assert "no such deployment" in record.getMessage()


def test_jobs_that_could_be_started_end_with_nothing_said(started: list[str], caplog: pytest.LogCaptureFixture) -> None:
    wake.main(["jobs", "audit"])
    assert started == ["audit/tidemark", "mark_dead"]
    assert caplog.records == []
