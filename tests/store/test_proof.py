"""The call proof: what an auditor checks with two public keys and no server."""

from __future__ import annotations

import base64
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.errors import BedplateError, InvalidInput, Tampered
from bedplate.store.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash
from bedplate.store.note import BadSignature, Checkpoint, SigningKey, VerifierKey, cosign, sign_note
from bedplate.store.proof import MAX_PROOF_FILE, Proof, verify
from bedplate.store.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOG = SigningKey("log.example/ledger", bytes(range(32)))
WITNESS = SigningKey("witness.example/w1", bytes(range(32, 64)))
SECOND = SigningKey("witness.example/w2", bytes(range(64, 96)))
NOW = 1_700_000_000
SEGMENT, LEDGER, EVENT_AT = 300, 40, 12


def grown(entries: Sequence[bytes]) -> tuple[bytes, Callable[[int, int], bytes]]:
    frontier, nodes = Frontier(), dict[tuple[int, int], bytes]()
    for entry in entries:
        for level, index, digest in frontier.append(leaf_hash(entry)):
            nodes[level, index] = digest
    return frontier.root(), lambda level, index: nodes[level, index]


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def call_entry(index: int) -> bytes:
    return compact({"v": 1, "seq": index, "id": f"call-{index}", "model": "m", "cost_micro": 120, "ct": "0" * 64})


def event_entry(seq: int, data: dict[str, Any], kind: str = "kernel.segment.sealed") -> bytes:
    names = {"v": 1, "seq": seq, "id": f"event-{seq}", "kind": kind, "stream": "shard/a", "at": "2026-11-23T12:00:00Z"}
    return compact({**names, "actor": "system:journal", "data": data})


CALLS = [call_entry(index) for index in range(SEGMENT)]
SEGMENT_ROOT, SEGMENT_NODE = grown(CALLS)
SEALED = {"shard": "a", "first": 0, "count": SEGMENT, "root": SEGMENT_ROOT.hex()}


def prove(
    call: int = 7,
    event: bytes | None = None,
    signers: Sequence[SigningKey] = (LOG,),
    witnesses: Sequence[SigningKey] = (WITNESS,),
) -> Proof:
    entries = [event_entry(seq, {"n": seq}, "kernel.action.allowed") for seq in range(LEDGER)]
    entries[EVENT_AT] = event_entry(EVENT_AT, SEALED) if event is None else event
    root, node = grown(entries)
    text = Checkpoint(LOG.name, LEDGER, root).text()
    return Proof(
        call=CALLS[call],
        call_index=call,
        segment_size=SEGMENT,
        call_path=tuple(inclusion_proof(call, SEGMENT, SEGMENT_NODE)),
        event=entries[EVENT_AT],
        event_index=EVENT_AT,
        event_path=tuple(inclusion_proof(EVENT_AT, LEDGER, node)),
        note=sign_note(text, *signers) + "".join(cosign(text, key, NOW) for key in witnesses),
    )


PROOF = prove()
TEXT = PROOF.render()
KEYS = ([LOG.verifier], [WITNESS.cosigner], 1)


def test_a_proof_is_small_and_shows_both_entries() -> None:
    assert len(TEXT.encode()) < 2_500
    assert Proof.parse(TEXT) == Proof.parse(TEXT.encode()) == PROOF
    shown = verify(PROOF, *KEYS)
    assert (shown.origin, shown.tree_size, shown.witnesses) == (LOG.name, LEDGER, (WITNESS.name,))
    assert shown.call["id"] == "call-7"
    assert shown.event["data"]["count"] == SEGMENT
    assert verify(PROOF, [LOG.verifier]).witnesses == ()


def test_the_tail_is_a_c2sp_tlog_proof() -> None:
    tail = TEXT.split("\n\n", 1)[1]
    assert tail.startswith(
        f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(PROOF.event).decode()}\nindex {EVENT_AT}\n"
    )
    assert tail.endswith("\n\n" + PROOF.note)


def test_every_call_of_a_segment_can_be_proved() -> None:
    for call in (0, 1, 127, 128, 255, 256, SEGMENT - 1):
        assert verify(Proof.parse(prove(call).render()), *KEYS).call["seq"] == call


def test_a_segment_of_one_in_a_ledger_of_one() -> None:
    event = event_entry(0, {"count": 1, "root": leaf_hash(CALLS[0]).hex()})
    note = sign_note(Checkpoint(LOG.name, 1, leaf_hash(event)).text(), LOG)
    proof = Proof(CALLS[0], 0, 1, (), event, 0, (), note)
    assert verify(Proof.parse(proof.render()), [LOG.verifier]).call["seq"] == 0


def test_step_1_the_log_signed_its_own_checkpoint() -> None:
    with pytest.raises(Tampered, match=r"^step 1, checkpoint note: the note is not signed") as caught:
        verify(PROOF, [SECOND.verifier])
    assert caught.value.code == BadSignature.code
    for verifiers, witnesses in (([], [WITNESS.cosigner]), ([SECOND.verifier], [WITNESS.cosigner])):
        with pytest.raises(Tampered, match=r"^step 1, checkpoint note: no trusted key of the log"):
            verify(PROOF, verifiers, witnesses, 1)
    # A trusted key of one log cannot speak for another.
    with pytest.raises(Tampered, match=r"^step 1, checkpoint note: no trusted key of the log"):
        verify(prove(signers=(SECOND,)), [LOG.verifier, SECOND.verifier])
    with pytest.raises(Tampered, match=r"^step 1, checkpoint note: .* does not verify"):
        verify(replace(PROOF, note=PROOF.note.replace(f"\n{LEDGER}\n", f"\n{LEDGER + 1}\n")), [LOG.verifier])


def test_step_1_the_quorum_is_of_distinct_witnesses() -> None:
    both = [WITNESS.cosigner, SECOND.cosigner]
    with pytest.raises(Tampered, match=r"^step 1, checkpoint note: 1 trusted witnesses co-signed it, 2 are") as caught:
        verify(PROOF, [LOG.verifier], both, 2)
    assert caught.value.code == "no-quorum"
    assert len(verify(prove(witnesses=(WITNESS, SECOND)), [LOG.verifier], both, 2).witnesses) == 2
    twice = SigningKey("witness.example/alias", bytes(range(32, 64)))
    with pytest.raises(Tampered, match=r"2 are required"):
        verify(prove(witnesses=(WITNESS, twice)), [LOG.verifier], [*both, twice.cosigner], 2)
    own = prove(witnesses=(LOG, WITNESS))
    assert verify(own, [LOG.verifier], [LOG.cosigner, WITNESS.cosigner], 1).witnesses == (WITNESS.name,)


@pytest.mark.parametrize(
    ("verifiers", "witnesses", "quorum"),
    [
        ([LOG.cosigner], [], 0),
        ([LOG.verifier], [WITNESS.verifier], 1),
        ([LOG.verifier], [], 1),
        ([LOG.verifier], [WITNESS.cosigner, WITNESS.cosigner], 2),
        ([LOG.verifier], [LOG.cosigner], 1),
        ([LOG.verifier], [WITNESS.cosigner], -1),
    ],
)
def test_a_policy_that_cannot_hold_is_refused(
    verifiers: list[VerifierKey], witnesses: list[VerifierKey], quorum: int
) -> None:
    with pytest.raises(InvalidInput):
        verify(PROOF, verifiers, witnesses, quorum)


def test_step_2_the_event_is_in_the_ledger() -> None:
    for wrong in (
        replace(PROOF, event=event_entry(EVENT_AT, {**SEALED, "count": 1})),
        replace(PROOF, event_index=EVENT_AT + 1),
        replace(PROOF, event_index=LEDGER),
        replace(PROOF, event_path=PROOF.event_path[:-1]),
        replace(PROOF, event_path=PROOF.event_path[::-1]),
    ):
        with pytest.raises(Tampered, match=r"^step 2, ledger event \d+: "):
            verify(wrong, *KEYS)


@pytest.mark.parametrize(
    "event",
    [
        event_entry(EVENT_AT, SEALED, "kernel.segment.opened"),
        compact({"kind": "kernel.segment.sealed", "data": []}),
        compact({"kind": "kernel.segment.sealed"}),
        event_entry(EVENT_AT, {**SEALED, "count": SEGMENT + 1}),
        event_entry(EVENT_AT, {**SEALED, "count": str(SEGMENT)}),
        event_entry(EVENT_AT, {**SEALED, "count": True}),
        event_entry(EVENT_AT, {**SEALED, "root": SEGMENT_ROOT.hex().upper()}),
        event_entry(EVENT_AT, {**SEALED, "root": SEGMENT_ROOT.hex()[:-2]}),
        event_entry(EVENT_AT, {**SEALED, "root": " " + SEGMENT_ROOT.hex()}),
        event_entry(EVENT_AT, {**SEALED, "root": "z" * 64}),
        event_entry(EVENT_AT, {**SEALED, "root": 5}),
        event_entry(EVENT_AT, {"count": SEGMENT}),
        event_entry(EVENT_AT, SEALED).replace(b'"v":1', b'"v":1,"v":1'),
        event_entry(EVENT_AT, {**SEALED, "x": 1.5}),
        event_entry(EVENT_AT, {**SEALED, "x": float("nan")}),
        event_entry(EVENT_AT, {**SEALED, "x": "\ud800"}),
        event_entry(EVENT_AT, SEALED) + b"x",
        event_entry(EVENT_AT, SEALED) + b"\xff",
        b"\xef\xbb\xbf" + event_entry(EVENT_AT, SEALED),
        b"1e400",
        b"9" * 5_000,
        b"[" * 60_000,
        b"[]",
        b"null",
    ],
)
def test_step_3_the_event_seals_this_segment(event: bytes) -> None:
    with pytest.raises(Tampered, match=r"^step 3, ledger event 12: "):
        verify(prove(event=event), *KEYS)


def test_step_3_true_is_not_one() -> None:
    event = event_entry(0, {"count": True, "root": leaf_hash(CALLS[0]).hex()})
    note = sign_note(Checkpoint(LOG.name, 1, leaf_hash(event)).text(), LOG)
    with pytest.raises(Tampered, match=r"^step 3, ledger event 0: "):
        verify(Proof(CALLS[0], 0, 1, (), event, 0, (), note), [LOG.verifier])


def test_step_4_the_call_is_in_the_segment() -> None:
    for wrong in (
        replace(PROOF, call=CALLS[8]),
        replace(PROOF, call=PROOF.call.replace(b"120", b"121")),
        replace(PROOF, call_index=8),
        replace(PROOF, call_index=SEGMENT),
        replace(PROOF, call_path=(*PROOF.call_path, bytes(32))),
    ):
        with pytest.raises(Tampered, match=r"^step 4, call \d+ of the segment sealed by ledger event 12: "):
            verify(wrong, *KEYS)


def test_step_4_the_call_is_a_strict_object() -> None:
    for call in (b'{"a":1,"a":2}', b"7"):
        event = event_entry(0, {"count": 1, "root": leaf_hash(call).hex()})
        note = sign_note(Checkpoint(LOG.name, 1, leaf_hash(event)).text(), LOG)
        with pytest.raises(Tampered, match=r"^step 4, call 0 .*: not "):
            verify(Proof(call, 0, 1, (), event, 0, (), note), [LOG.verifier])


def test_an_insider_cannot_reach_the_quorum(tmp_path: Path) -> None:
    """With database and log key in hand they re-sign a rewritten ledger; only the witness stands in the way."""
    log_key = {LOG.name: LOG.verifier}
    witness = Witness(tmp_path, WITNESS, log_keys=log_key)
    honest = [event_entry(seq, {"n": seq}, "x") for seq in range(10)]
    honest_root, _ = grown(honest)
    witness.add_checkpoint(0, [], sign_note(Checkpoint(LOG.name, 10, honest_root).text(), LOG), NOW)

    forged = prove(witnesses=())
    entries = [event_entry(seq, {"n": seq}, "kernel.action.allowed") for seq in range(LEDGER)]
    entries[EVENT_AT] = event_entry(EVENT_AT, SEALED)
    _, node = grown(entries)
    assert verify(forged, [LOG.verifier]).call["id"] == "call-7"  # offline and without a witness it passes
    with pytest.raises(Tampered, match=r"another tree of 10"):
        witness.add_checkpoint(10, consistency_proof(10, LEDGER, node), forged.note, NOW)
    with pytest.raises(Tampered, match=r"0 trusted witnesses"):
        verify(forged, *KEYS)


HEAD, TAIL, NOTE = TEXT.split("\n\n", 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n\n",
        HEAD,
        f"{HEAD}\n\n{TAIL}",
        f"{HEAD}\n\n{TAIL}\n\n",
        f"\n{TEXT}",
        TEXT[:-1],
        TEXT + "\n",
        TEXT.replace("@v1", "@v2", 1),
        TEXT.replace("tlog-proof@v1", "tlog-proof@v2"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\nextra ", "\nother "),
        TEXT.replace("\nextra ", "\nextra"),
        TEXT.replace("\nextra ", "\nextra  "),
        TEXT.replace("\nindex 7", "\nindex 07"),
        TEXT.replace("\nindex 7", "\nindex -7"),
        TEXT.replace("\nindex 7", "\nindex 7 "),
        TEXT.replace("\nindex 7", "\nindex 9223372036854775808"),
        TEXT.replace(f"\nsize {SEGMENT}", f"\nsize {SEGMENT}\nsize {SEGMENT}"),
        TEXT.replace(f"\nsize {SEGMENT}\n", f"\nsize {SEGMENT}\nAAAA\n"),
        TEXT.replace(f"\nsize {SEGMENT}\n", f"\nsize {SEGMENT}\n" + f"{'A' * 43}=\n" * 60),
        TEXT.replace("\ncall ", "\ncall \ncall "),
        TEXT.replace(f"call {base64.b64encode(PROOF.call).decode()}", "call "),
        TEXT.replace(f"extra {base64.b64encode(PROOF.event).decode()}", f"extra {'A' * 87_384}"),
        TEXT.replace(LOG.name, "", 1),
        TEXT.replace("log.example", "log\ud800example"),
        "x" * (MAX_PROOF_FILE + 1),
        b"\xff" + TEXT.encode(),
    ],
)
def test_malformed_proofs_are_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidInput):
        Proof.parse(text)


def test_a_proof_cannot_be_made_wrong() -> None:
    changes: list[dict[str, Any]] = [
        {"call": b""},
        {"event": bytes(65_536)},
        {"call_index": -1},
        {"segment_size": 2**63},
        {"event_index": -1},
        {"call_path": (bytes(31),)},
        {"event_path": (bytes(32),) * 64},
        {"note": "no note"},
        {"note": sign_note("no checkpoint\n", LOG)},
    ]
    for change in changes:
        with pytest.raises(InvalidInput):
            replace(PROOF, **change)


def test_a_proof_above_the_limit_is_not_written() -> None:
    text = Checkpoint(LOG.name, 1, bytes(32), ("x" * 200_000,)).text()
    large = replace(PROOF, call=bytes(65_535), note=sign_note(text, LOG))
    with pytest.raises(InvalidInput, match=r"may have 262144 bytes"):
        large.render()


def test_only_the_canonical_text_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line readers leave no second spelling; the comparison stands behind them should one slip in."""
    monkeypatch.setattr("bedplate.store.proof.read_decimal", lambda _what, text: int(text))
    with pytest.raises(InvalidInput, match=r"one way it can be written"):
        Proof.parse(TEXT.replace("\nindex 7", "\nindex 07"))


hashes = st.lists(st.binary(min_size=32, max_size=32), max_size=5).map(tuple)
numbers = st.integers(0, 2**63 - 1)
entries = st.binary(min_size=1, max_size=60)


@given(entries, numbers, numbers, hashes, entries, numbers, hashes)
def test_every_proof_reads_back(
    call: bytes,
    call_index: int,
    size: int,
    call_path: tuple[bytes, ...],
    event: bytes,
    event_index: int,
    event_path: tuple[bytes, ...],
) -> None:
    proof = Proof(call, call_index, size, call_path, event, event_index, event_path, NOTE)
    assert Proof.parse(proof.render()) == proof
    assert Proof.parse(proof.render().encode()) == proof
    with pytest.raises(Tampered):
        verify(proof, *KEYS)


@given(st.one_of(st.binary(max_size=400), st.text(max_size=300)))
def test_arbitrary_input_only_raises_our_errors(data: bytes | str) -> None:
    with pytest.raises(BedplateError):
        Proof.parse(data)


@given(st.integers(0, len(TEXT.encode())), st.binary(max_size=4), st.integers(0, 60))
def test_a_changed_proof_is_never_accepted(at: int, insert: bytes, drop: int) -> None:
    raw = TEXT.encode()
    changed = raw[:at] + insert + raw[at + drop :]
    try:
        shown = verify(Proof.parse(changed), *KEYS)
    except BedplateError:
        assert changed != raw
    else:
        assert changed == raw
        assert shown == verify(PROOF, *KEYS)


@given(st.integers(0, len(TEXT.encode()) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_never_accepted(at: int, bit: int) -> None:
    raw = bytearray(TEXT.encode())
    raw[at] ^= 1 << bit
    with pytest.raises(BedplateError):
        verify(Proof.parse(bytes(raw)), *KEYS)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python")
def test_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    script = "import runpy, sys; sys.path[:] = sys.argv[3:]; sys.argv = sys.argv[1:3]; "
    script += "runpy.run_path(sys.argv[0], {}, '__main__')"
    harness = str(Path(__file__).with_name("fuzz_proof.py"))
    command = [sys.executable, "-c", script, harness, "-atheris_runs=20000", *sys.path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
