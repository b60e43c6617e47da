"""Envelopes of golden paths and how far siblings are."""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the tables and the columns."""
