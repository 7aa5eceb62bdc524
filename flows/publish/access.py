"""Who may read what is published: each table as it says, in the version made now and in those that are kept.

A table's folder is what keeps its files from others, version by version: a file that did not change is one file in all
of them, with the mode that the last version gave it. Kept versions only become narrower. A table that fewer may see
now, as where a column turned out to be a pseudonym, is kept from the others in earlier versions too; one that more may
see now is theirs from the next version on.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from flows.errors import TidemarkError
from flows.publish.files import PARQUET
from flows.publish.manifest import Manifest, read_manifest, write_manifest
from flows.publish.views import DATABASES, MANIFEST, SITE, versions
from flows.rights import OF_EVERYBODY, Visibility, give, has, is_open_to_others, narrower, published_rights
from flows.settings import Settings


def give_rights(settings: Settings, folder: Path, levels: Mapping[str, Visibility]) -> None:
    """Let what is in a version's folder have the rights of the levels of its tables, and the rest be everybody's."""
    for path, level in _paths(folder, levels):
        rights = published_rights(settings, level)
        # A folder's files come before it: where this is killed, it shows that they are not done.
        for below in sorted(path.rglob("*")) if path.is_dir() else ():
            give(below, rights)
        give(path, rights)
    for path in (folder / PARQUET, *(folder / folder.name).glob("*"), folder / folder.name, folder):
        if path.exists():
            give(path, OF_EVERYBODY)


def heal_rights(settings: Settings, now: Mapping[str, Visibility]) -> None:
    """Let every kept version have the rights that its tables have ``now``, or had where those are narrower.

    As after a table became restricted, after other groups were set, and of versions that an earlier Tidemark made. The
    caller holds the publication's lock.
    """
    was_given = False
    for version in versions(settings):
        folder = settings.published / version
        # To read every manifest each time would take longer than to look at some folders.
        if was_given or not _are_given(settings, folder, now):
            levels = _narrow(settings, version, now)
            # What a version shares with a later one has the rights of that.
            if was_given or not _are_given(settings, folder, levels):
                give_rights(settings, folder, levels)
                was_given = True


def open_to_others(settings: Settings, manifest: Manifest) -> Iterator[Path]:
    """What of a version those may read who may not: neither its owner nor in the group that it was given to."""
    folder = settings.published / manifest.version
    for path, level in _paths(folder, {table.name: table.visibility for table in manifest.tables}):
        if level is not Visibility.PUBLIC and is_open_to_others(path):
            yield path


def _narrow(settings: Settings, version: str, now: Mapping[str, Visibility]) -> dict[str, Visibility]:
    """The levels of a version's tables, once none is wider than now; its manifest says so from then on."""
    try:
        manifest = read_manifest(settings, version)
    except TidemarkError:  # `tidemark status` reports it; what is of no known level is restricted
        return {}
    said = {table.name: table.visibility for table in manifest.tables}
    levels = {name: narrower(level, now.get(name, level)) for name, level in said.items()}
    if levels != said:
        tables = tuple(table.model_copy(update={"visibility": levels[table.name]}) for table in manifest.tables)
        narrowed = manifest.model_copy(update={"tables": tables})
        write_manifest(settings.published / version, narrowed, published_rights(settings, Visibility.RESTRICTED))
    return levels


def _are_given(settings: Settings, folder: Path, levels: Mapping[str, Visibility]) -> bool:
    return all(has(path, published_rights(settings, level)) for path, level in _paths(folder, levels))


def _paths(folder: Path, levels: Mapping[str, Visibility]) -> Iterator[tuple[Path, Visibility]]:
    """What in a version's folder has a level: its tables' folders, its DuckDB files, the manifest, which tells of every
    table, and the site, which is made later."""
    for path in sorted((folder / PARQUET).glob("*")):
        yield path, levels.get(path.name, Visibility.RESTRICTED)
    for level, name in (*DATABASES.items(), (Visibility.RESTRICTED, MANIFEST), (Visibility.INTERNAL, SITE)):
        if (folder / name).exists():
            yield folder / name, level
