"""An API that is served, and the source telephony that is declared of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.extract import run as running
from flows.extract.api import client as asking
from flows.extract.api.client import Client
from flows.extract.api.declared import ApiSource
from tests.support.apis import SECRET, TOKEN, Api, served_api
from tests.support.lake import Lake
from tests.support.telephony import BEARER, CALLS, Declared, call


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(asking, "FIRST_WAIT_SECONDS", 0.005)
    monkeypatch.setattr(running, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(running, "LONGEST_WAIT_SECONDS", 0.01)
    # To this machine nothing goes through a proxy, which would see what is not encrypted.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with served_api() as made:
        made.lists["calls"] = [call(number) for number in range(10)]
        monkeypatch.setenv("TEST_API_URL", made.url)
        monkeypatch.setenv("TEST_API_TOKEN", TOKEN)
        yield made


@pytest.fixture
def client(api: Api) -> Iterator[Client]:
    source = ApiSource.model_validate(
        {"connection": {"kind": "api", "url_from": "TEST_API_URL", "auth": BEARER}, "extracts": {"calls": CALLS}}
    )
    with Client("telephony", source.connection) as made:
        yield made


@pytest.fixture
def declared(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declared:
    monkeypatch.setenv("TIDEMARK_EXTRACTS", str(tmp_path / "extracts"))
    monkeypatch.setenv("TIDEMARK_HOME", str(lake.settings.home))
    return Declared(lake, tmp_path / "extracts")


@pytest.fixture
def oauth(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("TEST_TOKEN_URL", api.url.replace("/v2", "/token"))
    monkeypatch.setenv("TEST_CLIENT", "tidemark")
    monkeypatch.setenv("TEST_SECRET", SECRET)
    api.tokens = ["not given out"]
    return api
