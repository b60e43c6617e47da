"""Coverage-guided fuzzing of what strangers send: proofs, notes and checkpoints (fault 23).

    python tests/store/fuzz_proof.py -atheris_runs=20000

Anything but a BedplateError, and any changed proof that still verifies, is a crash.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from bedplate.errors import BedplateError
from bedplate.store.merkle import leaf_hash
from bedplate.store.note import Checkpoint, Signature, SigningKey, VerifierKey, cosign, open_note, sign_note
from bedplate.store.proof import Proof, verify

LOG = SigningKey("log.example/ledger", bytes(range(32)))
WITNESS = SigningKey("witness.example/w1", bytes(range(32, 64)))


def valid_proof() -> Proof:
    """Return a proof of one call in a segment of one, in a ledger of one event."""
    call = b'{"v":1,"id":"c0"}'
    event = b'{"v":1,"kind":"kernel.segment.sealed","data":{"count":1,"root":"%s"}}' % leaf_hash(call).hex().encode()
    text = Checkpoint(LOG.name, 1, leaf_hash(event)).text()
    return Proof(call, 0, 1, (), event, 0, (), sign_note(text, LOG) + cosign(text, WITNESS, 1_700_000_000))


VALID = valid_proof()


def check_proof(data: bytes) -> None:
    """Parse a proof; one that verifies must say what the valid one says."""
    proof = Proof.parse(data)
    if proof.render().encode() != data:
        raise AssertionError("a proof was accepted in a second spelling")
    shown = verify(proof, [LOG.verifier], [WITNESS.cosigner], 1)
    if (proof.call, proof.event, shown.tree_size) != (VALID.call, VALID.event, 1):
        raise AssertionError("a changed proof was accepted")


def check_note(data: bytes) -> None:
    """Open a note; a key of ours signed one text only."""
    opened = open_note(data, LOG.verifier, WITNESS.cosigner)
    if opened.text != VALID.note.partition("\n\n")[0] + "\n":
        raise AssertionError("a changed note was opened")


def check_checkpoint(data: bytes) -> None:
    """Parse a checkpoint; what is accepted has one spelling."""
    text = data.decode("utf-8", "surrogateescape")
    if Checkpoint.parse(text).text() != text:
        raise AssertionError("a checkpoint was accepted in a second spelling")


def check_key(data: bytes) -> None:
    """Parse a verifier key; what is accepted has one spelling."""
    text = data.decode("utf-8", "surrogateescape")
    if str(VerifierKey.parse(text)) != text:
        raise AssertionError("a verifier key was accepted in a second spelling")


def check_signature(data: bytes) -> None:
    """Parse a signature line; what is accepted has one spelling."""
    text = data.decode("utf-8", "surrogateescape")
    if str(Signature.parse(text)) != text:
        raise AssertionError("a signature line was accepted in a second spelling")


CHECKS = (check_proof, check_note, check_checkpoint, check_key, check_signature)


def one_input(data: bytes) -> None:
    """Run every parser on the input; our own errors are what they are for."""
    for check in CHECKS:
        try:
            check(data)
        except BedplateError:
            continue


def main(arguments: list[str]) -> None:
    """Fuzz from valid seeds; libFuzzer ends the process with its own exit code."""
    atheris = importlib.import_module("atheris")
    seeds = (
        VALID.render(),
        VALID.note,
        VALID.note.partition("\n\n")[0] + "\n",
        str(LOG.verifier),
        str(LOG.sign("text\n")),
    )
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            one_input(seed.encode())
            Path(corpus, f"seed{number}").write_text(seed, encoding="utf-8")
        atheris.instrument_all()
        atheris.Setup([*arguments, corpus], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
