"""Ideas, decisions about them, and how they are weighed."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables and the columns."""
