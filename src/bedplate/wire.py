"""What crosses the network: the bodies that clients send. Answers are plain JSON, described in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class Ballot(Sent):
    """A vote on an approval; a `no` needs a reason."""

    answer: Literal["yes", "no"]
    reason: Text = ""
    request: RequestId = ""


class Because(Sent):
    """A reason for what is done."""

    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class Held(Sent):
    """Hold what was said in a use case's calls, or let it go."""

    use_case: Name
    reason: Annotated[str, Field(min_length=1, max_length=4_000)]


class NewKey(Sent):
    """Ask for a key of a use case."""

    label: Name
    days: Annotated[int, Field(ge=1, le=366)] = 90


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
    """Publish a path from a use case."""

    use_case: Name


class Sibling(Sent):
    """Start a use case from a path."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
    title: Name


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
