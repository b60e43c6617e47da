"""Competence and what is derived from it."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the tables and the columns."""
