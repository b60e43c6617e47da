"""Actions of agents that wait for people, stops, breakers that opened; whose a key is; what an approval is about."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the tables and the columns."""
    op.add_column("key", sa.Column("agent", sa.Text(), server_default="", nullable=False))
    op.add_column("approval", sa.Column("digest", sa.Text(), server_default="", nullable=False))
    op.create_index(op.f("ix_approval_digest"), "approval", ["digest"])
    _digests()
    op.create_table(
        "parked",
        sa.Column("approval", sa.Text(), nullable=False),
        *[
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("subject", "agent", "run", "action", "content", "tool")
        ],
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("arguments_sha256", sa.Text(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("tier", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in ("asked_at", "expires", "ended_at")],
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("reason", "by", "now")],
        sa.Column("told", sa.SmallInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("approval", name=op.f("pk_parked")),
    )
    for columns in (["action"], ["state", "asked_at"], ["subject", "asked_at"], ["run"]):
        op.create_index(op.f(f"ix_parked_{'_'.join(columns)}"), "parked", columns)
    op.create_table(
        "stop",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("subject", "scope", "by", "reason")],
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_by", sa.Text(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_stop")),
    )
    op.create_index(op.f("ix_stop_subject"), "stop", ["subject"])
    op.create_table(
        "tripped",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("subject", "scope", "signal", "why")],
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_tripped")),
    )
    op.create_index(op.f("ix_tripped_subject"), "tripped", ["subject"])
    op.create_table(
        "glimpse",
        sa.Column("approval", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("approval", "person", name=op.f("pk_glimpse")),
    )
    op.create_index(op.f("ix_glimpse_person_answered_at"), "glimpse", ["person", "answered_at"])
    op.create_table(
        "drill",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("ms", sa.Integer(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("outcome", "summary", "by")],
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_drill")),
    )
    op.create_index(op.f("ix_drill_subject"), "drill", ["subject"])
    op.create_table(
        "notice",
        sa.Column("approval", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("approval", "person", name=op.f("pk_notice")),
    )
    op.create_index(op.f("ix_notice_person_at"), "notice", ["person", "at"])
    op.create_table(
        "planted",
        *[sa.Column(name, sa.Text(), nullable=False) for name in ("commitment", "subject")],
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("approval", sa.Text(), nullable=False),
        sa.Column("judged_at", sa.BigInteger(), nullable=False),
        sa.Column("passed_by", sa.Text(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("commitment", name=op.f("pk_planted")),
    )
    op.create_index(op.f("ix_planted_subject"), "planted", ["subject"])


def _digests() -> None:
    """Read what each approval is about from the event that asked for it."""
    event = sa.table("event", sa.column("kind"), sa.column("stream"), sa.column("entry"))
    approval = sa.table("approval", sa.column("id"), sa.column("digest"))
    connection = op.get_bind()
    asked = connection.execute(
        sa.select(event.c.stream, event.c.entry).where(event.c.kind == "kernel.approval.asked")
    ).all()
    for stream, entry in asked:
        digest = json.loads(bytes(entry))["data"]["digest"]
        connection.execute(sa.update(approval).where(approval.c.id == stream).values(digest=digest))
