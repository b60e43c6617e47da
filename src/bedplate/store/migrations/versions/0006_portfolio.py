"""Ideas, decisions about them, and how they are weighed."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables and the columns; where use cases were accepted so far is in the ledger."""
    op.add_column("usecase", sa.Column("effort_days", sa.Integer(), server_default="0", nullable=False))
    op.add_column("usecase", sa.Column("generative", sa.Text(), server_default="yes", nullable=False))
    op.add_column("usecase", sa.Column("contracts", sa.Text(), server_default="[]", nullable=False))
    op.add_column("usecase", sa.Column("answered", sa.Text(), server_default="{}", nullable=False))
    placement = op.create_table(
        "placement",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("impact", sa.Text(), nullable=False),
        sa.Column("autonomy", sa.Text(), nullable=False),
        sa.Column("tier", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "seq", name=op.f("pk_placement")),
    )
    op.create_table(
        "idea",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("tier", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("proposers", sa.Text(), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("condition", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_idea")),
    )
    event = sa.table(
        "event",
        *(sa.column(name, kind) for name, kind in (("seq", sa.BigInteger), ("at", sa.BigInteger), ("kind", sa.Text))),
        sa.column("stream", sa.Text),
        sa.column("entry", sa.LargeBinary),
    )
    query = sa.select(event).where(event.c.kind == "portfolio.usecase.accepted").order_by(event.c.seq)
    rows = [
        {"subject": row.stream, "seq": row.seq, "at": row.at}
        | {name: json.loads(row.entry)["data"][name] for name in ("impact", "autonomy", "tier")}
        for row in op.get_bind().execute(query)
    ]
    op.bulk_insert(placement, rows)
