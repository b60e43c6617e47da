"""`bedplate evals`: run a suite without releasing, look at runs, compare two, bring in those of other tools."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from bedplate.errors import InvalidInput, NotFound

from .output import fields, line, moment, note, short, table
from .releases import OUTCOMES, RELEASE_S, named, sources_of
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.models.importer import Imported

evals_app = App(name="evals", help="Evaluations: run, list, compare, bring in.")
KEY = "BEDPLATE_KEY"
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@Parameter(name="*")
@dataclass(frozen=True)
class Reported(Server):
    """A server, and results that a pipeline may want as JUnit XML."""

    output: Annotated[
        Literal["text", "json", "junit"],
        Parameter(name=("--output", "-o"), help="text for people, json for programs, junit for pipelines."),
    ] = "text"  # type: ignore[assignment]  # wider than any other command's


REPORTED = Reported()


@evals_app.command
def run(
    folder: Path = Path(),
    *,
    source: Annotated[
        list[str] | None,
        Parameter(help="NAME=FOLDER: take the files of a data source from elsewhere. May be repeated."),
    ] = None,
    red_team: Annotated[bool, Parameter(help="Attack it too, in whatever tier it is.")] = False,
    server: Reported = REPORTED,
) -> int:
    """Evaluate a use case's folder without releasing it.

    The run is on record, and evidence of nothing. Exit code 0 if the gate would take it, 5 if not.
    """
    from .folder import SPEC, read_folder

    files = read_folder(folder, sources_of(source or []))
    name = named(files, str(folder / SPEC))
    client = server.client(timeout_s=RELEASE_S)
    if server.output == "text":
        note(f"{len(files)} files of {name} sent; its evals run now.")
    made = client.post(f"/api/use-cases/{quote(name)}/evals", {"files": files, "red_team": red_team})
    passes = bool(made["passes"]) and (made["attack"] is None or bool(made["attack"]["passes"]))
    passes = passes and not (made["comparison"] or {}).get("worse")
    if server.output == "junit":
        _junit(name, {name: made["samples"], "red team": made["attack"]["samples"] if made["attack"] else []})
    else:
        server.show({**made, "passes": passes}, lambda: _tried(made))
    return 0 if passes else OUTCOMES["denied"]


@evals_app.command(name="list")
def list_runs(
    use_case: str,
    *,
    purpose: Annotated[str, Parameter(help="Only evals, red-team, trial or import.")] = "",
    limit: int = 20,
    server: Server = THERE,
) -> int:
    """List evaluations, newest first."""
    path = f"/api/use-cases/{quote(use_case)}/evals"
    found = server.client().get(path, purpose=purpose, limit=limit)["evals"]

    def text() -> None:
        if not found:
            note(f"{use_case} has no evaluations. Run one: bedplate evals run FOLDER")
            return
        rows = [
            (
                short(x["results"]),
                x["purpose"],
                f"{x['passed']} of {x['total']}",
                f"{_percent(x['lower_permille'])} to {_percent(x['upper_permille'])}",
                short(x["release"]),
                moment(x["at"]),
                x["name"],
            )
            for x in found
        ]
        table(("results", "purpose", "passed", "95 % interval", "release", "at", "suite"), rows)

    server.show({"evals": found}, text)
    return 0


@evals_app.command
def show(use_case: str, results: str, *, server: Reported = REPORTED) -> int:
    """Show one evaluation with its samples. RESULTS is its digest, or how it begins."""
    found = server.client().get(f"/api/use-cases/{quote(use_case)}/evals/{quote(results)}")

    def text() -> None:
        config = {k: ", ".join(v) if isinstance(v, list) else v for k, v in found["config"].items()}
        counts = f"{found['passed']} of {found['total']}"
        interval = f"{_percent(found['lower_permille'])} to {_percent(found['upper_permille'])}"
        fields({"results": found["results"], "purpose": found["purpose"], "passed": counts, "interval": interval})
        fields({"suite": found["suite"], "release": found["release"], "at": moment(found["at"]), **config})
        _agreed(found.get("agreement"))
        rows = [
            (x["case"], "passed" if x["passed"] else "failed", x["call"], x["blocked"] or x["why"])
            for x in found["samples"]
        ]
        table(("case", "outcome", "call", "why"), rows)

    if server.output == "junit":
        _junit(use_case, {found["name"]: found["samples"]})
    else:
        server.show(found, text)
    return 0


@evals_app.command(name="compare")
def compare_runs(
    use_case: str,
    after: str,
    before: Annotated[str, Parameter(help="Otherwise what the live release went live with.")] = "",
    *,
    server: Server = THERE,
) -> int:
    """Compare two evaluations sample by sample. Exit code 5 if the later is worse and chance does not explain it."""
    path = f"/api/use-cases/{quote(use_case)}/evals/compare"
    found = server.client().get(path, after=after, before=before)
    server.show(found, lambda: _compared(found))
    return OUTCOMES["denied"] if found["comparison"]["worse"] else 0


@evals_app.command(name="import")
def bring_in(
    use_case: str,
    file: Path,
    *,
    scorer: Annotated[str, Parameter(help="Of an Inspect log with several: the one that counts.")] = "",
    control: Annotated[str, Parameter(help="Attach it as evidence for this control, such as red-teamed.")] = "",
    pass_percent: Annotated[int, Parameter(help="What the lower bound must reach. Otherwise the release's.")] = 0,
    server: Server = THERE,
) -> int:
    """Bring in what another tool found about the newest release.

    FILE is an Inspect log (.eval or JSON), promptfoo's JSON, or JUnit XML. Exit code 5 if too few passed.
    """
    return _brought(use_case, _read(file, scorer), control, pass_percent, server)


@evals_app.command
def inspect(
    *tasks: str,
    use_case: Annotated[str, Parameter(help="Put the results on record for this use case's newest release.")] = "",
    model: Annotated[str, Parameter(help="The model to ask for at the gateway.")] = "default",
    key_env: Annotated[str, Parameter(help="Variable that holds the use case's key.")] = KEY,
    limit: Annotated[int, Parameter(help="Samples of each task; 0 for all.")] = 0,
    scorer: str = "",
    control: Annotated[str, Parameter(help="Attach it as evidence for this control.")] = "",
    pass_percent: Annotated[int, Parameter(help="What the lower bound must reach.")] = 0,
    server: Server = THERE,
) -> int:
    """Run Inspect tasks against the gateway.

    Inspect ends well however many samples fail; here too few are exit code 5. Needs: pip install 'bedplate[evals]'.
    """
    from importlib.util import find_spec

    key = os.environ.get(key_env, "")
    if not tasks:
        raise InvalidInput("no task is named", hint="bedplate evals inspect tasks.py")
    if find_spec("inspect_ai") is None:
        raise InvalidInput("Inspect is not installed here", hint="pip install 'bedplate[evals]'")
    if not key:
        raise InvalidInput(f"${key_env} holds no key", hint="have one issued: bedplate key issue USE-CASE")
    environment = {**os.environ, "GATEWAY_BASE_URL": f"{server.address}/v1", "GATEWAY_API_KEY": key}
    with tempfile.TemporaryDirectory() as logs:
        command = [sys.executable, "-m", "inspect_ai", "eval", *map(_from_here, tasks)]
        command += ["--model", f"openai-api/gateway/{model}", *(["--limit", str(limit)] if limit else [])]
        command += ["--log-dir", logs, "--log-format", "json"]
        done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)  # noqa: S603  what was asked for
        found = sorted(Path(logs).glob("*.json"))
        if done.returncode or not found:
            raise InvalidInput(f"Inspect ended with {done.returncode} and {len(found)} logs", hint="see what it says")
        read = [_read(log, scorer) for log in found]
    return max(_brought(use_case, one, control, pass_percent, server) for one in read)


@evals_app.command
def convert(
    file: Path,
    *,
    to: Annotated[Literal["suite", "pydantic-evals"], Parameter(help="What to write.")] = "suite",
) -> int:
    """Turn a dataset of pydantic-evals into a suite, or a suite into a dataset. Prints it."""
    from bedplate.models.dataset import dataset_of, suite_of
    from bedplate.models.suite import parse_suite

    from .folder import read_text

    text = read_text(file)
    if to == "suite":
        sys.stdout.write(suite_of(text, file.name))
        return 0
    written, lost = dataset_of(parse_suite(text, file.name))
    sys.stdout.write(written)
    for what in lost:
        note(f"not said by the dataset: {what}", "yellow")
    return 0


def _from_here(task: str) -> str:
    """Name a task's file as seen from the working folder: Inspect looks for no other."""
    return os.path.relpath(task) if task.startswith("/") else task


def _read(file: Path, scorer: str) -> Imported:
    from bedplate.models.importer import MAX_FILE, read

    try:
        if file.stat().st_size > MAX_FILE:
            raise InvalidInput(f"{file} is larger than {MAX_FILE} bytes")
        content = file.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except OSError as wrong:
        raise InvalidInput(f"{file} cannot be read: {wrong.strerror}") from None
    return read(content, file.name, scorer)


def _brought(use_case: str, found: Imported, control: str, percent: int, server: Server) -> int:
    """Put what was read on record, or without a use case only judge it."""
    if use_case:
        body = {name: getattr(found, name) for name in ("source", "name", "file", "dataset")}
        samples = [{"case": o.case, "passed": o.passed, "why": o.why, "answer": o.answer} for o in found.outcomes]
        body |= {"config": dict(found.config), "samples": samples, "control": control, "pass_percent": percent}
        made = server.client().post(f"/api/use-cases/{quote(use_case)}/evals/import", body)
    else:
        from bedplate.models.suite import summarise

        if not percent:
            raise InvalidInput("nothing says what is needed", hint="name it: --pass-percent 80, or --use-case ID")
        summary = summarise(found.outcomes)
        made = {**asdict(found), **asdict(summary), "passes": summary.reaches(percent), "pass_percent": percent}
        made["samples"] = made.pop("outcomes")
        made["said"] = (
            f"{summary.passed} of {summary.total} pass, at least {_percent(summary.lower_permille)}; {percent} % needed"
        )

    def text() -> None:
        line(f"{found.source}: {found.name} (dataset {short(found.dataset)})")
        _failures(made["samples"])
        line("ok" if made["passes"] else "failed", made["said"])
        if control:
            line(f"attached to the newest release as {control}:", made["outcome"])

    server.show(made, text)
    return 0 if made["passes"] else OUTCOMES["denied"]


def _tried(made: Mapping[str, Any]) -> None:
    line(f"evals: {made['said']}")
    _failures(made["samples"])
    _agreed(made["agreement"])
    if made["comparison"] is not None:
        told = made["comparison"]
        style = "red" if told["worse"] else ""
        changes = f"{len(told['newly_failing'])} newly failing, {len(told['newly_passing'])} newly passing"
        line(f"against the live release: {told['shared']} cases in common, {changes}", style=style)
        for case in told["newly_failing"]:
            line(f"  newly failing {case}", style="red")
    if made["attack"] is not None:
        line(f"red team: {made['attack']['said']}")
        _failures(made["attack"]["samples"])
    line(f"on record as {short(made['results'])}: bedplate evals show USE-CASE {short(made['results'])}")


def _compared(found: Mapping[str, Any]) -> None:
    line(f"{short(found['before']['results'])} → {short(found['after']['results'])}: {found['summary']}")
    told = found["comparison"]
    for what, style in (("newly_failing", "red"), ("newly_passing", "green"), ("changed", "yellow")):
        for row in (r for r in found["samples"] if r["case"] in told[what]):
            line(f"{what.replace('_', ' ')}: {row['case']}", style=style)
            fields({f"  {when}": f"{row[when]['why']}  (call {row[when]['call']})" for when in ("before", "after")})
    for what in ("added", "removed"):
        if told[what]:
            line(f"{what}: {', '.join(told[what])}")


def _failures(samples: Sequence[Mapping[str, Any]]) -> None:
    for x in samples:
        if not x["passed"]:
            where = f"  (call {x['call']})" if x["call"] else ""
            line(f"  failed {x['case']}: {x['why']}{where}", style="red")


def _agreed(agreement: Mapping[str, Any] | None) -> None:
    if agreement:
        kappa, low, high = (agreement[n] / 1000 for n in ("kappa_permille", "lower_permille", "upper_permille"))
        agreed = f"{agreement['agreed']} of {agreement['labelled']} labelled answers"
        line(f"the judge agrees with people on {agreed}: Cohen's kappa {kappa:.2f} ({low:.2f} to {high:.2f})")


def _junit(name: str, suites: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print samples as JUnit XML, which most pipelines show."""
    from xml.etree import ElementTree as ET

    root = ET.Element("testsuites", name=f"bedplate evals {name}")
    for suite, samples in suites.items():
        if not samples:
            continue
        failed = sum(not x["passed"] for x in samples)
        into = ET.SubElement(root, "testsuite", name=suite, tests=str(len(samples)), failures=str(failed))
        for x in samples:
            case = ET.SubElement(into, "testcase", classname=name, name=x["case"])
            if not x["passed"]:
                ET.SubElement(case, "failure", message=_xml(x["why"]))
            if x["call"]:
                ET.SubElement(case, "system-out").text = f"call {x['call']}"
    ET.indent(root)
    sys.stdout.write(ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n")


def _xml(text: str) -> str:
    """Replace what XML 1.0 cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _percent(permille: int) -> str:
    return f"{permille // 10}.{permille % 10} %"
