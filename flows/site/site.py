"""The site of a publication: its pages, made after it was published and kept in its version.

``published/<version>/site`` is the site of a version, and ``published/site`` leads to that of the current one: any web
server can show that folder. It is made beside a version that readers already see, so it holds no publication up, and
comes into its place whole, by a rename. While one is made, the link still leads to the version before it; a rollback
takes the link back with the data. It shows what the readers of ``internal`` may see and has their rights.
"""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import yaml
from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from flows.catalogue.catalogue import LINEAGE, MODELS, project_catalogue
from flows.catalogue.record import ProjectRecord
from flows.clock import minute
from flows.errors import TidemarkError
from flows.files import sync_folder
from flows.publish.manifest import OF_PERIODS, OPS, Manifest, current_version, read_manifest
from flows.publish.views import DATABASES, SITE, versions
from flows.rights import PRIVATE, Visibility, give, published_rights
from flows.settings import PROJECT, Settings
from flows.site.boards import Board, BoardError, Filter, View, read_boards, read_filters, read_site_settings, views
from flows.site.colours import colours_of, style_sheet
from flows.site.drawing import Drawing, DrawingError, DrawingProcess, drawing_process, fonts_of_boards
from flows.site.explorer import explorer_tables, is_installed, write_explorer
from flows.site.pages import Frame, Page, board_page, frame_of, render
from flows.site.products import Product, read_products
from flows.site.questions import questions_by_table

BOARDS = PROJECT / "boards"
STATIC = Path(__file__).with_name("static")
LEVEL = Visibility.INTERNAL


class SiteRecord(BaseModel):
    """What a site says of itself, in ``site.json``: its version, the tables it shows, and what of it failed."""

    model_config = ConfigDict(frozen=True)

    version: str
    tables: tuple[str, ...]
    pages: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """The site of the current version; ``is_new`` where this call made it."""

    folder: Path
    record: SiteRecord
    is_new: bool


def site_folder(settings: Settings) -> Path:
    """Where the site of the current version is found: a link, which leads nowhere before the first was made."""
    return settings.published / SITE


def refresh_site(settings: Settings, force: bool = False) -> Site | None:
    """Make the site of the current version, where it has none, and let people see it; None before a publication.

    What fails of it is in its record and on its pages: a board that cannot be read or drawn leaves the others alone.
    Raises :class:`TidemarkError` where there can be no site at all; what people see then stays as it was.
    """
    version = current_version(settings)
    if version is None:
        return None
    with FileLock(settings.published / ".site.lock"):
        _remove_what_fewer_may_see(settings, read_manifest(settings, version))
        folder = settings.published / version / SITE
        made = None if force else read_record(folder)
        record = made or _make(settings, version)
        if current_version(settings) == version:  # else whoever changed it makes its site
            _point_at(settings, version)
        return Site(folder, record, is_new=made is None)


def read_record(folder: Path) -> SiteRecord | None:
    """What a site says of itself; None where there is none, or not a whole one."""
    try:
        return SiteRecord.model_validate_json((folder / "site.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _make(settings: Settings, version: str) -> SiteRecord:
    """Make the site of a version beside its place and put it there."""
    home = settings.published / version
    making = home / f".{SITE}.making"
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir(mode=PRIVATE.folder)
        record = _write(settings, read_manifest(settings, version), making)
        rights = published_rights(settings, LEVEL)
        for path in sorted(making.rglob("*"), reverse=True):
            give(path, rights)
        give(making, rights)
        shutil.rmtree(home / SITE, ignore_errors=True)
        making.rename(home / SITE)
        sync_folder(home)
    except (OSError, duckdb.Error) as error:  # as where the version was removed meanwhile
        raise TidemarkError(f"the site of {version} could not be made: {error}; `tidemark site` tries again") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return record


def _write(settings: Settings, manifest: Manifest, folder: Path) -> SiteRecord:
    """Write the pages of a publication into a folder."""
    published = settings.published / manifest.version
    problems: list[str] = []
    asked = read_site_settings(BOARDS, problems)
    boards = read_boards(BOARDS, asked.order, problems)
    with drawing_process(settings.threads) as process, ThreadPoolExecutor(1) as beside:
        with duckdb.connect(str(published / DATABASES[LEVEL]), read_only=True) as database:
            shown = [(board, *_views(board, database, problems)) for board in boards]
        drawing = beside.submit(_draw, process, [view for _, _, seen in shown for view in seen])
        has_explorer = _explore(published / DATABASES[LEVEL], manifest, boards, folder)
        documented = _document(folder, problems)
        drawings, failed = drawing.result()
    problems.extend(failed)
    frame = frame_of(manifest, boards, _newest_day(manifest), problems=tuple(problems), has_explorer=has_explorer)
    pages = _board_pages(shown, drawings, frame)
    questions = questions_by_table(table.name for table in manifest.tables)
    with duckdb.connect(str(published / DATABASES[Visibility.RESTRICTED]), read_only=True) as database:
        products = read_products(
            database, _manifests(settings, manifest.version), _shown_on(shown), questions, documented
        )
    written = {page.path: render("board.html", frame, page.path, page=page) for page in pages}
    written |= _other_pages(frame, pages, products, asked.synonyms)
    for path, text in written.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    colours = {colour for one in drawings for drawing in one.values() for colour in colours_of(drawing.svg)}
    _write_static(folder / "static", colours)
    tables = {table for _, _, seen in shown for view in seen for table in view.tables}
    record = SiteRecord(
        version=manifest.version, tables=tuple(sorted(tables)), pages=len(written), problems=tuple(problems)
    )
    (folder / "site.json").write_text(record.model_dump_json(indent=1), encoding="utf-8")
    return record


def _explore(database: Path, manifest: Manifest, boards: Sequence[Board], folder: Path) -> bool:
    """Write the explorer; whether it could be: what it is made with is an extra, and not there for every machine."""
    if not is_installed():
        return False
    links = [("../index.html", "Start")]
    links += [(f"../boards/{board.name}/index.html", board.title) for board in boards]
    write_explorer(
        folder,
        database,
        explorer_tables(database, manifest.tables),
        published_at=manifest.created_at,
        smallest_group=_smallest_group(),
        links=[*links, ("../data/index.html", "Data")],
    )
    return True


def _document(folder: Path, problems: list[str]) -> ProjectRecord | None:
    """Put the project's own pages into a folder; what it says of each table, None where it could not be read."""
    try:
        catalogue = project_catalogue()
    except TidemarkError as error:
        problems.append(str(error))
        return None
    (folder / "catalogue").mkdir()
    for name in (MODELS, LINEAGE):
        shutil.copyfile(catalogue.folder / name, folder / "catalogue" / name)
    problems.extend(f"lineage: {said}" for said in catalogue.record.unread)
    return catalogue.record


def _manifests(settings: Settings, version: str) -> list[Manifest]:
    """The manifests of the kept versions up to this one, which is the last."""
    found = []
    for one in versions(settings):
        if one <= version:
            with suppress(OSError, TidemarkError):  # one that was just removed, or cannot be read
                found.append(read_manifest(settings, one))
    return found


def _smallest_group() -> int | None:
    """How many devices a group has at least that is shown, as dbt's variable says."""
    project = yaml.safe_load((PROJECT / "dbt_project.yml").read_text(encoding="utf-8"))
    found = project.get("vars", {}).get("smallest_group")
    return None if found is None else int(found)


def _views(
    board: Board, database: duckdb.DuckDBPyConnection, problems: list[str]
) -> tuple[tuple[Filter, ...], list[View]]:
    """The filters of a board and its views; none where it cannot be read, which is a problem of its own."""
    try:
        filters = read_filters(board, database)
        seen = list(views(board, filters, database))
    except (BoardError, KeyError, TypeError, duckdb.Error) as error:
        said = str(error) if isinstance(error, BoardError) else f"{board.path} is no board: {error!r}"
        problems.append(said)
        return (), []
    failed = {rows.error for view in seen for rows in view.rows.values() if rows.error}
    problems.extend(f"{board.path}: {error}" for error in sorted(failed))
    return filters, seen


def _draw(process: DrawingProcess, seen: Sequence[View]) -> tuple[list[dict[str, Drawing]], list[str]]:
    """The charts of views, and what could not be drawn."""
    try:
        drawings = process.draw(seen)
    except DrawingError as error:
        return [dict.fromkeys(view.board.charts, Drawing(error=str(error))) for view in seen], [str(error)]
    failed = {
        f"{view.board.path}, chart {name}: {drawing.error}"
        for view, one in zip(seen, drawings, strict=True)
        for name, drawing in one.items()
        if drawing.error
    }
    return drawings, sorted(failed)


def _board_pages(
    shown: Sequence[tuple[Board, tuple[Filter, ...], list[View]]], drawings: Sequence[dict[str, Drawing]], frame: Frame
) -> list[Page]:
    rest = iter(drawings)
    return [board_page(view, filters, next(rest), frame) for _, filters, seen in shown for view in seen]


def _shown_on(shown: Sequence[tuple[Board, tuple[Filter, ...], list[View]]]) -> dict[str, list[Board]]:
    """The boards that show each table."""
    boards: dict[str, list[Board]] = {}
    for board, _, seen in shown:
        for table in seen[0].tables if seen else ():
            boards.setdefault(table, []).append(board)
    return boards


def _other_pages(
    frame: Frame, pages: Sequence[Page], products: Sequence[Product], synonyms: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The start page and those of the tables, by path."""
    audience = next((page for page in pages if page.path == "boards/audience/index.html"), None)
    figures = [place for row in audience.rows for place in row.places if place.kind == "kpi"] if audience else []
    written = {
        "index.html": render("index.html", frame, "index.html", figures=figures),
        "data/index.html": render(
            "products.html",
            frame,
            "data/index.html",
            products=products,
            synonyms=synonyms,
            has_catalogue=any(product.documented for product in products),
        ),
    }
    for product in products:
        path = f"data/{product.name}.html"
        days = sorted(file.day for file in product.table.files if file.day)
        written[path] = render(
            "product.html",
            frame,
            path,
            product=product,
            as_of=minute(product.table.as_of or frame.published_at),
            days=f"{days[0]} to {days[-1]}" if days else "",
            published={product.name for product in products},
        )
    return written


def _newest_day(manifest: Manifest) -> str:
    """The newest day of which there are events; a period may lie ahead of it."""
    of_events = [t for t in manifest.tables if not t.name.startswith(OPS) and t.day_column not in OF_PERIODS]
    days: list[date] = [file.day for table in of_events for file in table.files if file.day]
    return str(max(days)) if days else ""


def _write_static(folder: Path, colours: set[str]) -> None:
    shutil.copytree(STATIC, folder, ignore=shutil.ignore_patterns("explorer.*"))
    (folder / "colours.css").write_text(style_sheet(colours), encoding="utf-8")
    for font in fonts_of_boards():
        shutil.copyfile(font, folder / font.name)


def _point_at(settings: Settings, version: str) -> None:
    """Let people see a version's site, in one step."""
    link = site_folder(settings)
    target = f"{version}/{SITE}"
    if link.is_symlink() and str(link.readlink()) == target:
        return
    fresh = settings.published / f".{SITE}.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
    sync_folder(settings.published)


def _remove_what_fewer_may_see(settings: Settings, now: Manifest) -> None:
    """Remove the sites of versions that show a table which is now restricted."""
    kept_from = {table.name for table in now.tables if not LEVEL.may_see(table.visibility)}
    for version in versions(settings):
        folder = settings.published / version / SITE
        record = read_record(folder)
        if record and kept_from.intersection(record.tables):
            shutil.rmtree(folder)
