"""Data contracts, results of their checks, and vendors."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the tables and the columns."""
