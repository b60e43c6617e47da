"""Indexes that reports over the whole ledger need."""

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the tables and the columns."""
