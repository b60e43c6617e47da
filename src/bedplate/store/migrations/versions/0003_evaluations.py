"""What a run was for, and the upper bound of its interval."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = max(file.name[:4] for file in Path(__file__).parent.glob("0*.py") if file.name[:4] < revision)

ADDED = (  # runs recorded before were those of releases
    sa.Column("upper_permille", sa.Integer(), nullable=False, server_default="1000"),
    sa.Column("purpose", sa.Text(), nullable=False, server_default="evals"),
    sa.Column("name", sa.Text(), nullable=False, server_default=""),
)


def upgrade() -> None:
    """Add the columns."""
    for column in ADDED:
        op.add_column("evaluation", column)
