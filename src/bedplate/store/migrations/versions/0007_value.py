"""Measured benefits, costs and what they were agreed to reach."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the tables and the columns."""
