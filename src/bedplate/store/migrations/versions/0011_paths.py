"""What was agreed for the siblings of golden paths, and the releases that were made from them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the tables and the columns."""
    for name in ("declaration", "digest", "approval", "withdrawn"):
        op.add_column("path", sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.add_column("path", sa.Column("expires", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "sibling",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("deviations", sa.Text(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("written", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "release", name=op.f("pk_sibling")),
    )
    op.create_index(op.f("ix_sibling_path"), "sibling", ["path"])
