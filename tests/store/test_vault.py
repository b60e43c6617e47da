from __future__ import annotations

import asyncio
import threading
from hashlib import sha256
from typing import TYPE_CHECKING

import apsw
import pytest
from tests.store.powercut import Disk

from bedplate.errors import Full, InvalidInput, NotFound, Tampered, Unavailable
from bedplate.store import vault as module
from bedplate.store.journal import Journal, Record
from bedplate.store.shard import Shard
from bedplate.store.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = b"the patient said something private"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "vault.db", tmp_path / "keys" / "kek"


@pytest.fixture
def vault(files: tuple[Path, Path]) -> Iterator[Vault]:
    vault = Vault(*files)
    yield vault
    vault.close()


def on_disk(base: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file())


def test_what_was_sealed_opens(vault: Vault, files: tuple[Path, Path]) -> None:
    sealed = vault.seal("call-1", SECRET)
    assert vault.open("call-1", sealed.ciphertext) == SECRET
    vault.flush()
    vault.flush()
    assert vault.open("call-1", sealed.ciphertext) == SECRET
    assert Vault(*files).open("call-1", sealed.ciphertext) == SECRET
    assert vault.open("empty", vault.seal("empty", b"").ciphertext) == b""
    assert sealed.ct == sha256(sealed.ciphertext).hexdigest()
    assert len(bytes.fromhex(sealed.commitment)) == 32
    assert bytes.fromhex(sealed.kid) == sealed.ciphertext[:8]


def test_nothing_is_written_in_the_clear(vault: Vault, tmp_path: Path) -> None:
    sealed = vault.seal("call-1", SECRET)
    key = next(iter(vault._pending.values()))
    vault.flush()
    assert SECRET not in on_disk(tmp_path) + sealed.ciphertext
    assert key not in on_disk(tmp_path)
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*") if path.is_file())


def test_the_commitment_binds_and_hides(vault: Vault) -> None:
    one, two = vault.seal("a", SECRET), vault.seal("a", SECRET)
    assert one.commitment != two.commitment
    assert one.ciphertext != two.ciphertext
    assert vault.open("a", one.ciphertext) == vault.open("a", two.ciphertext)


def test_every_changed_byte_is_refused(vault: Vault) -> None:
    ciphertext = vault.seal("a", SECRET).ciphertext
    for place in range(len(ciphertext)):
        changed = bytearray(ciphertext)
        changed[place] ^= 1
        with pytest.raises(Tampered if place >= 8 else NotFound):
            vault.open("a", bytes(changed))
    with pytest.raises(Tampered, match="cut short"):
        vault.open("a", ciphertext[:67])
    with pytest.raises(NotFound):  # another record's content has no key here
        vault.open("b", ciphertext)


def test_a_key_moved_to_another_record_opens_nothing(vault: Vault, files: tuple[Path, Path]) -> None:
    ciphertext = vault.seal("a", SECRET).ciphertext
    vault.flush()
    db = apsw.Connection(str(files[0]))
    db.execute("UPDATE key SET id = 'b'").fetchall()
    with pytest.raises(Tampered):
        vault.open("b", ciphertext)
    db.execute("UPDATE key SET wrapped = zeroblob(40)").fetchall()
    with pytest.raises(Tampered):
        vault.open("b", ciphertext)
    db.close()


def test_erasing_one_record_leaves_its_neighbours(vault: Vault, tmp_path: Path) -> None:
    sealed = {name: vault.seal(name, SECRET).ciphertext for name in ("a", "b", "c")}
    again = vault.seal("a", SECRET).ciphertext
    vault.flush()
    waiting = vault.seal("d", SECRET).ciphertext
    wrapped = [row[0] for row in vault._db.execute("SELECT wrapped FROM key WHERE id = 'a'")]
    assert len(wrapped) == 2
    assert all(key in on_disk(tmp_path) for key in wrapped)
    assert vault.erase(["a", "d", "nobody"]) == 2
    assert vault.erase(["a"]) == 0
    for name, ciphertext in (("a", sealed["a"]), ("a", again), ("d", waiting)):
        with pytest.raises(NotFound, match="erased"):
            vault.open(name, ciphertext)
    assert vault.open("b", sealed["b"]) == vault.open("c", sealed["c"]) == SECRET
    assert not any(key in on_disk(tmp_path) for key in wrapped)


def test_after_a_rotation_a_backup_opens_nothing_that_was_erased(vault: Vault, files: tuple[Path, Path]) -> None:
    path, kek = files
    kept, gone = vault.seal("kept", SECRET).ciphertext, vault.seal("gone", SECRET).ciphertext
    vault.flush()
    vault._empty_log()
    backup = path.with_name("backup.db")
    backup.write_bytes(path.read_bytes())
    assert Vault(backup, kek).open("gone", gone) == SECRET
    vault.erase(["gone"])
    other = Vault(*files)
    late = other.seal("late", SECRET).ciphertext
    assert vault.rotate() == 1
    assert vault.open("kept", kept) == SECRET
    other.flush()  # another process follows the rotation
    assert vault.open("late", late) == SECRET
    with pytest.raises(Unavailable, match="does not hold the key"):
        Vault(backup, kek)


def test_a_rotation_cut_short_loses_nothing(
    vault: Vault, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = vault.seal("kept", SECRET).ciphertext
    vault.flush()

    def stop(*_: object) -> bytes:
        raise KeyboardInterrupt

    for broken in ("aes_key_wrap", "_name"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
            patch.setattr(module, broken, stop)
            vault.rotate()
        assert vault.open("kept", kept) == SECRET
        assert Vault(*files).open("kept", kept) == SECRET
    assert vault.rotate() == 1
    assert vault.open("kept", kept) == SECRET
    assert len(files[1].read_text().split()) == 1


def test_the_key_file_must_be_there_private_and_whole(files: tuple[Path, Path]) -> None:
    path, kek = files
    Vault(path, kek).close()
    text = kek.read_text()
    kek.chmod(0o640)
    with pytest.raises(Unavailable, match="read by others"):
        Vault(path, kek)
    kek.chmod(0o600)
    for bad in ("", "zz", "00", f"{text}00\n"):
        kek.write_text(bad)
        with pytest.raises(Tampered, match="damaged"):
            Vault(path, kek)
    kek.unlink()
    with pytest.raises(Unavailable, match="missing"):
        Vault(path, kek)
    kek.write_text(text)
    kek.chmod(0o600)
    Vault(path, kek).close()


def test_a_damaged_vault_is_named(files: tuple[Path, Path]) -> None:
    files[0].write_text("not a database, only some text " * 100)
    with pytest.raises(Tampered, match=r"vault\.db"):
        Vault(*files)


def test_a_record_has_a_name(vault: Vault) -> None:
    for name in ("", "a\0b"):
        with pytest.raises(InvalidInput):
            vault.seal(name, SECRET)


def test_keys_do_not_pile_up_in_memory(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING", 3)
    for number in range(7):
        vault.seal(str(number), SECRET)
    assert len(vault._pending) == 1


def test_a_closed_vault_kept_what_it_had(files: tuple[Path, Path]) -> None:
    vault = Vault(*files)
    ciphertext = vault.seal("a", SECRET).ciphertext
    vault.close()
    vault.close()
    with pytest.raises(Unavailable, match="closed"):
        vault.open("a", ciphertext)
    assert Vault(*files).open("a", ciphertext) == SECRET


def test_a_vault_in_use_a_full_disk_and_a_failed_sync(files: tuple[Path, Path]) -> None:
    disk = Disk("vault")
    vault = Vault(*files, vfs="vault")
    vault._db.set_busy_timeout(1)
    ciphertext = vault.seal("a", SECRET).ciphertext
    other = apsw.Connection(str(files[0]))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="in use"):
        vault.flush()
    other.execute("ROLLBACK")
    other.close()

    def full(_path: str) -> None:
        raise apsw.FullError("injected")

    def broken(_path: str) -> None:
        raise apsw.IOError("injected")

    disk.on_write = full
    with pytest.raises(Full, match="no space"):
        vault.flush()
    disk.on_write = lambda _path: None
    vault.flush()
    assert vault.open("a", ciphertext) == SECRET
    vault.seal("b", SECRET)
    disk.on_sync = broken
    with pytest.raises(Unavailable, match="failed"):
        vault.flush()
    disk.on_sync = lambda _path: None
    with pytest.raises(Unavailable, match="takes nothing"):
        vault.flush()
    vault.close()
    assert Vault(*files).open("a", ciphertext) == SECRET
    disk.unregister()


def test_with_the_journal_every_acknowledged_record_has_its_key(tmp_path: Path, files: tuple[Path, Path]) -> None:
    vault = Vault(*files)
    journal = Journal.open(tmp_path / "journal.db", shard="s", before_commit=vault.flush)

    async def call(number: int) -> None:
        sealed = vault.seal(f"c{number}", b"content %d" % number)
        entry = f'{{"ct":"{sealed.ct}","commit":"{sealed.commitment}","kid":"{sealed.kid}"}}'.encode()
        await journal.append(Record(f"c{number}", entry, number, "u", "llm", "allow", "ok", sealed.ciphertext))

    async def every() -> None:
        await asyncio.gather(*map(call, range(200)))

    threads = [threading.Thread(target=asyncio.run, args=(every(),))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh, shard = Vault(*files), Shard(tmp_path / "journal.db")  # what is on disk, not what is in memory
    before = shard.verify()
    for row in shard.rows(0, 200):
        assert fresh.open(row.id, row.content) == b"content %s" % row.id[1:].encode()
    vault.erase(["c7"])
    row = shard.rows(0, 200)[0]
    erased = shard.get("c7")
    assert erased is not None
    with pytest.raises(NotFound):
        fresh.open("c7", erased.content)
    assert fresh.open(row.id, row.content) or row.id == "c7"
    assert shard.verify() == before
    shard.close()
    journal.close()
    vault.close()
