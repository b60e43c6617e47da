"""What calls cost: the prices in force, and the journal's calls added up by day."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

NAMES = ("subject", "release", "model", "key", "dialect", "route")
COUNTS = ("calls", "refused", "failed", "tokens_in", "cached_in", "tokens_out", "cost_nano", "unpriced", "findings")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "tariff",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff")),
    )
    op.create_table(
        "usage",
        sa.Column("shard", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in NAMES),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint("shard", "day", *NAMES, name=op.f("pk_usage")),
    )
    op.create_index(op.f("ix_usage_day_subject"), "usage", ["day", "subject"], unique=False)
    op.create_table(
        "usage_cursor",
        sa.Column("shard", sa.Text(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_usage_cursor")),
    )
