"""A governed call beside a direct one: the same local upstream, the same client, in one run; and suspension to refusal.

The upstream answers at once, so what is measured is what Bedplate adds: key, verdict, guardrails, groundedness,
encryption of what was said, and a record that is durable before the answer's last byte.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bedplate.bootstrap import open_engine_and_migrate, open_governor, open_ledger, wall_clock
from bedplate.config import Settings
from bedplate.errors import BedplateError, NeedsApproval
from bedplate.people.actions import invite
from bedplate.people.blank import blank_model
from bedplate.sdk import Client

CALLS = {1: 600, 32: 3000}
QUESTION = {
    "model": "default",
    "messages": [{"role": "user", "content": "How many days of annual leave do I get? " * 8}],
}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "default",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Twenty-six days. " * 20}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 80, "completion_tokens": 80, "total_tokens": 160},
}
UPSTREAM = f"""
import json
BODY = json.dumps({ANSWER!r}).encode()
HEAD = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({{"type": "http.response.start", "status": 200, "headers": HEAD}})
    await send({{"type": "http.response.body", "body": BODY}})
"""
SPEC = """kind: use-case
id: bench
title: Bench
domain: people
owner: hr-owner
sponsor: hr-sponsor
purpose: Measures what a governed call costs.
bucket: efficiency
value: {hypothesis: enough to pass the gate, unit: x, baseline: 100, target: 0, per_month: 1000, cents_per_unit: 100}
feasibility: {data: 5, technology: 5, people: 5, change: 5}
answers:
  {affects-rights: no, special-data: no, customer-facing: no, regulated-advice: no, acts-alone: no, decides-alone: no}
data: [{name: notes, path: notes, personal: no}]
model: {name: default}
prompts: {system: prompt.md}
unanswered: I cannot answer this.
evals: {file: evals.yaml, pass_percent: 50}
budget: {calls_per_day: 1000000, tokens_per_day: 1000000000}
runbook: runbook.md
"""
FILES = {
    "use-case.yaml": SPEC,
    "prompt.md": "Answer.",
    "runbook.md": "Call the owner.",
    "notes/leave.md": "# Leave\n\n## Days\n\nTwenty-six days.\n",
    "evals.yaml": "cases:\n  - id: days\n    question: How many days?\n    expect:\n      contains: [Twenty-six]\n",
}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "mock.py").write_text(UPSTREAM)
        upstream = start(["uvicorn", "mock:app", "--port", "8490", "--log-level", "error", "--no-access-log"], cwd=data)
        codes = invited(data)
        environment = {"BEDPLATE_DATA": folder, "BEDPLATE_UPSTREAM_URL": "http://127.0.0.1:8490/v1"}
        command = [
            "uvicorn",
            "bedplate.serve:create",
            "--factory",
            "--port",
            "8491",
            "--log-level",
            "error",
            "--no-access-log",
        ]
        server = start(command, environment=environment)
        try:
            people, key = released("http://127.0.0.1:8491", codes)
            compared(key)
            suspended(people["hr-owner"], key)
        finally:
            server.terminate()
            upstream.terminate()
            server.wait(20)
            upstream.wait(20)


def start(
    command: list[str], cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a Python module quietly."""
    told = {**os.environ, **(environment or {})}
    return subprocess.Popen(
        [sys.executable, "-m", *command], cwd=cwd, env=told, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def invited(data: Path) -> dict[str, str]:
    """Invite the people of the blank operating model; returns their codes."""
    engine = open_engine_and_migrate(Settings(data=data))
    ledger, declared, identities = open_ledger(engine, wall_clock)
    governor = open_governor(ledger, declared, wall_clock, identities)
    people = ("coe-lead", "coe-engineer", "board-chair", "hr-owner", "hr-engineer", "hr-approver")
    codes = {p: invite(governor, "operator", p, p).text for p in people}
    engine.dispose()
    return codes


def released(url: str, codes: dict[str, str]) -> tuple[dict[str, Client], str]:
    """Take a use case live; returns the people and a key."""
    people = {person: signed_in(url, code) for person, code in codes.items()}
    model = (
        blank_model("Bench")
        .replace("calls_per_day: 20000", "calls_per_day: 1000000")
        .replace("tokens_per_day: 20000000", "tokens_per_day: 1000000000")
    )
    for kind, who, text, voters in (
        ("operating-model", "coe-lead", model, ("coe-engineer", "board-chair")),
        ("use-case", "hr-engineer", SPEC, ("hr-approver",)),
    ):
        try:
            people[who].apply(kind, f"{kind}.yaml", text)  # type: ignore[arg-type]  # one of the two literals
        except NeedsApproval as asked:
            for voter in voters:
                people[voter].vote(asked.approval, "yes")
    made = people["hr-engineer"].release("bench", FILES)
    assert made["state"] == "waiting", made
    people["hr-approver"].vote(made["approval"], "yes")
    return people, str(people["hr-engineer"].issue_key("bench", "bench")["key"])


def signed_in(url: str, code: str) -> Client:
    """Sign in, waiting for the server."""
    client = Client(url)
    for _ in range(200):
        try:
            client.public_keys()
            break
        except BedplateError:
            time.sleep(0.05)
    client.login(code=code)
    return client


def compared(key: str) -> None:
    """Direct and governed, in turns, at 1 and 32 connections."""
    print(f"{'connections':>11}  {'':<9}{'calls/s':>9}{'p50 ms':>9}{'p99 ms':>9}")
    for connections, calls in CALLS.items():
        direct = asyncio.run(load(8490, "", connections, calls))
        governed = asyncio.run(load(8491, key, connections, calls))
        for name, (rate, p50, p99) in (("direct", direct), ("governed", governed)):
            print(f"{connections:>11}  {name:<9}{rate:>9.0f}{p50:>9.2f}{p99:>9.2f}")
        adds, share = governed[1] - direct[1], governed[0] / direct[0]
        print(f"{'':>11}  governed adds {adds:.2f} ms at p50; {share:.2f} of direct's calls/s")


def post(key: str) -> bytes:
    """The bytes of one call."""
    body = json.dumps(QUESTION).encode()
    told = {"host": "localhost", "authorization": f"Bearer {key or '-'}", "content-type": "application/json"}
    lines = [f"{name}: {value}" for name, value in {**told, "content-length": len(body)}.items()]
    return "\r\n".join(["POST /v1/chat/completions HTTP/1.1", *lines, "", ""]).encode() + body


async def load(port: int, key: str, connections: int, calls: int) -> tuple[float, float, float]:
    """Make calls over keep-alive connections; returns calls/s, p50 and p99 in ms."""
    request = post(key)
    times: list[float] = []

    async def one(share: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(share):
            began = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = next(
                int(x.split(b":")[1]) for x in answer.lower().split(b"\r\n") if x.startswith(b"content-length")
            )
            await reader.readexactly(length)
            times.append((time.perf_counter() - began) * 1000)
        writer.close()

    await asyncio.gather(*(one(10) for _ in range(connections)))
    times.clear()
    began = time.perf_counter()
    await asyncio.gather(*(one(calls // connections) for _ in range(connections)))
    spent = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return len(times) / spent, cuts[49], cuts[98]


def suspended(owner: Client, key: str) -> None:
    """From the moment a suspension is answered to the first refused call."""
    owner.suspend("bench", "measuring")
    began = time.perf_counter()
    while asyncio.run(status(key)) != 403:
        pass
    print(f"suspension in force {1000 * (time.perf_counter() - began):.1f} ms after it was answered")


async def status(key: str) -> int:
    """Make one call; returns its status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", 8491)
    writer.write(post(key))
    answer = await reader.readline()
    writer.close()
    return int(answer.split()[1])


if __name__ == "__main__":
    main()
