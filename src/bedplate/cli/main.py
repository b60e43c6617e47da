"""The command `bedplate`: every command by name, one table of exit codes, one place where errors are printed."""

from __future__ import annotations

import os
import sys
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter

import bedplate
from bedplate.errors import (
    BedplateError,
    Conflict,
    Denied,
    InvalidInput,
    NeedsApproval,
    NotFound,
    Tampered,
    Unauthenticated,
    Unavailable,
    Unreachable,
)

from . import (
    agents,
    approvals,
    bodies,
    change,
    content,
    contracts,
    cost,
    doctor,
    drill,
    evals,
    evidence,
    feedback,
    flow,
    gateway,
    ideas,
    incidents,
    maturity,
    mcp,
    organisation,
    oversight,
    paths,
    people,
    planning,
    portfolio,
    prompts,
    releases,
    shadow,
    up,
    upgrade,  # noqa: F401  it adds a command to `path`
    upstreams,
    value,
    vendors,
)
from .output import note, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT: Mapping[type[BedplateError], int] = {
    InvalidInput: 3,
    NotFound: 3,
    Conflict: 3,
    Denied: 5,
    Tampered: 5,
    NeedsApproval: 6,
    Unauthenticated: 7,
    Unavailable: 7,
    Unreachable: 7,
    BedplateError: 1,
}
USAGE, INTERRUPTED = 2, 130
EPILOGUE = (
    "Exit codes: 0 done; 1 internal error, or doctor found something; 2 usage; 3 invalid input; "
    "4 plan has changes; 5 denied; 6 waiting for approval; 7 unreachable or not signed in."
)

app = App(
    name="bedplate",
    help="The operating model for an organisation's AI: who decides, what is live, and the evidence.",
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=bedplate.__version__,
    default_parameter=Parameter(negative=()),
)


def demo(
    *,
    exit: Annotated[bool, Parameter(help="Stop after the story instead of leaving the server up.")] = False,  # noqa: A002  the option's name
    data: Annotated[Path | None, Parameter(help="Keep the records in this folder.")] = None,
    port: Annotated[int, Parameter(help="Port to listen on.")] = 8400,
) -> int:
    """See the whole story here, in a minute.

    A fictional organisation takes a use case from proposal to proof, on this computer, and checks itself.
    """
    from .demo import demo as play

    return play(exit=exit, data=data, port=port)


_COMMANDS: Mapping[str, tuple[Any, ...]] = {
    "Begin": (demo, organisation.init, up.up, doctor.doctor),
    "People": (people.invite, people.login, people.logout, people.whoami, people.password, bodies.people_app),
    "Govern": (
        change.plan,
        change.apply,
        maturity.maturity_app,
        portfolio.status,
        ideas.idea_app,
        planning.portfolio_app,
        approvals.approvals,
        approvals.approve,
        approvals.refuse,
    ),
    "Use cases": (
        paths.new,
        releases.release,
        releases.gate,
        evals.evals_app,
        portfolio.suspend,
        portfolio.resume,
        gateway.key_app,
        prompts.prompts_app,
        paths.path_app,
    ),
    "Operate": (
        incidents.incidents,
        incidents.incident_app,
        gateway.calls,
        gateway.call,
        content.content_app,
        contracts.contract_app,
        upstreams.upstreams,
        vendors.vendor_app,
        feedback.feedback_app,
        cost.cost_app,
        shadow.discover,
        shadow.shadow_app,
        value.value_app,
        value.board_app,
        flow.flow_app,
    ),
    "Agents": (
        agents.agents_app,
        agents.runs,
        agents.actions_app,
        oversight.oversight_app,
        agents.stop,
        drill.drill,
        agents.breakers_app,
        agents.window_app,
        mcp.mcp_app,
    ),
    "Prove": (evidence.prove, evidence.verify, evidence.keys),
}
_numbers = count()
for _place, (_title, _commands) in enumerate(_COMMANDS.items()):
    _group = Group(_title, sort_key=_place)
    for _command in _commands:
        _sort = next(_numbers)
        if isinstance(_command, App):
            _command.group = (_group,)
            _command.help_epilogue = ""
            _command.sort_key = _sort
            app.command(_command)
        else:
            app.command(_command, group=_group, help_epilogue="", sort_key=_sort)
_OTHER = Group("Other", sort_key=len(_COMMANDS))
app.register_install_completion_command(group=_OTHER, help="Let your shell complete this command.")
app["--help"].group = app["--version"].group = (_OTHER,)


def run() -> None:
    """Run the command line as a program."""
    sys.exit(outcome(sys.argv[1:]))


def outcome(tokens: Sequence[str]) -> int:
    """Run one command and return its exit code; whatever goes wrong is printed here and nowhere else."""
    as_json = _wants_json(tokens)
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # a terminal without our letters still gets the rest
        result = app(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as wrong:
        _tell(_Usage(" ".join(str(wrong).split()), hint=_usage_hint(tokens)), as_json=as_json)
        return USAGE
    except BedplateError as error:
        return tell(error, as_json=as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone; the interpreter's own flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as bug:
        if os.environ.get("BEDPLATE_DEBUG") == "1":
            raise
        hint = "report this, please; BEDPLATE_DEBUG=1 shows where it happened"
        _tell(BedplateError(f"{type(bug).__name__}: {bug}", hint=hint), as_json=as_json)
        return EXIT[BedplateError]
    return result if isinstance(result, int) else 0


def tell(error: BedplateError, *, as_json: bool) -> int:
    """Print an error with its reasons and its hint, and return its exit code."""
    _tell(error, as_json=as_json)
    return code_of(error)


def code_of(error: BedplateError) -> int:
    """Return the exit code of an error: that of the nearest class in the table."""
    return next(EXIT[cls] for cls in type(error).__mro__ if cls in EXIT)


class _Usage(InvalidInput):
    """The command line itself was not understood."""

    code = "usage"


def _tell(error: BedplateError, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": _plain(error)}, sys.stderr)
        return
    first, *more = error.message.splitlines() or [""]
    note(f"error: {first}", "bold red")
    for text in more:
        note(f"       {text}", "bold red")
    if isinstance(error, Denied):
        for control, why, fix in error.reasons:
            if why != error.message:
                note(f"  {control}: {why}")
            if fix:
                note(f"  fix ({control}): {fix}", "yellow")
    if isinstance(error, NeedsApproval):
        note(f"  approval: {error.approval}")
    if error.hint and not (isinstance(error, Denied) and any(error.hint == fix for _, _, fix in error.reasons)):
        note(f"hint: {error.hint}")


def _plain(error: BedplateError) -> dict[str, Any]:
    told: dict[str, Any] = {"code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, Denied):
        told["reasons"] = [{"control": c, "reason": r, "fix": f} for c, r, f in error.reasons]
    if isinstance(error, NeedsApproval):
        told["approval"] = error.approval
    complaints = getattr(error, "complaints", ())
    if complaints:
        names = ("file", "line", "column", "path", "message")
        told["complaints"] = [{name: getattr(c, name) for name in names} for c in complaints]
    return told


def _wants_json(tokens: Sequence[str]) -> bool:
    """Look for the wish itself: when the command line is not understood, nothing else has read it."""
    return any(
        token in {"-o=json", "-ojson", "--output=json"} or (token in {"-o", "--output"} and value == "json")
        for token, value in pairwise([*tokens, ""])
    )


def _usage_hint(tokens: Sequence[str]) -> str:
    here, names = app, ["bedplate"]
    for token in tokens:
        if token.startswith("-") or token not in here:
            break
        here = here[token]
        names.append(token)
    return f"{' '.join(names)} --help"
