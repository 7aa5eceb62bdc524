"""Who may see a model once it is published: as it says itself, and never more than what its columns hold allows."""

from collections.abc import Callable, Iterable

from flows.build.project import SCHEMAS, Model, Project
from flows.errors import TidemarkError
from flows.rights import Visibility, narrower

# The widest level that a column of each privacy class allows; of any other class, and of none, it is restricted.
WIDEST = {
    "none": Visibility.PUBLIC,
    "behaviour": Visibility.INTERNAL,
    "quasi_identifier": Visibility.INTERNAL,
}
# Either may be one of a crowd. Who did something, beside what narrows down who it was, is one person.
SINGLES_OUT = frozenset({"behaviour", "quasi_identifier"})


def published_models(project: Project) -> list[Model]:
    """The models of the layers that are published, in order."""
    models = [model for model in project.models.values() if model.schema in SCHEMAS]
    return sorted(models, key=lambda model: (model.schema, model.name))


def widest(classes: Iterable[str]) -> Visibility:
    """The widest level at which a table with columns of these privacy classes may be seen."""
    found = {*classes}
    if found >= SINGLES_OUT:
        return Visibility.RESTRICTED
    return narrower(Visibility.PUBLIC, *(WIDEST.get(one, Visibility.RESTRICTED) for one in found))


def refuse_wrong_visibility(models: Iterable[Model], columns_of: Callable[[Model], Iterable[str]]) -> None:
    """Raise :class:`TidemarkError` where a model does not say who may see it, or more than its columns allow.

    ``columns_of`` gives those that the project describes, or those that the table has: what nothing describes may hold
    anything.
    """
    faults = [fault for model in models if (fault := _fault(model, sorted(columns_of(model))))]
    if faults:
        raise TidemarkError("\n".join(faults))


def _fault(model: Model, columns: list[str]) -> str | None:
    classes = {column: model.privacy.get(column, "") for column in columns}
    allowed = widest(classes.values())
    if model.visibility not in {*Visibility}:
        said = f"says `visibility: {model.visibility}`" if model.visibility else "does not say who may see it"
        return (
            f"{model.path}: {model.name} {said}; say one of {', '.join(Visibility)} below `config: meta:`, for "
            f"example `visibility: {narrower(Visibility.INTERNAL, allowed)}`"
        )
    if Visibility(model.visibility).may_see(allowed):
        return None
    held = ", ".join(f"{column} ({kind or 'no privacy class'})" for column, kind in classes.items() if kind != "none")
    return (
        f"{model.path}: {model.name} says `visibility: {model.visibility}`, and its columns allow no more than "
        f"{allowed}: {held}; say `visibility: {allowed}`, or leave these columns out"
    )
