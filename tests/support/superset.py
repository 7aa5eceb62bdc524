"""A Superset with the project's dashboard, in the environment that `make test-bi` makes, over a home's publications."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from flows.settings import PROJECT
from tests.support.browser import Page, browser_page
from tests.support.patience import until
from tests.support.served import free_port

PLACE = PROJECT / ".venv/superset/bin"
BUNDLE = PROJECT / "bi/superset/bundle"
CONFIG = PROJECT / "bi/superset/superset_config.py"
SLUG = "tidemark"
WHO = {"username": "admin", "password": "of-a-test-on-loopback"}
PATIENCE = 180.0
# What a dashboard shows while it waits for figures, and what of it is a chart that has them.
LOADING = "document.querySelectorAll('.dashboard-component-chart-holder .loading').length"
CHARTS = "document.querySelectorAll('.dashboard-chart .slice_container').length"


class Superset:
    """A running Superset; ``api`` is a client that is logged in."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.api = httpx.Client(base_url=address, timeout=PATIENCE)
        token = self.api.post("/api/v1/security/login", json={**WHO, "provider": "db"}).json()["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"

    def charts(self) -> dict[int, str]:
        """The charts' names by their ids."""
        found = self.api.get("/api/v1/chart/", params={"q": "(page_size:100)"}).json()["result"]
        return {chart["id"]: chart["slice_name"] for chart in found}

    def ask_sql(self, sql: str) -> httpx.Response:
        """Run SQL as an analyst does in SQL Lab."""
        (database,) = self.api.get("/api/v1/database/").json()["result"]
        guard = self.api.get("/api/v1/security/csrf_token/").json()["result"]
        return self.api.post(
            "/api/v1/sqllab/execute/",
            json={"database_id": database["id"], "sql": sql, "schema": "main", "runAsync": False},
            headers={"X-CSRFToken": guard, "Referer": self.address},
        )


@contextmanager
def superset_over(home: Path, own: Path) -> Iterator[Superset]:
    """Start a Superset over the home that keeps its own things in ``own``, and import the project's bundle into it."""
    own.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SUPERSET", "TIDEMARK"))},
        "TIDEMARK_HOME": str(home),
        "SUPERSET_HOME": str(own),
        "SUPERSET_SECRET_KEY": "signs the sessions of one test on loopback",
        "SUPERSET_CONFIG_PATH": str(CONFIG),
        "PYTHONPATH": "",
    }
    admin = ["--firstname", "A", "--lastname", "Admin", "--email", "admin@example.com"]
    for command in (
        ["db", "upgrade"],
        ["fab", "create-admin", "--username", WHO["username"], "--password", WHO["password"], *admin],
        ["init"],
        ["import-directory", "--overwrite", str(BUNDLE)],
    ):
        done = subprocess.run(
            [str(PLACE / "superset"), *command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"superset {' '.join(command)}: {done.stderr[-3000:]}"
    place = f"127.0.0.1:{free_port()}"
    server = [str(PLACE / "gunicorn"), "--bind", place, "--worker-class", "gthread", "--threads", "8"]
    options = ["--timeout", "120", "--no-control-socket", "superset.app:create_app()"]
    with (own / "server.log").open("wb") as log:
        process = subprocess.Popen([*server, *options], env=environment, stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or _answers(f"http://{place}"), every=0.2)
            assert process.poll() is None, f"Superset did not start: {(own / 'server.log').read_text()[-3000:]}"
            yield Superset(f"http://{place}")
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.TransportError:
        return False


@contextmanager
def dashboard_page(superset: Superset, charts: int) -> Iterator[Page]:
    """The dashboard in a browser that logged in, once it shows so many charts and waits for none."""
    with browser_page() as page:
        page.show_as(1280, 2200)
        page.open(f"{superset.address}/login/")
        page.wait_for("!!document.querySelector('input[type=password]')")
        page.evaluate(_logging_in())
        page.wait_for("!location.pathname.startsWith('/login')", PATIENCE)
        page.open(f"{superset.address}/superset/dashboard/{SLUG}/")
        page.wait_for(f"{CHARTS} === {charts} && {LOADING} === 0", PATIENCE)
        until(lambda: _stands_still(page))
        yield page


def _stands_still(page: Page) -> bool:
    """Whether the bars have grown to what they show."""
    seen = [page.call("Page.captureScreenshot", format="png")["data"] for _ in range(2) if not time.sleep(0.5)]
    return seen[0] == seen[1]


def _logging_in() -> str:
    """JavaScript that fills in the form as somebody does who types."""
    values = [("input[type=text]", WHO["username"]), ("input[type=password]", WHO["password"])]
    typed = "".join(
        f"{{const e = document.querySelector('{field}'); set.call(e, '{value}');"
        "e.dispatchEvent(new Event('input', {bubbles: true}));}"
        for field, value in values
    )
    setter = "const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;"
    return f"(() => {{{setter}{typed} document.querySelector('[data-test=login-button]').click(); return 1}})()"


def figures(answer: httpx.Response) -> list[dict[str, Any]]:
    """The rows of a chart's answer."""
    answer.raise_for_status()
    (result,) = answer.json()["result"]
    rows: list[dict[str, Any]] = result["data"]
    return rows
