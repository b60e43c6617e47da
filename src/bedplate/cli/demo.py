"""`bedplate demo`: Harbour Mutual takes its first use case all the way, through the public interfaces."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from bedplate.errors import BedplateError, InvalidInput, NeedsApproval, Unreachable
from bedplate.sdk import Client

from .payments import PLANNER, Payments
from .story import Story, StoryFailed

if TYPE_CHECKING:
    from types import FrameType

MARK = ".bedplate-demo"


def demo(*, exit: bool = False, data: Path | None = None, port: int = 8400) -> int:  # noqa: A002  the flag is called --exit
    """Take a use case to governed production and back in ten steps, an agent that pays in six; then serve the console.

    Parameters
    ----------
    exit
        Stop after the last step instead of serving.
    data
        Where to keep the demonstration's records; a folder of an earlier demonstration is replaced.
    port
        Where to serve; with --exit any free port will do if it is taken.

    """
    console = Console(soft_wrap=False, highlight=False)
    folder = _fresh(data or Path("bedplate-demo"))
    port = _free(port, may_differ=exit)
    process: subprocess.Popen[bytes] | None = None
    beside: list[subprocess.Popen[bytes]] = []
    try:
        codes = _founded(folder)
        scripted = not (os.environ.get("BEDPLATE_UPSTREAM_URL") or os.environ.get("BEDPLATE_UPSTREAMS"))
        bank = _beside(folder, beside, scripted=scripted)
        process = _served(folder, port, scripted=scripted)
        client = Client(f"http://127.0.0.1:{port}")
        _wait(client, process)
        people = _signed_in(client.url, codes)
        _links(folder, people)
        Story(console, folder, examples(), client.url, people).tell()
        payments = Payments(console, folder, examples(), client.url, people)
        payments.bank, payments.scripted = bank, scripted
        payments.tell()
        if not exit:
            _links(folder, people)  # again: before the operating model nobody had a seat
            _left_waiting(console, folder, people)
            _stay(console, process, client.url, people)
    except StoryFailed as failed:
        console.print(f"\n[bold red]The demonstration failed:[/] {failed}")
        return 1
    except BedplateError as error:
        console.print(f"\n[bold red]The demonstration failed:[/] {error}")
        return 1
    finally:
        for one in (process, *beside):
            if one is not None:
                one.terminate()
                one.wait(15)
    return 0


def examples() -> Path:
    """Return the folder of Harbour Mutual's files: in the package, or in a checkout."""
    packaged = Path(str(resources.files("bedplate"))) / "_examples" / "harbour-mutual"
    checkout = Path(__file__).parents[3] / "examples" / "harbour-mutual"
    return packaged if packaged.is_dir() else checkout


def _fresh(folder: Path) -> Path:
    if folder.exists():
        if not (folder / MARK).exists() and any(folder.iterdir()):
            raise InvalidInput(f"{folder} is not empty and not a demonstration's", hint="choose another: --data FOLDER")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, mode=0o700)
    (folder / MARK).write_text("made by `bedplate demo`; it may be deleted\n")
    return folder.absolute()


def _free(port: int, *, may_differ: bool) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            if not may_differ:
                raise InvalidInput(f"port {port} is taken", hint="choose another: --port N") from None
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _founded(folder: Path) -> dict[str, str]:
    """Do what an operator does on the host, once: make a witness's key, and invite the people. Returns their codes."""
    from bedplate.bootstrap import open_engine_and_migrate, open_governor, open_ledger, wall_clock
    from bedplate.config import Settings
    from bedplate.document import parse
    from bedplate.people.actions import invite
    from bedplate.store.note import SigningKey

    witness = folder / "witness"
    witness.mkdir(mode=0o700)
    SigningKey.generate(f"witness.bedplate.local/{secrets.token_hex(8)}").save(witness / "witness-key")
    engine = open_engine_and_migrate(Settings(data=folder / "data"))
    try:
        ledger, declared, identities = open_ledger(engine, wall_clock)
        governor = open_governor(ledger, declared, wall_clock, identities)
        people = parse((examples() / "people.yaml").read_text(encoding="utf-8"), "people.yaml").root["people"]
        return {str(p["id"]): invite(governor, "operator", str(p["id"]), str(p["name"])).text for p in people}
    finally:
        engine.dispose()


def _beside(folder: Path, running: list[subprocess.Popen[bytes]], *, scripted: bool) -> str:
    """Start what an organisation has already: a bank with an MCP server, and a model. Returns the bank's URL."""
    at = examples() / "claims-payments"
    bank, planner = _free(0, may_differ=True), _free(0, may_differ=True)
    commands = [["bank.py", str(bank), str(folder / "bank.db")], *([["planner.py", str(planner)]] if scripted else [])]
    for name, *more in commands:
        running.append(subprocess.Popen([sys.executable, str(at / name), *more]))  # noqa: S603  our own
    url = f"http://127.0.0.1:{bank}/mcp"
    (folder / "tools.yaml").write_text(f"kind: tools\nservers:\n  - {{name: bank, url: '{url}'}}\n")
    if scripted:
        listed = (
            f"  - {{name: {PLANNER}, url: 'http://127.0.0.1:{planner}/v1', shape: openai, model: payments-planner-1}}\n"
        )
        (folder / "upstreams.yaml").write_text(f"kind: upstreams\ndefault: embedded\nupstreams:\n{listed}")
    for port in (bank, *([planner] if scripted else [])):
        _listens(port)
    return url


def _listens(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Unreachable("the demonstration's bank did not come up in 10 s", hint="run it again")


def _served(folder: Path, port: int, *, scripted: bool) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "BEDPLATE_TOOLS": str(folder / "tools.yaml"),
        **({"BEDPLATE_UPSTREAMS": str(folder / "upstreams.yaml")} if scripted else {}),
        "BEDPLATE_DATA": str(folder / "data"),
        "BEDPLATE_WITNESS": str(folder / "witness"),
        "BEDPLATE_DEMO": "true",
    }
    command = [sys.executable, "-m", "bedplate", "up", "--port", str(port)]
    with (folder / "server.log").open("wb") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603  our own


def _wait(client: Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise Unreachable("the server ended", hint="see server.log in the demonstration's folder")
        try:
            client.public_keys()
        except Unreachable:
            time.sleep(0.1)
        else:
            return
    raise Unreachable("the server did not come up in 30 s", hint="see server.log in the demonstration's folder")


def _signed_in(url: str, codes: dict[str, str]) -> dict[str, Client]:
    people = {}
    for person, code in codes.items():
        people[person] = Client(url)
        people[person].login(code=code)
    return people


def _links(folder: Path, people: dict[str, Client]) -> None:
    """Leave the tokens where the console, on loopback and in a demonstration only, finds them for one-click sign-in."""
    told: dict[str, Any] = {}
    for person, client in people.items():
        me = client.me()
        told[person] = {"name": me["name"], "seats": me["seats"], "token": client.token}
    path = folder / "data" / "demo-links.json"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(told, file)


def _left_waiting(console: Console, folder: Path, people: dict[str, Client]) -> None:
    """Leave one decision open, so that whoever signs in finds something to decide."""
    file = folder / "operating-model.yaml"
    text = file.read_text(encoding="utf-8").replace("sample_percent: 1,", "sample_percent: 2,")
    try:
        people["priya.raman"].apply("operating-model", file.name, text)
    except NeedsApproval as waiting:
        told = (
            f"Left for you: Priya asks the CoE to sample 2 % of routine calls ({waiting.approval}); Jonas may decide."
        )
        console.print(f"\n{told}")


def _stay(console: Console, process: subprocess.Popen[bytes], url: str, people: dict[str, Client]) -> None:
    console.print(f"\n[bold green]The console is served at {url}[/]  (Ctrl-C ends it)")
    console.print("Sign in there with one click as one of Harbour Mutual's people, for instance:")
    for person in ("jonas.weber", "ruth.adeyemi", "mara.quinn", "hanna.osei", "victor.lam"):
        seats = ", ".join(people[person].me()["seats"])
        console.print(f"  {person:<16} {seats}")

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        process.wait()
    except KeyboardInterrupt:
        console.print("\nEnding.")
