"""Each kind of path has an example that goes live through the real door: a model, an agent, a vendor's product.

The fourth, the assistant that answers from a handbook, goes live in tests/cli, and has its siblings there.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.gateway.test_observed import CURRENT, PARTS, request, span
from tests.served import EXAMPLE, Harbour, Server, fetch

from bedplate.cli.folder import read_folder
from bedplate.people.blank import blank_model
from bedplate.sdk import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
UPSTREAMS = {"lapse-risk": "lapse-model", "leave-agent": "leave-agent-model", "meeting-notes": "notes-vendor"}
VOTERS = {"lapse-risk": "hanna", "leave-agent": "jonas", "meeting-notes": "hanna"}
FEATURES = {"years_held": 0, "price_rise_percent": 30, "claims": 3, "contacts": 0}


@dataclass(frozen=True)
class Town:
    """Harbour Mutual with the three examples live, and what their releases said."""

    at: Harbour
    released: dict[str, dict[str, Any]]

    def chat(self, name: str, content: str, **more: Any) -> tuple[int, Any]:
        return self.at.call({"model": "default", "messages": [{"role": "user", "content": content}], **more}, name)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    with ExitStack() as running:
        lines = ["kind: upstreams", "default: lapse-model", "upstreams:"]
        for name, upstream in UPSTREAMS.items():
            port = _free()
            model = [sys.executable, str(EXAMPLE / name / "model.py"), str(port)]
            process = running.enter_context(subprocess.Popen(model))
            running.callback(process.kill)
            _listens(port)
            target = f"url: 'http://127.0.0.1:{port}/v1', shape: openai, model: {upstream}"
            lines.append(f"  - {{name: {upstream}, {target}}}")
        (folder / "upstreams.yaml").write_text("\n".join(lines) + "\n")
        codes = served.found(folder / "data")
        server = running.enter_context(Server(folder / "data", upstreams=str(folder / "upstreams.yaml")))
        yield _live(Harbour(server.url, codes, {}))


def _live(at: Harbour) -> Town:
    tokens: dict[str, str] = {}
    for person, code in at.tokens.items():
        client = Client(at.url)
        client.login(code=code)
        tokens[person] = client.token
    at = Harbour(at.url, tokens, {})
    model = blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())
    at.approve(lambda: at.person("priya").apply("operating-model", "om.yaml", model), "jonas", "ruth")
    leo, released, keys = at.person("leo"), {}, {}
    for name, voter in VOTERS.items():
        files = read_folder(EXAMPLE / name, {})
        served.accept(at, leo, files["use-case.yaml"], voter)
        released[name] = leo.release(name, files)
        assert released[name]["state"] == "waiting", released[name]
        assert at.agree(released[name]["approval"], voter) == "spent"
        keys[name] = str(leo.issue_key(name, "tests")["key"])
    return Town(Harbour(at.url, tokens, keys), released)


def test_a_tabular_model_answers_json_that_its_schema_allows(town: Town) -> None:
    assert town.released["lapse-risk"]["passed"] == 12
    status, told = town.chat("lapse-risk", json.dumps(FEATURES))
    assert status == 200, told
    said = json.loads(told["choices"][0]["message"]["content"])
    assert said["advice"] == "call"
    assert 500 <= said["lapse_permille"] <= 1000
    safe = json.loads(
        town.chat("lapse-risk", json.dumps(FEATURES | {"years_held": 15, "price_rise_percent": 0}))[1]["choices"][0][
            "message"
        ]["content"]
    )
    assert safe["lapse_permille"] < said["lapse_permille"]


def test_an_agent_gets_its_tools_and_they_are_in_the_release(town: Town) -> None:
    tools = json.loads((EXAMPLE / "leave-agent" / "tools.json").read_text())
    status, told = town.chat("leave-agent", "Please book 3 days of leave for E-2001.", tools=tools)
    assert status == 200, told
    (call,) = told["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"employee": "E-2001", "days": 3}
    turn = [
        {"role": "user", "content": "Please book 3 days of leave for E-2001."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "booked"},
    ]
    _, done = town.at.call({"model": "default", "messages": turn, "tools": tools}, "leave-agent")
    assert done["choices"][0]["message"]["content"] == "The HR system says: booked"
    changed = read_folder(EXAMPLE / "leave-agent", {})
    changed["tools.json"] = changed["tools.json"].replace("Book days of leave.", "Book any leave.")
    again = town.at.person("leo").release("leave-agent", changed)
    assert again["release"] != town.released["leave-agent"]["release"]
    assert again["state"] == "waiting"


def test_what_the_agent_does_gets_a_verdict_by_the_policies_of_its_release(town: Town) -> None:
    key = town.at.person("leo").issue_key("leave-agent", "tests", agent="booker")["key"]
    head = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def post(path: str, **body: Any) -> Any:
        status, _, content = fetch(town.at.url, f"/agents/v1/{path}", "POST", json.dumps(body).encode(), head)
        assert status == 200, content
        return json.loads(content)

    post("runs", run="leave-1", task="Please book leave for E-2001.")
    verdicts = {}
    for days in (3, 8, 12):
        arguments = {"employee": "E-2001", "days": days}
        verdicts[days] = post("actions", run="leave-1", tool="local/book_leave", arguments=arguments)
    assert {days: told["verdict"] for days, told in verdicts.items()} == {3: "allow", 8: "ask", 12: "deny"}
    assert "People Team" in json.dumps(verdicts[12]["reasons"])
    stranger = {"employee": "E-9999", "days": 1}
    assert post("actions", run="leave-1", tool="local/cancel", arguments=stranger)["verdict"] == "deny"
    agents = town.at.person("victor").get("/api/agents", use_case="leave-agent")["agents"]
    assert [(a["agent"], len(a["tools"])) for a in agents] == [("booker", 2)]


def test_a_vendors_product_is_seen_by_its_traces_and_the_vendor_is_registered(town: Town) -> None:
    text = (EXAMPLE / "meeting-notes" / "vendor.yaml").read_text()
    town.at.person("priya").apply("vendor", "vendor.yaml", text)
    assert "minutewise" in json.dumps(town.at.person("victor").get("/api/vendors"))
    now = time.time_ns()
    times = {"startTimeUnixNano": str(now - 10**9), "endTimeUnixNano": str(now)}
    body = request(span({**CURRENT, **PARTS}, **times))
    key = town.at.keys["meeting-notes"]
    head = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    status, _, content = fetch(town.at.url, "/v1/traces", "POST", body, head)
    assert status == 200, content
    seen = [c for c in town.at.person("victor").calls(use_case="meeting-notes") if c["route"] == "observed"]
    assert len(seen) == 1


def test_each_becomes_a_path_with_a_sibling_inside_its_envelope(town: Town) -> None:
    at = town.at
    for name, voters in {"lapse-risk": ("jonas", "hanna"), "meeting-notes": ("jonas", "hanna")}.items():
        at.approve(lambda: at.person("mara").publish_path(name), *voters)  # noqa: B023  done before the next one
        told = at.person("leo").start_from(name, f"{name}-two", "Two", {"purpose": "Does the same elsewhere."})
        owed = at.person("leo").post("/api/paths/owed", {"files": {**told["files"]}})
        assert (owed["votes"], owed["deviations"], owed["ended"]) == (False, [], "")


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the example's model did not come up")
