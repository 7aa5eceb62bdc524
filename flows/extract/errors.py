"""What goes wrong with a source and may be over soon."""

from flows.errors import TidemarkError


class MayPassError(TidemarkError):
    """A source does not answer, or stopped to, or its process ended: another try may help."""
