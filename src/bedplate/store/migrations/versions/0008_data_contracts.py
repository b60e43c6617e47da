"""Data contracts, results of their checks, and vendors."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the tables."""
    _contracts()
    _vendors()


def _contracts() -> None:
    op.create_table(
        "contract",
        *(_text(name) for name in ("id", "title", "owner", "domain", "description", "source")),
        sa.Column("mend_days", sa.Integer(), nullable=False),
        *(_text(name) for name in ("spec", "file", "declared_by")),
        *(_big(name) for name in ("declared_at", "failing_since", "last_seq")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract")),
    )
    op.create_table(
        "contract_check",
        _text("contract"),
        _text("name"),
        sa.Column("place", sa.Integer(), nullable=False),
        _text("dimension"),
        sa.Column("fresh_hours", sa.Integer(), nullable=False),
        _text("outcome"),
        _text("value"),
        _big("rows"),
        _big("at"),
        _text("run"),
        _big("last_seq"),
        sa.PrimaryKeyConstraint("contract", "name", name=op.f("pk_contract_check")),
    )
    op.create_table(
        "contract_run",
        _text("contract"),
        _text("run"),
        _big("at"),
        _text("reported_by"),
        _big("reported_at"),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        _text("digest"),
        _big("last_seq"),
        sa.PrimaryKeyConstraint("contract", "run", name=op.f("pk_contract_run")),
    )
    op.create_index(op.f("ix_contract_run_contract_at"), "contract_run", ["contract", "at"], unique=False)
    op.create_table(
        "contract_use",
        _text("contract"),
        _text("subject"),
        _big("last_seq"),
        sa.PrimaryKeyConstraint("contract", "subject", name=op.f("pk_contract_use")),
    )


def _vendors() -> None:
    op.create_table(
        "vendor",
        *(_text(name) for name in ("id", "name", "spec", "reviewer", "reviewed_by", "notes")),
        *(_big(name) for name in ("reviewed_at", "review_due", "terms_until", "registered_at", "last_seq")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vendor")),
    )
    op.create_table(
        "vendor_review",
        _text("vendor"),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        *(_text(name) for name in ("reviewed_by", "outcome", "notes")),
        *(_big(name) for name in ("at", "due", "last_seq")),
        sa.PrimaryKeyConstraint("vendor", "seq", name=op.f("pk_vendor_review")),
    )
    op.create_table(
        "vendor_use",
        *(_text(name) for name in ("vendor", "subject", "release")),
        _big("last_seq"),
        sa.PrimaryKeyConstraint("vendor", "subject", "release", name=op.f("pk_vendor_use")),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
