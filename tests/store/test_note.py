"""Notes, keys and checkpoints: what is accepted, and everything that is not."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedplate.errors import BedplateError, Conflict, InvalidInput, NotFound
from bedplate.store.merkle import EMPTY_ROOT, leaf_hash
from bedplate.store.note import (
    COSIGNATURE,
    MAX_TIME,
    BadSignature,
    Checkpoint,
    Signature,
    SigningKey,
    VerifierKey,
    cosign,
    open_note,
    read_base64,
    read_decimal,
    sign_note,
    split_note,
)

if TYPE_CHECKING:
    from pathlib import Path

LOG = SigningKey("log.example/ledger", bytes(range(32)))
WITNESS = SigningKey("witness.example/w1", bytes(range(32, 64)))
STRANGER = SigningKey("stranger.example", bytes(range(64, 96)))
CHECKPOINT = Checkpoint(LOG.name, 12, leaf_hash(b"root"))
NOTE = sign_note(CHECKPOINT.text(), LOG)
COSIGNED = NOTE + cosign(CHECKPOINT.text(), WITNESS, 1_700_000_000)

# The example of C2SP signed-note and the key published with Go's sumdb/note: neither was made by this code.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_made_by_go_is_opened() -> None:
    opened = open_note(GO_NOTE, VerifierKey.parse(GO_KEY))
    assert opened.names == ("PeterNeumann",)
    assert opened.text.endswith("your problem is.\n")
    assert str(opened.signatures[0]) == GO_NOTE.rpartition("\n\n")[2]
    assert str(VerifierKey.parse(GO_KEY)) == GO_KEY
    with pytest.raises(BadSignature, match=r"'PeterNeumann' does not verify"):
        open_note(GO_NOTE.replace("answer", "Answer"), VerifierKey.parse(GO_KEY))


def test_log_and_witness_sign_one_note() -> None:
    opened = open_note(COSIGNED.encode(), LOG.verifier, WITNESS.cosigner, STRANGER.verifier)
    assert opened.names == (LOG.name, WITNESS.name)
    assert opened.keys == (LOG.verifier, WITNESS.cosigner)
    assert Checkpoint.parse(opened.text) == CHECKPOINT
    assert opened.signatures[1].blob[:8] == (1_700_000_000).to_bytes(8, "big")
    assert open_note(COSIGNED, WITNESS.cosigner).names == (WITNESS.name,)


def test_one_key_counts_once() -> None:
    opened = open_note(COSIGNED + cosign(CHECKPOINT.text(), WITNESS, 9), WITNESS.cosigner)
    assert opened.names == (WITNESS.name,)
    assert len(opened.signatures) == 2


def test_unknown_keys_are_ignored_but_one_must_be_known() -> None:
    for verifiers in ((), (STRANGER.verifier,), (LOG.cosigner, WITNESS.verifier)):
        with pytest.raises(BadSignature, match=r"not signed by a trusted key"):
            open_note(COSIGNED, *verifiers)
    same_name = SigningKey(LOG.name, bytes(32))
    both = sign_note(CHECKPOINT.text(), same_name, LOG)
    assert open_note(both, LOG.verifier).keys == (LOG.verifier,)


def test_a_known_key_that_fails_spoils_the_note() -> None:
    good = str(LOG.sign(CHECKPOINT.text()))
    for blob in (bytes(64), b"x", bytes(72)):
        bad = str(Signature(WITNESS.name, WITNESS.cosigner.key_id, blob))
        with pytest.raises(BadSignature, match=r"'witness.example/w1' does not verify"):
            open_note(f"{CHECKPOINT.text()}\n{good}{bad}", LOG.verifier, WITNESS.cosigner)
        assert open_note(f"{CHECKPOINT.text()}\n{good}{bad}", LOG.verifier).names == (LOG.name,)


def test_the_time_of_a_cosignature_is_signed_and_bounded() -> None:
    line = WITNESS.cosign(CHECKPOINT.text(), 5)
    for time in (6, MAX_TIME + 1):
        moved = Signature(line.name, line.key_id, time.to_bytes(8, "big") + line.blob[8:])
        with pytest.raises(BadSignature):
            open_note(f"{CHECKPOINT.text()}\n{moved}", WITNESS.cosigner)
    late = LOG._private.sign(f"cosignature/v1\ntime {MAX_TIME + 1}\n{CHECKPOINT.text()}".encode())
    signed = Signature(LOG.name, LOG.cosigner.key_id, (MAX_TIME + 1).to_bytes(8, "big") + late)
    with pytest.raises(BadSignature):
        open_note(f"{CHECKPOINT.text()}\n{signed}", LOG.cosigner)
    for wrong in (-1, MAX_TIME + 1):
        with pytest.raises(InvalidInput, match=r"not a POSIX time"):
            cosign(CHECKPOINT.text(), WITNESS, wrong)


def test_a_plain_signature_is_no_cosignature() -> None:
    message = f"cosignature/v1\ntime 5\n{CHECKPOINT.text()}"
    with pytest.raises(InvalidInput, match=r"must not look like a cosigned message"):
        WITNESS.sign(message)
    with pytest.raises(InvalidInput, match=r"three lines"):
        cosign("any text\n", WITNESS, 5)


def test_two_keys_with_one_id_are_refused() -> None:
    # Found by search: two public keys whose 32-bit ids collide under this name.
    first, second = (VerifierKey("log.example", number.to_bytes(32, "big")) for number in (19_719, 33_356))
    assert first.key_id == second.key_id
    with pytest.raises(InvalidInput, match=r"two trusted keys share"):
        open_note(NOTE, first, second)
    assert open_note(NOTE, LOG.verifier, LOG.verifier).names == (LOG.name,)


SIGNATURE = NOTE.rpartition("\n\n")[2]


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n\n\n",
        "text\n" + SIGNATURE,
        "text\n\n" + SIGNATURE[:-1],
        "text\n\n" + SIGNATURE.replace("\n", "\r\n"),
        "te\txt\n\n" + SIGNATURE,
        "te\x00xt\n\n" + SIGNATURE,
        "te\x1fxt\n\n" + SIGNATURE,
        "te\ud800xt\n\n" + SIGNATURE,
        "text\n\n" + SIGNATURE.replace("—", "-"),
        "text\n\n" + SIGNATURE.replace("— ", "—"),
        "text\n\n" + SIGNATURE.replace("— ", "—  "),
        "text\n\n" + SIGNATURE.replace("/ledger ", "/ledger  "),
        "text\n\n" + SIGNATURE.replace("/ledger ", "/led+ger "),
        "text\n\n" + SIGNATURE.replace("/ledger ", "/led\u2003ger "),
        "text\n\n" + SIGNATURE.replace("/ledger ", "/ledger"),
        "text\n\n" + SIGNATURE[:-1] + "=\n",
        "text\n\n" + SIGNATURE[:-1] + " \n",
        "text\n\n— name \n",
        "text\n\n— name AAAAAA==\n",
        "text\n\n— name AAAAAAB=\n",
        "text\n\n— name AAAA_AAA\n",
        "text\n\n— name éAAAAAAA\n",
        "text\n\n" + SIGNATURE + "trailer\n",
        "text\n\n" + SIGNATURE * 101,
        "t" * 1_000_000 + "\n\n" + SIGNATURE,
        b"te\xffxt\n\n" + SIGNATURE.encode(),
        b"te\xed\xa0\x80xt\n\n" + SIGNATURE.encode(),
    ],
)
def test_malformed_notes_are_refused(note: str | bytes) -> None:
    with pytest.raises(InvalidInput):
        split_note(note)
    with pytest.raises(InvalidInput):
        open_note(note, LOG.verifier)


def test_the_last_blank_line_separates() -> None:
    text = "one\n\ntwo\n\n\nthree\n"
    assert open_note(sign_note(text, LOG), LOG.verifier).text == text
    assert len(split_note("text\n\n" + SIGNATURE * 100)[1]) == 100


@pytest.mark.parametrize("text", ["", "no newline", "bell\a\n", "\ud800\n"])
def test_only_note_texts_are_signed(text: str) -> None:
    with pytest.raises(InvalidInput):
        sign_note(text, LOG)


def test_a_note_needs_a_signature() -> None:
    with pytest.raises(InvalidInput, match=r"at least one key"):
        sign_note("text\n")


def test_a_signature_line_is_one_line() -> None:
    line = LOG.sign("text\n")
    assert Signature.parse(str(line)) == line
    with pytest.raises(InvalidInput):
        Signature.parse(str(line).rstrip())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        str(LOG.verifier)[:-4],
        str(LOG.verifier) + "\n",
        str(LOG.verifier).replace("log", "Log"),
        str(LOG.verifier).replace("+", "+0", 1),
        "+" + str(LOG.verifier),
        GO_KEY.replace("c74f20a3", "C74F20A3"),
        f"name+00000000+{base64.b64encode(bytes([2]) + bytes(32)).decode()}",
        f"name+00000000+{base64.b64encode(bytes([1]) + bytes(31)).decode()}",
    ],
)
def test_malformed_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        VerifierKey.parse(text)


def test_key_ids_differ_by_use() -> None:
    assert LOG.key_id == LOG.verifier.key_id != LOG.cosigner.key_id
    assert VerifierKey.parse(str(LOG.cosigner)).algorithm == COSIGNATURE
    assert VerifierKey.parse(str(LOG.verifier)) == LOG.verifier


def test_a_key_is_saved_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    key = SigningKey.generate("log.example")
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).verifier == key.verifier
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"never overwritten"):
        SigningKey.generate("log.example").save(path)
    assert path.read_bytes() == before
    assert before.decode().split("+")[-1].strip() not in repr(key)
    assert str(key.verifier) in repr(key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o666])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "log.key"
    LOG.save(path)
    path.chmod(mode)
    with pytest.raises(InvalidInput, match=r"chmod 600 "):
        SigningKey.load(path)


def test_a_key_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no signing key"):
        SigningKey.load(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidInput, match=r"not a regular file"):
            SigningKey.load(path)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_key_file_is_never_another_key(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    path = tmp_path_factory.mktemp("keys") / "log.key"
    LOG.save(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data)
    try:
        assert SigningKey.load(path).verifier == LOG.verifier
    except InvalidInput:
        assert bytes(data) != LOG._file_text().encode()


def test_half_a_key_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "log.key"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"No space"):
            LOG.save(path)
    assert not path.exists()
    LOG.save(path)
    assert SigningKey.load(path).name == LOG.name


def test_a_seed_has_thirty_two_bytes() -> None:
    with pytest.raises(InvalidInput, match=r"has 31 bytes"):
        SigningKey("name", bytes(31))
    with pytest.raises(InvalidInput, match=r"space or a plus"):
        SigningKey("two words", bytes(32))


def test_a_checkpoint_reads_back_with_its_extensions() -> None:
    checkpoint = Checkpoint("log.example", 0, EMPTY_ROOT, ("epoch 3", "x"))
    assert checkpoint.text() == "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nepoch 3\nx\n"
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


ROOT64 = base64.b64encode(EMPTY_ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n1\n",
        f"log\n1\n{ROOT64}",
        f"\n1\n{ROOT64}\n",
        f"lo g\n1\n{ROOT64}\n",
        f"lo\xa0g\n1\n{ROOT64}\n",
        f"lo+g\n1\n{ROOT64}\n",
        f"log\n01\n{ROOT64}\n",
        f"log\n-1\n{ROOT64}\n",
        f"log\n+1\n{ROOT64}\n",
        f"log\n1_0\n{ROOT64}\n",
        f"log\n\u0661\n{ROOT64}\n",
        f"log\n \n{ROOT64}\n",
        f"log\n\n{ROOT64}\n",
        f"log\n9223372036854775808\n{ROOT64}\n",
        f"log\n99999999999999999999\n{ROOT64}\n",
        f"log\n1\n{ROOT64[:-4]}\n",
        f"log\n1\n{ROOT64}=\n",
        f"log\n1\n{ROOT64[:-2]}V=\n",
        f"log\n1\n{ROOT64.replace('+', '-')}\n",
        f"log\n1\n{ROOT64}\n\n",
        f"log\n1\n{ROOT64}\n\nx\n",
        f"log\n1\n{ROOT64}\nx\ty\n",
        f"log\n1\n{ROOT64}\r\n",
        f"log\ud800\n1\n{ROOT64}\n",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Checkpoint.parse(text)


def test_a_checkpoint_cannot_be_made_wrong() -> None:
    for size, root, extensions in (
        (-1, EMPTY_ROOT, ()),
        (2**63, EMPTY_ROOT, ()),
        (1, b"", ()),
        (1, EMPTY_ROOT, ("a\nb",)),
    ):
        with pytest.raises(InvalidInput):
            Checkpoint("log", size, root, extensions)


def test_numbers_and_base64_have_one_spelling() -> None:
    assert read_decimal("n", "9223372036854775807") == 2**63 - 1
    assert read_decimal("n", "0") == 0
    assert read_base64("b", "") == b""
    assert read_base64("b", "+/8=") == b"\xfb\xff"


names = st.text(min_size=1, max_size=20).filter(lambda s: s.isprintable() and "+" not in s and " " not in s)
lines = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), min_size=1, max_size=20)


@given(names, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(lines, max_size=3))
def test_every_checkpoint_reads_back(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(checkpoint.text()) == checkpoint
    assert Checkpoint.parse(open_note(sign_note(checkpoint.text(), LOG), LOG.verifier).text) == checkpoint


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200)))
def test_arbitrary_input_only_raises_our_errors(data: bytes | str) -> None:
    with pytest.raises(BedplateError):
        open_note(data, LOG.verifier, WITNESS.cosigner)
    text = data if isinstance(data, str) else data.decode("latin-1")
    for parse in (Checkpoint.parse, VerifierKey.parse, Signature.parse):
        with pytest.raises(BedplateError):
            parse(text)


@given(st.integers(0, len(COSIGNED.encode()) - 1), st.binary(max_size=3), st.integers(0, 3))
@example(at=0, insert=b"", drop=0)
def test_a_changed_note_is_never_opened_as_another(at: int, insert: bytes, drop: int) -> None:
    raw = COSIGNED.encode()
    changed = raw[:at] + insert + raw[at + drop :]
    try:
        opened = open_note(changed, LOG.verifier, WITNESS.cosigner)
    except BedplateError:
        assert changed != raw
    else:  # a line may have become one of an unknown key; the text is what was signed
        assert opened.text == CHECKPOINT.text()


def test_reading_does_not_import_cryptography() -> None:
    script = "import sys; sys.path[:] = sys.argv[1:]; import bedplate.store.proof; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script, *sys.path], check=True, capture_output=True, text=True)
    assert "cryptography" not in loaded.stdout.split()
