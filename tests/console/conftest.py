"""A served installation in the middle of its story, and browsers to look at it with."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import urllib3
import uvicorn
from ruamel.yaml import YAML

from bedplate.bootstrap import open_installation, wall_clock
from bedplate.config import Settings
from bedplate.errors import NeedsApproval
from bedplate.people.actions import invite, sign_in
from bedplate.people.blank import blank_model
from bedplate.sdk import Client
from bedplate.serve import create_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bedplate.installation import Installation
    from bedplate.kernel.clock import Clock

    from .acted import Acted
    from .called import Called
    from .spent import Spent

EXAMPLE = Path(__file__).parents[2] / "examples" / "harbour-mutual"
NAME = "hr-policy-assistant"
HOSTILE = "<script>alert('asked')</script><img src=x onerror=alert(1)>"
HOSTILE_TITLE = 'Rota <b onmouseover=alert(1)>"helper"</b> & {{ 7 * 7 }}'
FILES = ("evals.yaml", "prompts/system.md", "runbook.md")


@dataclass
class House:
    """A running server, and what its story left behind."""

    url: str
    at: Installation
    key: str = ""
    calls: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)  # approvals that Hanna Osei may vote on

    def token(self, person: str) -> str:
        """Sign somebody in."""
        return sign_in(self.at.governor, person, "session").text

    def client(self, person: str) -> Client:
        """Return an API client of somebody."""
        return Client(self.url, sign_in(self.at.governor, person, "cli").text)

    def send(
        self, method: str, path: str, person: str = "hanna.osei", form: dict[str, str] | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send one request as a browser on our own page would; `person` "" is nobody."""
        sent = {"sec-fetch-site": "same-origin", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if person:
            sent["cookie"] = f"bedplate_session={self.session(person)}"
        body = urlencode(form).encode() if form is not None else b"" if method == "POST" else None
        if method == "POST":
            sent["content-type"] = "application/x-www-form-urlencoded"
        return http.request(method, self.url + path, body=body, headers={k: v for k, v in sent.items() if v})

    def page(self, path: str, person: str = "hanna.osei") -> str:
        """Return a page's text."""
        answer = self.send("GET", path, person)
        assert answer.status == 200, (path, answer.status)
        return answer.data.decode()

    def session(self, person: str) -> str:
        """Return one session of somebody, made once."""
        if person not in self.sessions:
            self.sessions[person] = self.token(person)
        return self.sessions[person]

    def incident(self) -> str:
        """Return the path of the incident."""
        found = self.client("victor.lam").incidents()[0]["id"]
        return f"/incidents/{found.partition('/')[2]}"

    def paths(self) -> dict[str, str]:
        """Name a page of every kind."""
        return {
            "home": "/",
            "use cases": "/use-cases",
            "use case": f"/use-cases/{NAME}",
            "proposed": "/use-cases/rota-helper",
            "approvals": "/approvals",
            "all approvals": "/approvals?state=any",
            "approval": f"/approvals/{self.waiting[0]}",
            "incidents": "/incidents",
            "incident": self.incident(),
            "calls": "/calls",
            "call": f"/calls/{self.calls['hostile']}",
            "refused": f"/calls/{self.calls['refused']}",
            "ledger": "/ledger",
            "event": "/ledger/14",
            "me": "/me",
        }

    def ask(self, question: str) -> str:
        """Make a call; returns its id."""
        body = json.dumps({"model": "default", "messages": [{"role": "user", "content": question}]})
        answer = http.request(
            "POST", f"{self.url}/v1/chat/completions", body=body, headers={"authorization": f"Bearer {self.key}"}
        )
        return str(answer.headers["x-bedplate-call-id"])

    def propose(self, name: str, title: str = "", *, yes: tuple[str, ...] = ()) -> str:
        """Have Leo propose a use case; returns the approval."""
        text = (EXAMPLE / NAME / "use-case.yaml").read_text()
        text = re.sub(r"(?m)^id: .*$", f"id: {name}", text)
        text = re.sub(r"(?m)^title: .*$", lambda _: f"title: {json.dumps(title or name)}", text)
        for question in yes:
            text = re.sub(rf"(?m)^(\s+{question}: ).*$", r"\g<1>yes", text)
        with pytest.raises(NeedsApproval) as asked:
            self.client("leo.fischer").apply("use-case", "use-case.yaml", text)
        return asked.value.approval.removeprefix("approval/")


http = urllib3.PoolManager(retries=False)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from serve(tmp_path_factory.mktemp("console"))


@pytest.fixture(scope="session")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    """A house of its own, with days of calls behind it."""
    from .called import call  # noqa: PLC0415  it imports this file

    for house in serve(tmp_path_factory.mktemp("called")):
        yield call(house)


@pytest.fixture(scope="session")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acted]:
    """A house of its own, in which agents ran and asked."""
    from .acted import act, found  # noqa: PLC0415  it imports this file

    for house in serve(tmp_path_factory.mktemp("acted"), played=found):
        yield act(house)


@pytest.fixture(scope="session")
def worth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of its own, five months after its first release, with what that came to."""
    from .worth import earn  # noqa: PLC0415  it imports this file

    yield from earn(tmp_path_factory.mktemp("worth"))


@pytest.fixture(scope="session")
def spent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spent]:
    """A house of its own, in which money was spent and evaluations were run."""
    from .spent import spend  # noqa: PLC0415  it imports this file

    for house in serve(tmp_path_factory.mktemp("spent")):
        yield spend(house)


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of its own, with ideas and data contracts."""
    from .planned import begin  # noqa: PLC0415  it imports this file

    yield from serve(tmp_path_factory.mktemp("planned"), played=begin)


def serve(
    data: Path, *, port: int = 0, played: Callable[[House], object] | None = None, clock: Clock = wall_clock
) -> Iterator[House]:
    """Serve an installation, play the story or another one, and stop it."""
    at = open_installation(Settings(data=data, demo=True, tick_ms=100), clock)
    # Named as TCP, so that asyncio switches Nagle off; otherwise answers wait 40 ms for an acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        config = uvicorn.Config(create_for(at), log_level="warning", timeout_graceful_shutdown=3)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive())
            made = House(f"http://127.0.0.1:{listening.getsockname()[1]}", at)
            (played or story)(made)
            yield made
        finally:
            server.should_exit = True
            thread.join()
            http.clear()


def story(house: House) -> None:
    """Found the organisation, take one use case live, let it drift, and leave decisions waiting."""
    people = YAML().load((EXAMPLE / "people.yaml").read_text())["people"]
    for person in people:
        invite(house.at.governor, "operator", person["id"], person["name"])
    invite(house.at.governor, "operator", "mallory", "Mallory <i>& co</i> <script>alert(2)</script>")
    _settle(house, "priya.raman", ("jonas.weber", "ruth.adeyemi"), "operating-model", _model())
    _settle(house, "leo.fischer", ("hanna.osei",), "use-case", (EXAMPLE / NAME / "use-case.yaml").read_text())
    leo = house.client("leo.fischer")
    house.key = leo.issue_key(NAME, "tests <b>")["key"]
    house.calls["refused"] = house.ask("How many days of annual leave do I get?")
    files = {"use-case.yaml": (EXAMPLE / NAME / "use-case.yaml").read_text()}
    files |= {name: (EXAMPLE / NAME / name).read_text() for name in FILES}
    files |= {f"handbook/{f.name}": f.read_text() for f in (EXAMPLE / "handbook").glob("*.md")}
    made = leo.release(NAME, files)
    house.client("hanna.osei").vote(made["approval"], "yes", "evals look right")
    house.calls["answered"] = house.ask("How many days of annual leave do I get?")
    house.calls["hostile"] = house.ask(HOSTILE)
    for question in (EXAMPLE / "drift-questions.txt").read_text().splitlines()[:22]:
        house.ask(question)
    until(lambda: bool(leo.incidents(only_open=True)))
    files = {**files, "runbook.md": files["runbook.md"] + "\nCall the People Team first.\n"}
    house.waiting = [
        str(leo.release(NAME, files)["approval"]).removeprefix("approval/"),
        house.propose("rota-helper", HOSTILE_TITLE),
        house.propose("benefits-assistant", "Benefits assistant"),
        house.propose("onboarding-guide", "Onboarding guide"),
        house.propose("travel-desk", "Travel desk"),
    ]
    house.propose("claims-triage", "Claims triage", yes=("affects-rights", "decides-alone"))
    house.at.follower.look()


def until(true: Any, seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)


def _settle(house: House, by: str, voters: tuple[str, ...], kind: Any, text: str) -> None:
    with pytest.raises(NeedsApproval) as asked:
        house.client(by).apply(kind, f"{kind}.yaml", text)
    for voter in voters:
        house.client(voter).vote(asked.value.approval, "yes", "agreed")


def _model() -> str:
    return blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())


FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Look:
    """Somebody's browser: every request and every complaint of it is kept."""

    house: House
    browser: Any
    opened: list[Any] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def page(self, person: str = "hanna.osei", **options: Any) -> Any:
        """Open a page signed in as somebody; `person` "" is nobody."""
        context = self.browser.new_context(base_url=self.house.url, **options)
        context.set_default_timeout(10_000)
        self.opened.append(context)
        if person:
            cookie = {"name": "bedplate_session", "value": self.house.session(person), "url": self.house.url}
            context.add_cookies([cookie])
        page = context.new_page()
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))
        page.on("dialog", self._dialog)
        page.on("request", lambda r: self.asked.append(r.url))
        return page

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()


@pytest.fixture(scope="module")  # while it runs, the thread has an event loop, and other tests want their own
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only those who drive a browser need it

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def look(house: House, chromium: Any) -> Iterator[Look]:
    made = Look(house, chromium)
    yield made
    for context in made.opened:
        context.close()
    # Refusals that a test provokes are answers with a status, which the browser reports as well.
    assert [c for c in made.complaints if not c.startswith("Failed to load resource")] == []
    assert [url for url in made.asked if not url.startswith((house.url, "data:"))] == []
