"""What was seen in use without being on record."""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the tables and the columns."""
