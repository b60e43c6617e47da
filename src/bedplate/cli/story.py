"""The ten steps of the demonstration, each done through the public interfaces and checked."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from rich.panel import Panel
from rich.table import Table

from bedplate.errors import Denied, NeedsApproval, Tampered
from bedplate.paths.path import hand_written, lines_of

from .folder import read_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from bedplate.sdk import Client

FIRST, SECOND = "hr-policy-assistant", "benefits-assistant"
PURPOSE = "Answers employees' questions about pension, insurance and cars, with a citation for every sentence."
TENTH = 10  # what people do by hand for a sibling is at most this part of what the first took
COVERED = "How many days of annual leave do I get?"
PATIENCE_S = 30


class StoryFailed(Exception):
    """A step did not come out as it is told."""


def must(true: object, what: str) -> None:
    """Check a step; `StoryFailed` says which one did not hold."""
    if not true:
        raise StoryFailed(what)


@dataclass(frozen=True)
class Effort:
    """What people did for a use case until it was live."""

    seconds: float
    lines: int  # in its folder, sources aside
    written: int  # lines and answers by hand
    steps: int  # commands and votes

    @property
    def by_hand(self) -> int:
        """Lines, answers, commands and votes together."""
        return self.written + self.steps


class Story:
    """One run of the ten steps, in a workspace of its own."""

    def __init__(self, console: Console, folder: Path, examples: Path, url: str, people: dict[str, Client]) -> None:
        self._say = console
        self._folder = folder
        self._examples = examples
        self._url = url
        self._as = people
        self._key = ""
        self._http = urllib3.PoolManager(retries=False)
        self._began = time.monotonic()
        self._took: dict[str, Effort] = {}
        self._steps = 0  # commands and votes, since a use case was begun

    first = 1

    def tell(self) -> None:
        """Tell all steps; `StoryFailed` at the first that does not hold."""
        for number, (title, step) in enumerate(self.chapters(), self.first):
            self._say.rule(f"[bold]{number}. {title}", align="left")
            step()
        self._say.rule(align="left")

    def chapters(self) -> Sequence[tuple[str, Callable[[], None]]]:
        """Return the steps, each with its title."""
        return (
            ("The operating model", self._operating_model),
            ("A use case is proposed, scored and tiered", self._proposed),
            ("It is real: who answers", self._real),
            ("Calling before approval is refused", self._refused),
            ("A release is built, evaluated and gated", self._released),
            ("Others approve; the release goes live", self._approved),
            ("Calls are served, and on record", self._called),
            ("A call is proven, offline", self._proved),
            ("It drifts, is caught, and climbs back", self._drifted),
            ("The proven use case becomes a path", self._path),
        )

    # 1 ------------------------------------------------------------------------------------------------------------

    def _operating_model(self) -> None:
        from bedplate.people.blank import blank_model

        people = (self._examples / "people.yaml").read_text(encoding="utf-8")
        file = self._folder / "operating-model.yaml"
        file.write_text(blank_model("Harbour Mutual", people), encoding="utf-8")
        text = file.read_text(encoding="utf-8")
        plan = self._as["priya.raman"].plan("operating-model", file.name, text)
        self._say.print(f"{file.name} written; applying it needs: {', '.join(plan['needs'])}")
        must(plan["needs"] == ["board", "coe"], "founding needs the board and the CoE")
        approval = self._asked(lambda: self._as["priya.raman"].apply("operating-model", file.name, text))
        self._vote("priya.raman", approval, refused="nobody approves their own request")
        self._vote("jonas.weber", approval)
        self._vote("ruth.adeyemi", approval)
        seats = self._as["ruth.adeyemi"].me()["seats"]
        must(seats == ["board.chair"], "the operating model is in force")

    # 2 ------------------------------------------------------------------------------------------------------------

    def _proposed(self) -> None:
        self._began, self._steps = time.monotonic(), 0
        folder = self._folder / FIRST
        shutil.copytree(self._examples / FIRST, folder, ignore=shutil.ignore_patterns("*-supplement*"))
        shutil.copytree(self._examples / "handbook", folder / "handbook")
        self._accept(FIRST, folder)
        case = self._as["victor.lam"].use_case(FIRST)
        must(case["tier"] == 1 and case["stage"] == "accepted", "the first use case is accepted in tier 1")

    def _accept(self, name: str, folder: Path) -> None:
        text = (folder / "use-case.yaml").read_text(encoding="utf-8")
        found = self._as["leo.fischer"].plan("use-case", "use-case.yaml", text)["assessment"]
        self._say.print(
            f"{name}: value {found['value']} × feasibility {found['feasibility']} = {found['worth']} of 25; "
            f"{found['impact']} × {found['autonomy']} → tier {found['tier']}"
        )
        for reason in found["reasons"]:
            self._say.print(f"  {reason}")
        self._steps += 1
        approval = self._asked(lambda: self._as["leo.fischer"].apply("use-case", "use-case.yaml", text))
        self._vote("leo.fischer", approval, refused="may not")
        self._vote("hanna.osei", approval)

    # 3 ------------------------------------------------------------------------------------------------------------

    def _real(self) -> None:
        pages = sorted((self._folder / FIRST / "handbook").glob("*.md"))
        words = sum(len(p.read_text(encoding="utf-8").split()) for p in pages)
        self._say.print(
            f"The handbook: {len(pages)} chapters, {words} words. Questions are answered from its passages."
        )
        answering = self._as["leo.fischer"].me()["answered_by"]
        self._say.print(
            f"Answering: [bold]{answering}[/]. For a model instead, set BEDPLATE_UPSTREAM_URL (OpenAI-compatible)."
        )
        self._key = str(self._as["leo.fischer"].issue_key(FIRST, "demonstration")["key"])
        self._say.print(f"A key was issued for {FIRST}: {self._key[:8]}…")

    # 4 ------------------------------------------------------------------------------------------------------------

    def _refused(self) -> None:
        status, headers, body = self._ask(COVERED)
        must(status == 403, "a call before approval is refused")  # noqa: PLR2004  HTTP's own number
        for reason in body["error"]["reasons"]:
            self._say.print(f"  403 [red]{reason['control']}[/]: {reason['reason']}\n      fix: {reason['fix']}")
        call = self._as["victor.lam"].call(headers["x-bedplate-call-id"])
        must(call["verdict"] == "deny" and call["kind"] == "call.refused", "the refusal is on record")
        self._say.print(f"  on record: {call['shard']} record {call['seq']}")

    # 5, 6 ---------------------------------------------------------------------------------------------------------

    def _released(self) -> None:
        self._pending = self._release(FIRST)

    def _release(self, name: str, expected: str = "waiting") -> str:
        self._steps += 1
        made = self._as["leo.fischer"].release(name, read_folder(self._folder / name, {}))
        self._say.print(
            f"Release {made['number']}, digest {made['release'][:16]}… Answered by: [bold]{made['answered_by']}[/]"
        )
        sure = made["summary"]["lower_permille"] / 10
        self._say.print(f"Evals: {made['passed']} of {made['total']} pass, at least {sure} % with 95 % confidence")
        if made["comparison"] is not None:
            told = made["comparison"]
            failing, passing = len(told["newly_failing"]), len(told["newly_passing"])
            self._say.print(
                f"  against the live release, {told['shared']} cases in common: {failing} newly failing, "
                f"{passing} newly passing"
            )
            must(not told["worse"], f"the release of {name} is no worse than the live one")
        for failure in made["failures"]:
            self._say.print(f"  [yellow]{failure['case']}[/]: {failure['why']}")
        table = Table("control", "state", "what is on record, or the fix")
        for line in made["gate"]:
            colour = "green" if line["state"] == "proven" else "red"
            table.add_row(line["control"], f"[{colour}]{line['state']}[/]", line["fix"] or line["summary"])
        self._say.print(table)
        must(made["state"] == expected, f"the release of {name} passes its gate and is {expected}")
        return str(made["approval"])

    def _approved(self) -> None:
        self._vote("leo.fischer", self._pending, refused="may not")
        self._vote("hanna.osei", self._pending)
        case = self._as["victor.lam"].use_case(FIRST)
        must(case["stage"] == "live" and case["rung"] == "act", "the release is live, on the top rung")
        self._say.print(f"{FIRST} is live, rung {case['rung']}, release {case['release'][:16]}…")
        self._measure(FIRST, {})

    def _measure(self, name: str, inherited: dict[str, str], answers: int = 0) -> None:
        files = {n: t for n, t in read_folder(self._folder / name, {}).items() if not n.startswith("handbook/")}
        written = hand_written(files, inherited) + answers
        self._took[name] = Effort(time.monotonic() - self._began, lines_of(files), written, self._steps)

    # 7, 8 ---------------------------------------------------------------------------------------------------------

    def _called(self) -> None:
        status, headers, body = self._ask(COVERED)
        must(status == 200, "a call to the live release is answered")  # noqa: PLR2004  HTTP's own number
        self._say.print(Panel(body["choices"][0]["message"]["content"], title=COVERED))
        for name in ("call-id", "verdict", "tier", "release", "rung"):
            self._say.print(f"  x-bedplate-{name}: {headers[f'x-bedplate-{name}']}")
        self._call = headers["x-bedplate-call-id"]
        must(self._as["victor.lam"].call(self._call)["status"] == "ok", "the call is in the journal")
        text = self._streamed("By when must expenses be claimed?")
        must("60 days" in text, "a streamed call is answered")
        self._say.print(f"Streamed: {text.splitlines()[0]}")
        self._say.print(f'Any OpenAI client works: OpenAI(base_url="{self._url}/v1", api_key="bpk_…")')

    def _proved(self) -> None:
        from bedplate.store.note import VerifierKey
        from bedplate.store.proof import Proof, verify

        file = self._folder / f"{self._call}.proof"
        file.write_text(self._as["victor.lam"].prove(self._call), encoding="utf-8")
        keys = [VerifierKey.parse(line) for line in self._as["victor.lam"].public_keys().split()]
        log, witnesses = keys[:1], keys[1:]
        shown = verify(Proof.parse(file.read_text(encoding="utf-8")), log, witnesses, len(witnesses))
        must(shown.call["id"] == self._call, "the proof is of this call")
        size = file.stat().st_size
        self._say.print(
            f"{file.name}: {size} bytes, verified offline: call → segment → ledger of {shown.tree_size} events"
        )
        self._say.print(f"  signed by {shown.origin}, witnessed by {', '.join(shown.witnesses)}")
        proof = Proof.parse(file.read_text(encoding="utf-8"))
        changed = Proof(
            **{**{n: getattr(proof, n) for n in Proof.__slots__}, "call": proof.call.replace(b'"ok"', b'"no"')}
        )
        try:
            verify(changed, log, witnesses, len(witnesses))
        except Tampered as named:
            self._say.print(f"  one word changed: [red]{named.message[:110]}…[/]")
        else:
            raise StoryFailed("a changed record is noticed")

    # 9 ------------------------------------------------------------------------------------------------------------

    def _drifted(self) -> None:
        questions = (self._examples / "drift-questions.txt").read_text(encoding="utf-8").splitlines()
        self._say.print(f"{len(questions)} questions on subjects the handbook does not cover, such as: {questions[0]}")
        for question in questions:
            self._ask(question)
        incident = self._until(
            lambda: next(iter(self._as["victor.lam"].incidents(only_open=True)), None), "an incident"
        )
        case = self._as["victor.lam"].use_case(FIRST)
        must(case["rung"] == "propose", "the rung went down by the tier's plan")
        self._say.print(f"[red]{incident['title']}[/] → incident to {incident['owner']}, rung {case['rung']}")
        _, _, body = self._ask(COVERED)
        answer = str(body["choices"][0]["message"]["content"])
        must(answer.startswith("Draft"), "answers go out marked as drafts")
        self._say.print(f"  answers now begin: {answer.splitlines()[0]}")
        self._mended()
        self._as["mara.quinn"].close_incident(incident["id"], "four chapters were added, with eval cases for them")
        self._stopped()

    def _mended(self) -> None:
        for chapter in sorted((self._examples / "handbook-supplement").glob("*.md")):
            shutil.copy(chapter, self._folder / FIRST / "handbook")
        self._add_cases(FIRST)
        self._say.print("The owner adds the missing chapters and eval cases, and releases again:")
        self._vote("hanna.osei", self._release(FIRST))
        case = self._as["victor.lam"].use_case(FIRST)
        must(case["rung"] == "act", "after a new approved release it climbs back")
        self._say.print(f"{FIRST} is back on rung {case['rung']}")

    def _stopped(self) -> None:
        self._as["mara.quinn"].suspend(FIRST, "stop drill")
        began = time.monotonic()
        status, _, body = self._ask(COVERED)
        must(status == 403, "a suspension is in force at once")  # noqa: PLR2004  HTTP's own number
        took = (time.monotonic() - began) * 1000
        self._say.print(f"suspended by mara.quinn: {body['error']['message']} ({took:.0f} ms later)")
        approval = self._asked(lambda: self._as["mara.quinn"].resume(FIRST, "stop drill is over"))
        self._vote("hanna.osei", approval)
        must(self._ask(COVERED)[0] == 200, "it answers again once resuming was approved")  # noqa: PLR2004  HTTP's own number

    def _add_cases(self, name: str) -> None:
        more = (self._examples / FIRST / "evals-supplement.yaml").read_text(encoding="utf-8")
        with (self._folder / name / "evals.yaml").open("a", encoding="utf-8") as file:
            file.write("\n" + more.partition("cases:\n")[2])

    # 10 -----------------------------------------------------------------------------------------------------------

    def _path(self) -> None:
        declared = (self._examples / "paths" / f"{FIRST}.yaml").read_text(encoding="utf-8")
        approval = self._asked(lambda: self._as["mara.quinn"].publish_path(FIRST, declared))
        self._vote("jonas.weber", approval)
        self._vote("hanna.osei", approval)
        path = self._as["mara.quinn"].get(f"/api/paths/{FIRST}")
        self._say.print(f"path {FIRST} version {path['version']} published: its siblings were agreed to beforehand")
        self._began, self._steps = time.monotonic(), 0
        inherited = self._sibling(FIRST)
        self._measure(SECOND, inherited, answers=2)  # title and purpose
        owed = self._as["leo.fischer"].owed(SECOND)
        must(not owed["votes"] and not owed["deviations"], "the second use case stays inside the path's envelope")
        key = str(self._as["leo.fischer"].issue_key(SECOND, "demonstration")["key"])
        status, _, body = self._ask("How much does Harbour Mutual pay into my pension?", key)
        must(status == 200, "the second use case answers")  # noqa: PLR2004  HTTP's own number
        self._say.print(Panel(body["choices"][0]["message"]["content"], title="the second use case answers"))
        self._compared()

    def _sibling(self, path: str) -> dict[str, str]:
        """Start from the path, add what is the sibling's own, and release: nobody is asked again."""
        leo = self._as["leo.fischer"]
        inherited: dict[str, str] = leo.start_from(path, SECOND, "Benefits assistant", {"purpose": PURPOSE})["files"]
        folder = self._folder / SECOND
        for name, text in inherited.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        leo.apply("use-case", "use-case.yaml", inherited["use-case.yaml"])
        self._steps += 1  # `bedplate new` does all of that
        self._say.print(f"bedplate new {SECOND} --from {path}: {', '.join(sorted(inherited))}; accepted without a vote")
        shutil.copytree(self._examples / "handbook-supplement", folder / "handbook")
        own = (self._examples / SECOND / "evals-own.yaml").read_text(encoding="utf-8")
        with (folder / "evals.yaml").open("a", encoding="utf-8") as file:
            file.write(own)
        must(self._release(SECOND, "live") == "", "inside the envelope, a release that passes its gate is live")
        return inherited

    def _compared(self) -> None:
        table = Table("use case", "seconds to live", "lines in its folder", "written by hand", "commands and votes")
        for name, took in self._took.items():
            table.add_row(name, f"{took.seconds:.1f}", str(took.lines), str(took.written), str(took.steps))
        self._say.print(table)
        first, second = self._took[FIRST].by_hand, self._took[SECOND].by_hand
        self._say.print(f"By hand, lines and steps together: {first} for the first, {second} for its sibling")
        must(
            second * TENTH <= first, f"a sibling takes a tenth of the first by hand, at most: {second} against {first}"
        )

    # ---------------------------------------------------------------------------------------------------------------

    def _asked(self, attempt: Any) -> str:  # noqa: ANN401  any client call
        try:
            attempt()
        except NeedsApproval as waiting:
            self._say.print(f"  waits: {waiting.message}")
            return waiting.approval
        raise StoryFailed("others must agree first")

    def _vote(self, person: str, approval: str, *, refused: str = "") -> None:
        try:
            found = self._as[person].vote(approval, "yes")
        except Denied as no:
            must(refused and refused in no.message, f"{person} may vote: {no.message}")
            self._say.print(f"  {person} [red]may not[/]: {no.message}")
            return
        must(not refused, f"{person} must not be able to vote")
        self._steps += 1
        seat = found["votes"][-1]["seat"]
        self._say.print(f"  {person} [green]agrees[/] as {seat}" + (" → done" if found["state"] == "spent" else ""))

    def _ask(self, question: str, key: str = "") -> tuple[int, dict[str, str], dict[str, Any]]:
        response = self._post({"model": "default", "messages": [{"role": "user", "content": question}]}, key)
        return response.status, {k.lower(): v for k, v in response.headers.items()}, json.loads(response.data)

    def _streamed(self, question: str) -> str:
        body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": question}]}
        events = [line[6:] for line in self._post(body, "").data.decode().splitlines() if line.startswith("data: ")]
        must(events[-1] == "[DONE]", "a stream ends properly")
        chunks = [json.loads(event) for event in events[:-1]]
        return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)

    def _post(self, body: dict[str, Any], key: str) -> urllib3.BaseHTTPResponse:
        headers = {"authorization": f"Bearer {key or self._key}", "content-type": "application/json"}
        return self._http.request("POST", f"{self._url}/v1/chat/completions", body=json.dumps(body), headers=headers)

    def _until(self, look: Any, what: str) -> Any:  # noqa: ANN401  whatever is looked for
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(0.2)
        raise StoryFailed(f"{what} within {PATIENCE_S} s")
