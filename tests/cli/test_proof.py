from __future__ import annotations

import base64
import sqlite3
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import program, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import House, Live


@pytest.fixture
def proof(live: Live, tmp_path: Path) -> Path:
    file = tmp_path / "call.proof"
    assert live.house.run("victor.lam", "prove", live.call, "--out", file).code == 0
    return file


@pytest.fixture
def key(house: House) -> str:
    return house.run("victor.lam", "keys").out.split()[0]


def test_a_proof_is_checked_with_the_key_alone(proof: Path, key: str, live: Live, tmp_path: Path) -> None:
    held = run("verify", proof, "--key", key, BEDPLATE_CONFIG_HOME=str(tmp_path / "none"))
    assert held.code == 0
    assert [line[:8] for line in held.out.splitlines() if line.startswith("holds")] == [
        f"holds {n}." for n in (1, 2, 3, 4)
    ]
    assert live.call in held.out
    file = tmp_path / "keys"
    file.write_text(f"{key}\n")
    told = run("verify", proof, "--key", file, "-o", "json").data
    assert (told["holds"], told["call"]["id"], len(told["steps"])) == (True, live.call, 4)


def test_a_proof_is_not_overwritten(proof: Path, live: Live) -> None:
    assert live.house.run("victor.lam", "prove", live.call, "--out", proof).code == 3


def test_without_a_key_those_seen_at_sign_in_are_used_and_named(proof: Path, house: House) -> None:
    held = house.run("victor.lam", "verify", proof)
    assert held.code == 0
    assert "those seen at sign-in" in held.err
    assert house.run("keyless", "verify", proof).code == 3
    assert house.run("keyless", "verify", proof, "--fetch-key").code == 0


def test_a_witness_that_did_not_sign_is_missed(proof: Path, key: str, tmp_path: Path) -> None:
    made = run("doctor", "--new-witness", tmp_path / "witness", "-o", "json").data
    missing = run("verify", proof, "--key", key, "--witness", made["key"], "-o", "json")
    assert missing.code == 5
    assert missing.error["message"].startswith("step 1")
    assert run("verify", proof, "--key", key, "--quorum", "1").code == 3


@pytest.mark.parametrize(
    ("step", "section", "line"),
    [("step 1", 2, 1), ("step 2", 1, 1), ("step 4", 0, 1)],
)
def test_a_tampered_proof_names_the_step(proof: Path, key: str, step: str, section: int, line: int) -> None:
    sections = proof.read_text().split("\n\n", 2)
    lines = sections[section].split("\n")
    if section == 2:
        lines[line] = str(int(lines[line]) + 1)
    else:
        name, _, encoded = lines[line].partition(" ")
        changed = base64.b64decode(encoded).replace(b'"v":1', b'"v":2', 1).replace(b'"count"', b'"cOunt"', 1)
        lines[line] = f"{name} {base64.b64encode(changed).decode()}"
    sections[section] = "\n".join(lines)
    proof.write_text("\n\n".join(sections))
    wrong = run("verify", proof, "--key", key)
    assert wrong.code == 5
    assert step in wrong.err


def test_what_is_no_proof_and_what_is_no_key(key: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert run("verify", file, "--key", key).code == 3
    file.write_bytes(b"\x00\xff")
    assert run("verify", file, "--key", key).code == 3
    assert run("verify", tmp_path, "--key", key).code == 3
    file.write_text("hello\n")
    assert run("verify", file, "--key", "nonsense+1+2").code == 3


def test_doctor_finds_a_healthy_house_healthy(live: Live) -> None:
    assert run("doctor", "--data", live.house.data, "--full").code == 0
    told = run("doctor", "--data", live.house.data, "-o", "json")
    assert told.code == 0, told.out
    assert told.data["healthy"] is True
    names = [c["name"] for c in told.data["checks"]]
    assert names[:8] == [
        "Python",
        "SQLite",
        "data folder",
        "disk space",
        "database",
        "ledger",
        "read tables",
        "checkpoints",
    ]
    assert "calls in shard-0" in names


def test_doctor_names_what_is_wrong_and_the_remedy(tmp_path: Path) -> None:
    absent = run("doctor", "--data", tmp_path / "none")
    assert absent.code == 1
    assert "remedy: name it with --data" in absent.out
    data = tmp_path / "data"
    assert run("invite", "ada", "--name", "Ada", "--data", data).code == 0
    assert run("doctor", "--data", data).code == 0
    with sqlite3.connect(data / "bedplate.db") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")  # whoever has the file can do this
        db.execute("UPDATE event SET entry = replace(entry, 'Ada', 'Eve')")
        db.execute("UPDATE account SET name = 'Eve'")
    db.close()
    tampered = run("doctor", "--data", data, "-o", "json")
    assert tampered.code == 1
    wrong = {c["name"]: c for c in tampered.data["checks"] if not c["ok"]}
    assert "event 0 was changed" in wrong["ledger"]["found"]
    assert wrong["ledger"]["remedy"]
    data.chmod(0o755)
    assert "chmod go=" in run("doctor", "--data", data).out
    (data / "bedplate.db").write_bytes(b"not a database" * 100)
    assert run("doctor", "--data", data).code == 1


def test_a_new_witness_key_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "witness"
    assert run("doctor", "--new-witness", folder).code == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "witness-key").stat().st_mode & 0o777 == 0o600
    assert run("doctor", "--new-witness", folder).code == 3


def test_doctor_runs_as_a_program(tmp_path: Path) -> None:
    assert program("doctor", "--data", tmp_path / "none").returncode == 1
