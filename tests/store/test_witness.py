"""The witness never co-signs two histories: not for an insider, not in a race, not after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.errors import BedplateError, Conflict, InvalidInput, NotFound, Tampered, Unavailable
from bedplate.store.merkle import EMPTY_ROOT, Frontier, consistency_proof, leaf_hash
from bedplate.store.note import BadSignature, Checkpoint, SigningKey, open_note, sign_note
from bedplate.store.witness import StaleCheckpoint, Witness

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = SigningKey("log.example/ledger", bytes(range(32)))
KEY = SigningKey("witness.example/w1", bytes(range(32, 64)))
NOW = 1_700_000_000


class History:
    """A log's tree over given entries, able to prove itself and to sign any of its sizes."""

    def __init__(self, *entries: str) -> None:
        self.roots = [EMPTY_ROOT]
        self._nodes: dict[tuple[int, int], bytes] = {}
        frontier = Frontier()
        for entry in entries:
            for level, index, digest in frontier.append(leaf_hash(entry.encode())):
                self._nodes[level, index] = digest
            self.roots.append(frontier.root())

    def note(self, size: int, key: SigningKey = LOG) -> str:
        return sign_note(Checkpoint(LOG.name, size, self.roots[size]).text(), key)

    def proof(self, old: int, new: int) -> list[bytes]:
        return consistency_proof(old, new, lambda level, index: self._nodes[level, index])


HONEST = History(*(f"event {number}" for number in range(20)))
REWRITTEN = History("event 0", "another", *(f"event {number}" for number in range(2, 20)))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path, KEY, {LOG.name: LOG.verifier})


def test_it_cosigns_a_history_that_grows(witness: Witness, tmp_path: Path) -> None:
    assert witness.latest(LOG.name) is None
    known = 0
    for size in (0, 1, 1, 5, 8, 20):
        note = HONEST.note(size)
        line = witness.add_checkpoint(known, HONEST.proof(known, size), note, NOW)
        opened = open_note(note + line, LOG.verifier, KEY.cosigner)
        assert opened.names == (LOG.name, KEY.name)
        assert witness.latest(LOG.name) == Checkpoint.parse(opened.text)
        known = size
    reopened = Witness(tmp_path, KEY, {LOG.name: LOG.verifier})
    assert reopened.latest(LOG.name) == Checkpoint(LOG.name, 20, HONEST.roots[20])


def test_it_says_which_size_it_knows(witness: Witness) -> None:
    witness.add_checkpoint(0, [], HONEST.note(8), NOW)
    for old in (0, 5, 9):
        with pytest.raises(StaleCheckpoint, match=r"proof from size 8") as caught:
            witness.add_checkpoint(old, HONEST.proof(old, 20), HONEST.note(20), NOW)
        assert caught.value.size == 8
        assert isinstance(caught.value, Conflict)
        assert caught.value.code == "stale-checkpoint"


def test_an_older_tree_is_refused(witness: Witness) -> None:
    """A truncated log or yesterday's backup cannot be co-signed, whatever old size it claims."""
    witness.add_checkpoint(0, [], HONEST.note(8), NOW)
    for old in range(6):
        with pytest.raises(StaleCheckpoint):
            witness.add_checkpoint(old, HONEST.proof(old, 5), HONEST.note(5), NOW)
    with pytest.raises(InvalidInput, match=r"old size 8 is not between"):
        witness.add_checkpoint(8, [], HONEST.note(5), NOW)
    with pytest.raises(InvalidInput, match=r"old size -1"):
        witness.add_checkpoint(-1, [], HONEST.note(5), NOW)
    assert witness.latest(LOG.name) == Checkpoint(LOG.name, 8, HONEST.roots[8])


def test_an_insider_who_rewrites_history_is_refused(witness: Witness) -> None:
    """The insider holds the log's key and a valid tree of their own; what they lack is the past."""
    witness.add_checkpoint(0, [], HONEST.note(8), NOW)
    for proof in (REWRITTEN.proof(8, 20), HONEST.proof(8, 20), []):
        with pytest.raises(Tampered):
            witness.add_checkpoint(8, proof, REWRITTEN.note(20), NOW)
    with pytest.raises(Tampered, match=r"two trees of 8 leaves differ") as caught:
        witness.add_checkpoint(8, [], REWRITTEN.note(8), NOW)
    assert caught.value.code == "forked-tree"
    assert witness.latest(LOG.name) == Checkpoint(LOG.name, 8, HONEST.roots[8])
    witness.add_checkpoint(8, HONEST.proof(8, 20), HONEST.note(20), NOW)


def test_a_first_checkpoint_has_no_proof(witness: Witness) -> None:
    with pytest.raises(Tampered, match=r"needs exactly 0"):
        witness.add_checkpoint(0, [bytes(32)], HONEST.note(8), NOW)
    wrong = sign_note(Checkpoint(LOG.name, 0, HONEST.roots[1]).text(), LOG)
    with pytest.raises(Tampered, match=r"the empty tree"):
        witness.add_checkpoint(0, [], wrong, NOW)


def test_only_known_logs_with_their_own_key(witness: Witness) -> None:
    other = SigningKey("other.example", bytes(32))
    with pytest.raises(NotFound, match=r"does not watch the log 'other.example'"):
        witness.add_checkpoint(0, [], sign_note(Checkpoint(other.name, 1, EMPTY_ROOT).text(), other), NOW)
    for key in (other, SigningKey(LOG.name, bytes(32)), KEY):
        with pytest.raises(BadSignature):
            witness.add_checkpoint(0, [], HONEST.note(8, key), NOW)
    with pytest.raises(InvalidInput):
        witness.add_checkpoint(0, [], "not a note", NOW)
    with pytest.raises(InvalidInput):
        witness.add_checkpoint(0, [], sign_note("not a checkpoint\n", LOG), NOW)
    with pytest.raises(InvalidInput, match=r"POSIX time"):
        witness.add_checkpoint(0, [], HONEST.note(8), -1)
    assert witness.latest(LOG.name) is None


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"mount it"):
        Witness(tmp_path / "unmounted", KEY, {})


def state_file(folder: Path) -> Path:
    (found,) = folder.glob("*.checkpoint")
    return found


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_its_memory_is_noticed(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("witness")
    witness = Witness(folder, KEY, {LOG.name: LOG.verifier})
    witness.add_checkpoint(0, [], HONEST.note(8), NOW)
    path = state_file(folder)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(Tampered, match=r"is damaged"):
        witness.latest(LOG.name)
    with pytest.raises(Tampered, match=r"is damaged"):
        witness.add_checkpoint(8, HONEST.proof(8, 20), HONEST.note(20), NOW)


@pytest.mark.parametrize("length", [0, 1, 50, -1])
def test_a_truncated_memory_is_noticed(witness: Witness, tmp_path: Path, length: int) -> None:
    witness.add_checkpoint(0, [], HONEST.note(8), NOW)
    path = state_file(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Tampered, match=r"is damaged"):
        witness.latest(LOG.name)


def test_the_memory_of_another_log_is_noticed(tmp_path: Path) -> None:
    other = SigningKey("other.example", bytes(32))
    witness = Witness(tmp_path, KEY, {LOG.name: LOG.verifier, other.name: other.verifier})
    witness.add_checkpoint(0, [], HONEST.note(8), NOW)
    first = state_file(tmp_path)
    witness.add_checkpoint(0, [], sign_note(Checkpoint(other.name, 0, EMPTY_ROOT).text(), other), NOW)
    (second,) = set(tmp_path.glob("*.checkpoint")) - {first}
    first.write_bytes(second.read_bytes())
    with pytest.raises(Tampered, match=r"belongs to the log 'other.example'"):
        witness.latest(LOG.name)


@pytest.mark.parametrize("crash_at", ["write", "fsync", "replace", "fsync of the folder"])
def test_nothing_is_cosigned_that_is_not_remembered(
    witness: Witness, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    witness.add_checkpoint(0, [], HONEST.note(5), NOW)
    calls = 0

    def failing(real: Callable[..., object], nth: int) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(5, "Input/output error")
            return real(*args, **options)

        return call

    with monkeypatch.context() as patch:
        if crash_at == "write":
            patch.setattr(Path, "open", failing(Path.open, 1))
        elif crash_at == "replace":
            patch.setattr(Path, "replace", failing(Path.replace, 1))
        else:
            patch.setattr(os, "fsync", failing(os.fsync, 1 if crash_at == "fsync" else 2))
        with pytest.raises(OSError, match=r"Input/output"):
            witness.add_checkpoint(5, HONEST.proof(5, 8), HONEST.note(8), NOW)
    known = witness.latest(LOG.name)
    assert known is not None
    assert known.size == (8 if crash_at == "fsync of the folder" else 5)
    with pytest.raises(Tampered):
        witness.add_checkpoint(known.size, REWRITTEN.proof(known.size, 20), REWRITTEN.note(20), NOW)
    witness.add_checkpoint(known.size, HONEST.proof(known.size, 20), HONEST.note(20), NOW)


WORKER = """
import json
import sys
from pathlib import Path
sys.path[:] = sys.argv[5:]
from bedplate.errors import BedplateError
from bedplate.store.note import SigningKey, VerifierKey
from bedplate.store.witness import Witness
folder, seed, log, notes = sys.argv[1:5]
key = VerifierKey.parse(log)
witness = Witness(Path(folder), SigningKey("witness.example/w1", bytes.fromhex(seed)), {key.name: key})
print("ready", flush=True)
sys.stdin.readline()
for old, proof, note in json.loads(Path(notes).read_text()):
    try:
        line = witness.add_checkpoint(old, [bytes.fromhex(h) for h in proof], note, 1700000000)
    except BedplateError as error:
        print("refused", error.code, flush=True)
    else:
        print("cosigned", note.split("\\n")[1], note.split("\\n")[2], flush=True)
"""


def start_worker(folder: Path, history: History, steps: list[tuple[int, int]], name: str) -> subprocess.Popen[str]:
    requests = folder.parent / f"{name}.requests"
    texts = [(old, [digest.hex() for digest in history.proof(old, new)], history.note(new)) for old, new in steps]
    requests.write_text(json.dumps(texts))
    seed = bytes(range(32, 64)).hex()
    arguments = [sys.executable, "-c", WORKER, str(folder), seed, str(LOG.verifier), str(requests), *sys.path]
    # A killed process would leave half a coverage file behind.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_never_cosign_a_fork(tmp_path: Path) -> None:
    """Both forks are valid from size 1 on; each process offers one of them, all sizes, at the same time."""
    for attempt in range(4):
        folder = tmp_path / f"witness{attempt}"
        folder.mkdir()
        Witness(folder, KEY, {LOG.name: LOG.verifier}).add_checkpoint(0, [], HONEST.note(1), NOW)
        steps = [(old, new) for old in range(1, 8) for new in range(old + 1, 12)]
        forks = (HONEST, REWRITTEN, HONEST, REWRITTEN)
        workers = [start_worker(folder, fork, steps, f"{attempt}-{at}") for at, fork in enumerate(forks)]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        outputs = [worker.communicate(timeout=60)[0].splitlines() for worker in workers]
        assert all(
            worker.returncode == 0 and len(out) == len(steps) for worker, out in zip(workers, outputs, strict=True)
        )
        cosigned = [{line for line in out if line.startswith("cosigned")} for out in outputs]
        honest, rewritten = cosigned[0] | cosigned[2], cosigned[1] | cosigned[3]
        assert bool(honest) != bool(rewritten), "exactly one of the two histories was taken"


@pytest.mark.slow
def test_a_killed_witness_remembers_all_that_it_cosigned(tmp_path: Path) -> None:
    folder = tmp_path / "witness"
    folder.mkdir()
    steps = [(size, size + 1) for size in range(20)] + [(20, 20)] * 2000
    for attempt in range(8):
        worker = start_worker(folder, HONEST, steps, f"kill{attempt}")
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
        time.sleep(0.002 * attempt)
        worker.send_signal(signal.SIGKILL)
        output = worker.communicate(timeout=60)[0].splitlines()
        sizes = [int(line.split()[1]) for line in output if line.startswith("cosigned") and len(line.split()) == 3]
        known = Witness(folder, KEY, {LOG.name: LOG.verifier}).latest(LOG.name)
        assert (known.size if known else 0) >= max(sizes, default=0)
        if known:
            assert known.root == HONEST.roots[known.size]


@given(
    old=st.integers(-2, 25),
    proof=st.lists(st.binary(max_size=40), max_size=4),
    note=st.one_of(
        st.binary(max_size=200), st.text(max_size=200), st.just(HONEST.note(8)), st.just(REWRITTEN.note(20))
    ),
)
def test_arbitrary_requests_only_raise_our_errors(
    tmp_path_factory: pytest.TempPathFactory, old: int, proof: list[bytes], note: str | bytes
) -> None:
    witness = Witness(tmp_path_factory.mktemp("witness"), KEY, {LOG.name: LOG.verifier})
    witness.add_checkpoint(0, [], HONEST.note(5), NOW)
    with pytest.raises(BedplateError):
        witness.add_checkpoint(old, proof, note, NOW)
    assert witness.latest(LOG.name) == Checkpoint(LOG.name, 5, HONEST.roots[5])
