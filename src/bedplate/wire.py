"""What crosses the network: the bodies that clients send. Answers are plain JSON, described in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_WHOLE = 1 << 53  # whole numbers up to here are the same in every JSON reader
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=4_000)]
RequestId = Annotated[
    str,
    Field(
        default="",
        pattern=r"^$|^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
        description="A UUIDv7 made by the client; repeating a request with it changes nothing twice.",
    ),
]


class Sent(BaseModel):
    """A body: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SignIn(Sent):
    """Sign in with an invitation's code, or as a person with a password."""

    code: Text = ""
    person: Text = ""
    password: Text = ""


class Invitation(Sent):
    """Invite somebody."""

    person: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,62}$")]
    name: Name


class Password(Sent):
    """Set one's own password."""

    password: Annotated[str, Field(min_length=12, max_length=200)]


class FileBody(Sent):
    """One YAML file: an operating model or a use case."""

    name: Name
    text: Annotated[str, Field(max_length=1 << 20)]


class Proposal(FileBody):
    """An operating model whose blast radius is asked for; `days` of calls are replayed, none for 0."""

    days: Annotated[int, Field(ge=0, le=92)] = 30


class TableBody(Sent):
    """One CSV file."""

    name: Name
    text: Annotated[str, Field(max_length=18 << 20)]


class MeasureBody(Sent):
    """One metric of one month, as a row of the CSV file has it; numbers as text, to the last digit."""

    metric: Annotated[str, Field(max_length=40)] = "level"
    period: Annotated[str, Field(max_length=40, description="A month such as 2026-10.")]
    value: Annotated[str, Field(max_length=40)]
    n: Annotated[str, Field(max_length=40)] = ""
    sd: Annotated[str, Field(max_length=40)] = ""
    unit: Annotated[str, Field(max_length=500)] = ""
    currency: Annotated[str, Field(max_length=10)] = ""
    loss: Annotated[str, Field(max_length=500, description="Why, where the benefit is below zero.")] = ""


class VendorReview(Sent):
    """What a review of a vendor came to; `next` is the day by which it is looked at again."""

    outcome: Literal["kept", "ended"] = "kept"
    notes: Annotated[str, Field(min_length=1, max_length=4_000)]
    next: Annotated[str, Field(max_length=10)]


class Staged(FileBody):
    """An operating model that is to be brought to a maturity stage; "" is the one that the records bear out."""

    stage: Literal["", "first-ten", "at-scale"] = ""


class Files(Sent):
    """The files of a use case's folder, by relative name."""

    files: Annotated[dict[str, Annotated[str, Field(max_length=1 << 20)]], Field(max_length=500)]


class Tried(Files):
    """The files of a use case's folder, to be evaluated and not released."""

    red_team: bool = False


class Sample(Sent):
    """One sample of a run made elsewhere."""

    case: Name
    passed: bool
    why: Text = ""
    answer: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the answer, as a call's.")] = ""


class RunElsewhere(Sent):
    """What another tool found, as `bedplate evals import` reads it. `control`: what it is evidence for, if anything."""

    source: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    name: Name
    file: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file.")]
    dataset: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of what was asked.")]
    config: Annotated[dict[Name, Name], Field(max_length=20)]
    samples: Annotated[list[Sample], Field(min_length=1, max_length=20_000)]
    control: Text = ""
    pass_percent: Annotated[int, Field(ge=0, le=100, description="0: what the release asks for.")] = 0


class SightingBody(Sent):
    """AI that was seen in use: what, where, how often, when (microseconds since the epoch), what it cost."""

    kind: Annotated[str, Field(max_length=40)]
    what: Name
    where: Name
    provider: Annotated[str, Field(max_length=200)] = ""
    team: Annotated[str, Field(max_length=200)] = ""
    times: Annotated[int, Field(ge=1, le=MOST_WHOLE)] = 1
    first: Annotated[int, Field(ge=1, le=MOST_WHOLE)]
    last: Annotated[int, Field(ge=1, le=MOST_WHOLE)]
    cents: Annotated[int, Field(ge=0, le=MOST_WHOLE)] = 0
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""
    hints: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=20)] = []


class SightingsBody(Sent):
    """What was seen by one source, all or nothing; `digest` is the SHA-256 of the file, so that none counts twice."""

    source: Literal["code", "egress", "bill", "traces"]
    name: Name
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    sightings: Annotated[list[SightingBody], Field(max_length=20_000)]


class DeclarationBody(Sent):
    """What a team says that it uses."""

    what: Name
    where: Name
    team: Name
    why: Annotated[str, Field(min_length=1, max_length=1_000)]
    kind: Literal["sdk", "model", "endpoint", "manifest", "mcp", "tool"] = "tool"


class AdoptionBody(Sent):
    """As which use case a sighting is taken up; "" makes a name of what it is."""

    into: Annotated[str, Field(max_length=63)] = ""
    reason: Text = ""


class ExplanationBody(Sent):
    """Why a sighting is allowed, and until which day."""

    reason: Annotated[str, Field(min_length=1, max_length=4_000)]
    until: Annotated[str, Field(max_length=10, description="The last day, such as 2027-01-31.")]


class HeadcountBody(Sent):
    """How many people work in each team."""

    teams: Annotated[dict[Name, int], Field(min_length=1, max_length=500)]


class Ballot(Sent):
    """A vote on an approval; a `no` needs a reason."""

    answer: Literal["yes", "no"]
    reason: Text = ""
    request: RequestId = ""


class Because(Sent):
    """A reason for what is done."""

    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class Training(Sent):
    """What somebody showed; `on` is a day like 2027-01-31, or "" for now."""

    competence: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,62}$")]
    evidence: Annotated[str, Field(min_length=1, max_length=1_000)]
    on: Annotated[str, Field(pattern=r"^(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]))?$")] = ""


class Held(Sent):
    """Hold what was said in a use case's calls, or let it go."""

    use_case: Name
    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class NewKey(Sent):
    """Ask for a key of a use case."""

    label: Name
    agent: Annotated[str, Field(pattern=r"^$|^[a-z][a-z0-9-]{1,62}$", description="An agent's own key.")] = ""
    days: Annotated[int, Field(ge=1, le=366)] = 90


class Stopped(Sent):
    """Stop an agent, or with none named all agents and calls of a use case; or let it go on."""

    agent: Annotated[str, Field(pattern=r"^$|^[a-z][a-z0-9-]{1,62}$")] = ""
    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class Edited(Sent):
    """Other arguments for an action that waits."""

    arguments: Annotated[dict[str, Any], Field(max_length=1_000)]
    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class Answered(Sent):
    """What the agent is told in the tool's place."""

    answer: Annotated[str, Field(min_length=1, max_length=100_000)]
    reason: Text = ""


class Concluded(Sent):
    """What became of an action of which nobody knew it, and how you know."""

    state: Literal["ok", "error"]
    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class BreakerClosed(Sent):
    """Which breaker is closed, and why things may go on."""

    scope: Annotated[str, Field(min_length=3, max_length=400)]
    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class Drill(Sent):
    """A stop to be tried: of nobody, or of an agent."""

    agent: Annotated[str, Field(pattern=r"^$|^[a-z][a-z0-9-]{1,62}$")] = ""
    reason: Annotated[str, Field(min_length=1, max_length=4_000)] = "a drill"


class Window(Sent):
    """What an agent may do without asking, until the end of a day. Amounts in micro-units; 0: no bound."""

    agent: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
    tool: Name
    amount_micro: Annotated[int, Field(ge=0, le=MOST_WHOLE, description="Of one action.")] = 0
    total_micro: Annotated[int, Field(ge=0, le=MOST_WHOLE, description="Of all of them.")] = 0
    unit: Annotated[str, Field(max_length=20)] = ""
    counterparties: Annotated[list[Name], Field(max_length=200, description="Empty: any.")] = []
    count: Annotated[int, Field(ge=0, le=1_000_000, description="How many actions.")] = 0
    until: Annotated[str, Field(max_length=10, description="A day such as 2026-12-31.")]


class Attached(Sent):
    """Evidence for a control about the newest release."""

    control: Name
    outcome: Literal["proven", "contradicted"]
    summary: Annotated[str, Field(min_length=1, max_length=1_000)]
    content: Annotated[str, Field(max_length=1 << 20)] = ""


class Harm(Sent):
    """Report that something went wrong."""

    title: Name
    details: Text = ""


class Published(Sent):
    """Publish a path from a use case. `declaration`: the text of path.yaml; otherwise the release's own, if any."""

    use_case: Name
    declaration: Annotated[str, Field(max_length=1 << 20)] = ""


class Sibling(Sent):
    """Start a use case from a path. `answers`: to what it asks beyond id and title."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
    title: Name
    answers: Annotated[dict[Name, Annotated[str, Field(max_length=1_000)]], Field(max_length=50)] = Field(
        default_factory=dict
    )


class Withdrawn(Sent):
    """End what a path was agreed to beforehand; `version` 0 is every version."""

    reason: Annotated[str, Field(min_length=1, max_length=4_000)]
    version: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class Glass(Sent):
    """Break the glass for some hours."""

    reason: Annotated[str, Field(min_length=1, max_length=4_000)]
    hours: Annotated[int, Field(ge=1, le=24)] = 4


class Opinion(Sent):
    """Say how good a call's answer was. `value`: up or down, a word, the right answer, or a word for the harm."""

    call: Annotated[str, Field(min_length=36, max_length=50)]
    kind: Literal["thumb", "label", "correction", "harm"]
    value: Text = ""
    comment: Text = ""
    by: Annotated[str, Field(max_length=200, description="The end user's pseudonym; sealed.")] = ""
    request: RequestId = ""


class Expected(Sent):
    """Say what the eval case made from feedback expects, where the feedback itself does not."""

    contains: Text = ""
    unanswered: bool = False


class Alias(Sent):
    """Point an alias at a version: a number, a digest or another alias; at none with ""."""

    alias: Name
    version: Annotated[str, Field(max_length=64)]


class IdeaDecision(Sent):
    """What became of an idea and why: `condition` of one that is declined, `until` of one that is deferred."""

    outcome: Literal["taken-up", "declined", "deferred"]
    reason: Text
    condition: Text = ""
    until: Annotated[str, Field(max_length=10)] = ""


class Selecting(Sent):
    """What a selection of ideas is asked with; what is left out is the operating model's."""

    days: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    cents: Annotated[int, Field(ge=0, le=10**15)] | None = None
    buckets: Literal["", "targets", "limits"] = ""
    must: Annotated[list[Name], Field(max_length=500)] = Field(default_factory=list)
    without: Annotated[list[Name], Field(max_length=500)] = Field(default_factory=list)
    aim: Literal["value", "score"] = "value"


class Comparing(Sent):
    """Two selections to be set side by side."""

    before: Selecting
    after: Selecting
