"""Serve the site of the current publication, on the machine itself: ``python -m flows.site.serve``.

Files alone: any web server can do it as well, from the folder ``published/site``.
"""

from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from flows.settings import Settings
from flows.site.site import site_folder

# A page may load from where it came from, and nothing else: the explorer runs WebAssembly in a worker of its own.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
    # The one handler that the explorer's engine writes into its markup.
    "script-src-attr 'unsafe-hashes' 'sha256-ql0fd2+U9UEu870FX0Rf6Z8yqUKlNLSDxPI1ipIxack='; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
# The pages that dbt and dbt-colibri make have their scripts within them. They show the project, no row of any table.
CATALOGUE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
NOT_YET = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5><title>Tidemark</title>"
    "<p>There is no site yet: it is made after the first publication. <code>tidemark run</code> publishes, "
    "<code>tidemark site</code> makes the site.</p>"
)


def application(settings: Settings) -> Starlette:
    """The application that serves the site. What is current is looked up for each page."""
    folder = site_folder(settings)

    async def answer(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        if (folder / "index.html").exists():
            response = await call(request)
        else:
            response = HTMLResponse(NOT_YET, status_code=503, headers={"Retry-After": "5"})
        policy = CATALOGUE_POLICY if request.url.path.startswith("/catalogue/") else POLICY
        # Kept by browsers, and asked for each time whether it is still the same.
        response.headers.update(
            {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
        )
        return response

    files = StaticFiles(directory=folder, html=True, check_dir=False, follow_symlink=True)
    return Starlette(
        routes=[Mount("/", files)],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=answer)],
    )


def main() -> None:
    """Serve until ended."""
    settings = Settings()
    uvicorn.run(
        application(settings), host=settings.server_host, port=settings.site_port, log_level="warning", access_log=False
    )


if __name__ == "__main__":
    main()
