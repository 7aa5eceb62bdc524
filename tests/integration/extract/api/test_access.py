"""Credentials get rows, go nowhere else, and are in no message."""

import logging
from typing import Any

import pytest

from flows.errors import TidemarkError
from flows.extract.errors import MayPassError
from flows.extract.run import extract
from tests.support.apis import SECRET, TOKEN, Api, Fault, answers, breaks_off, served_api
from tests.support.telephony import (
    BEARER,
    CALLS,
    OAUTH,
    Declared,
    all_of,
)


def test_a_token_goes_to_no_other_server(api: Api, declared: Declared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_API_KEY", TOKEN)
    api.header = ("X-Api-Key", TOKEN)
    declared.write(auth={"kind": "header", "name": "X-Api-Key", "value_from": "TEST_API_KEY"}, calls=CALLS)
    with served_api() as other:
        for elsewhere in (f"{other.url}/calls", other.url.replace("127.0.0.1", "localhost")):
            api.each = answers(302, Location=elsewhere)
            with pytest.raises(TidemarkError, match=r"is redirected to another server \(http://(127|localhost)"):
                declared.run()
        api.each = answers(200, f'{{"data": [], "links": {{"next": "{other.url}/calls"}}}}'.encode())
        declared.write(auth=BEARER, calls=CALLS | {"paging": {"kind": "link", "next": "links.next"}})
        with pytest.raises(TidemarkError, match="goes on at another server"):
            declared.run()
        assert other.asked == []
    api.header = ("Authorization", f"Bearer {TOKEN}")
    api.each = None
    api.faults = {len(api.asked) + 1: answers(308, Location="/v2/calls?signed=hush")}
    declared.write(calls=CALLS).run()
    assert declared.ids() == all_of(api), "to another place of the same one it is followed"
    api.each = answers(302, Location="/v2/calls")
    with pytest.raises(TidemarkError, match="redirected more than 5 times"):
        declared.run()
    for nowhere in ("file:///etc/passwd", "javascript:alert(1)"):
        api.each = answers(302, Location=nowhere)
        with pytest.raises(TidemarkError, match="where it leads on to is no address"):
            declared.run()


@pytest.mark.parametrize("takes_basic", [True, False])
def test_a_token_is_fetched_and_again_where_it_expires(oauth: Api, declared: Declared, takes_basic: bool) -> None:
    oauth.takes_basic = takes_basic

    pages = iter(range(100))

    def expire(number: int) -> None:
        if next(pages) in (2, 4):
            oauth.tokens.append("another one")

    oauth.before = expire
    declared.write(auth=OAUTH, calls=CALLS).run()
    assert declared.ids() == all_of(oauth)
    asked = [form for path, form in oauth.asked if path == "/token"]
    assert {form["grant_type"] for form in asked} == {"client_credentials"} and asked[0]["scope"] == "calls.read"
    assert len(oauth.tokens) >= 4


def test_a_refused_client_and_a_refused_new_token_are_final(
    oauth: Api, declared: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    oauth.each = answers(401)
    with pytest.raises(TidemarkError, match=r"answered 401 .*its credentials") as raised:
        declared.write(auth=OAUTH, calls=CALLS).run()
    assert [path for path, _ in oauth.asked] == ["/token", "/v2/calls"] * 2
    monkeypatch.setenv("TEST_TOKEN_URL", oauth.url.replace("/v2", "/nowhere"))
    monkeypatch.setattr("tests.support.apis.Handler.do_POST", answers(400))
    with pytest.raises(TidemarkError, match=r"the token's address refuses the client and its secret \(400\)"):
        declared.run()
    assert not isinstance(raised.value, MayPassError)


def test_no_secret_is_in_a_message_or_a_log(
    oauth: Api,
    declared: Declared,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)
    password, signed = "p/s@ word", "sIgned+query"
    address = oauth.url.replace("//", "//me:p%2Fs%40%20word@") + "?signature=sIgned%2Bquery"
    said: list[str] = []
    in_a_process: list[tuple[Any, str, Fault | None]] = [
        (BEARER, oauth.url, answers(302, Location=f"http://x.test/?{signed}")),
        (OAUTH, oauth.url, answers(401)),
        (None, address, answers(404)),
        (None, f"https://me:{password}@h", None),
    ]
    here: list[tuple[Any, str, Fault | None]] = [
        (BEARER, oauth.url, answers(403)),
        (None, address, breaks_off(10_000, signed.encode())),
        (None, address.replace(oauth.url.split("/")[2], "127.0.0.1:1"), None),
        (BEARER, address, None),
        (BEARER, "http://example.test/v2", None),
        (None, address.replace("127.0.0.1", "example.test"), None),
        *((None, f"https://me:{wrong}", None) for wrong in ("p/s@h/v2", "1#p/s@h", "a?p/s@h@i", "p/s@word")),
    ]
    for auth, url, fault in [*in_a_process, *here]:
        monkeypatch.setenv("TEST_API_URL", url)
        oauth.each = fault
        declared.write(auth=auth, calls=CALLS)
        is_alone = (auth, url, fault) in in_a_process
        with pytest.raises(TidemarkError) as raised:
            extract(declared.settings, "telephony", said.append) if is_alone else declared.run()
        said.append(str(raised.value))
    monkeypatch.setenv("TEST_API_URL", oauth.url)
    monkeypatch.setenv("TEST_API_TOKEN", f"{TOKEN}\n")
    with pytest.raises(TidemarkError, match="TEST_API_TOKEN has what no header can hold") as raised:
        declared.write(calls=CALLS).run()
    everything = "\n".join([*said, str(raised.value), caplog.text, *capfd.readouterr()])
    for secret in (TOKEN, SECRET, "s3cret", password, "p%2Fs", "p/s", signed, "sIgned", "of-the-tests"):
        assert secret not in everything
    assert "begins with http, where all on the way read credentials; write https" in everything
