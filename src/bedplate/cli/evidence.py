"""Proofs of calls: fetching one, and checking it offline, with public keys alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bedplate.errors import Conflict, InvalidInput, NotFound

from . import remembered
from .output import fields, line, note
from .server import THERE, Server

if TYPE_CHECKING:
    from bedplate.store.note import VerifierKey
    from bedplate.store.proof import Proof, Verified


def prove(
    call_id: str,
    *,
    out: Annotated[Path | None, Parameter(help="Where to write it. Otherwise ./CALL-ID.proof.")] = None,
    server: Server = THERE,
) -> int:
    """Write the proof that a call is on record.

    It is one small text file that anybody checks offline, with public keys alone: bedplate verify.
    """
    text = server.client().prove(call_id)
    path = out if out is not None else Path(f"{Path(call_id).name}.proof")
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"{path} is there already and is not overwritten", hint="name another: --out FILE") from None
    except OSError as wrong:
        raise InvalidInput(f"{path} cannot be written: {wrong.strerror}") from None
    server.show({"call": call_id, "file": str(path), "bytes": len(text.encode())}, lambda: line("wrote", path))
    if server.output == "text":
        note(f"Check it anywhere, offline: bedplate verify {path}")
    return 0


def verify(
    file: Path,
    *,
    key: Annotated[
        list[str] | None,
        Parameter(help="A public key of the ledger, or a file of them. Otherwise those seen at sign-in."),
    ] = None,
    witness: Annotated[list[str] | None, Parameter(help="A witness's public key, or a file of them.")] = None,
    quorum: Annotated[
        int | None, Parameter(help="How many witnesses must have co-signed. Otherwise all that --witness names.")
    ] = None,
    fetch_key: Annotated[
        bool, Parameter(help="Ask the server for its keys: believes the server; needs the network.")
    ] = False,
    server: Server = THERE,
) -> int:
    """Check a proof offline.

    Names the steps that hold, or the first that does not (exit code 5). Without --key it uses the public keys seen
    at sign-in, and says so.
    """
    from bedplate.store.note import COSIGNATURE, ED25519
    from bedplate.store.proof import Proof
    from bedplate.store.proof import verify as check

    proof = Proof.parse(_bytes(file))
    known, origin = _known_keys(key, server, fetch=fetch_key)
    witnesses = [k for k in _keys(witness or []) if k.algorithm == COSIGNATURE]
    needed = quorum if quorum is not None else len(witnesses)
    trusted = [*witnesses, *(k for k in known if k.algorithm == COSIGNATURE)]
    shown = check(proof, [k for k in known if k.algorithm == ED25519], trusted, needed)
    steps = _steps(proof, shown)
    told = {
        "holds": True,
        "keys": origin,
        "log": shown.origin,
        "size": shown.tree_size,
        "witnesses": list(shown.witnesses),
        "steps": steps,
        "call": shown.call,
    }

    def text() -> None:
        note(f"keys: {origin}")
        for number, step in enumerate(steps, 1):
            line("holds", f"{number}. {step}")
        _call(shown.call)
        if not shown.witnesses:
            note("No witness co-signed: this shows nothing against whoever holds the ledger's own key.", "yellow")

    server.show(told, text)
    return 0


def keys(
    *,
    replace: Annotated[bool, Parameter(help="Keep what the server shows now instead of the keys seen before.")] = False,
    server: Server = THERE,
) -> int:
    """Print the server's public keys.

    One a line: the ledger's, then its witness's. Those of the first sight are kept, and others are refused.
    """
    shown = server.stranger().public_keys().split()
    known = remembered.keys(server.address)
    if known and set(known) != set(shown) and not replace:
        raise Conflict(
            f"{server.address} shows other public keys than those seen before",
            hint="find out why; if the change is known to you: bedplate keys --replace",
        )
    remembered.keep_keys(server.address, shown)

    def text() -> None:
        for key in shown:
            line(key)

    server.show({"url": server.address, "keys": shown}, text)
    return 0


def _known_keys(given: list[str] | None, server: Server, *, fetch: bool) -> tuple[list[VerifierKey], str]:
    """Return the keys to check with, and in words where they come from."""
    if given:
        return _keys(given), "those you gave"
    if fetch:
        return _keys(server.stranger().public_keys().split()), f"as {server.address} shows them now"
    kept = remembered.keys(server.url.rstrip("/"))
    if not kept:
        raise NotFound(
            "there is no public key to check with",
            hint="give one with --key, or fetch the server's: bedplate keys",
        )
    return _keys(kept), f"those seen at sign-in, in {remembered.folder() / 'keys.json'}"


def _keys(given: list[str]) -> list[VerifierKey]:
    from bedplate.store.note import VerifierKey

    from .folder import read_text

    found: list[VerifierKey] = []
    for text in given:
        lines = [text] if text.count("+") > 1 and not Path(text).exists() else read_text(Path(text)).splitlines()
        found += [VerifierKey.parse(x.strip()) for x in lines if x.strip()]
    if given and not found:
        raise InvalidInput(f"{', '.join(given)} holds no key")
    return found


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except OSError as wrong:
        raise InvalidInput(f"{file} cannot be read: {wrong.strerror}") from None


def _steps(proof: Proof, shown: Verified) -> list[str]:
    data = shown.event["data"]
    also = f", co-signed by {', '.join(shown.witnesses)}" if shown.witnesses else ""
    return [
        f"the checkpoint over {shown.tree_size} ledger events is signed by {shown.origin}{also}",
        f"ledger event {proof.event_index} is one of these {shown.tree_size}",
        f"this event seals {proof.segment_size} calls under the root {str(data['root'])[:16]}…",
        f"call {shown.call.get('id', '')} is record {proof.call_index} of these {proof.segment_size}",
    ]


def _call(call: dict[str, Any]) -> None:
    names = ("use_case", "started", "verdict", "status", "model", "release", "request_sha256", "answer_sha256")
    fields({"the call": "", **{f"  {n.replace('_', ' ')}": call.get(n, "") for n in names}})
