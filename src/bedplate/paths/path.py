"""A path: the files of a proven use case, with what it asks replaced by `${...}`."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput
from bedplate.kernel.event import canonical

from .declaration import BEFORE, DECLARATION, misfit, value_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.event import Value

    from .declaration import PathFile, QuestionPart

SPEC = "use-case.yaml"
CI_FILE = ".github/workflows/bedplate.yml"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,;()/+-]*")  # text that YAML reads as itself, but for its words
_WORDS = re.compile(r"(?i)(yes|no|true|false|on|off|null|y|n|[0-9.e+-]+)")


@dataclass(frozen=True, slots=True)
class Path:
    """A published path. `files` by name, still with placeholders; `digest` is what was agreed to."""

    name: str
    version: int
    release: str
    files: Mapping[str, str]
    declaration: PathFile | None = None  # None: published before paths had one
    digest: str = ""
    source: str = ""

    @property
    def asks(self) -> Sequence[QuestionPart]:
        """What must be answered to start from it."""
        return (self.declaration.asks or ()) if self.declaration is not None else BEFORE


def template_of(files: Mapping[str, str], name: str, version: int, asks: Sequence[QuestionPart]) -> dict[str, str]:
    """Turn the files of a use case into a template. Evals that ask for its own subject stay with it."""
    if SPEC not in files:
        raise InvalidInput(f"the release holds no {SPEC}", hint="release again with this version of Bedplate")
    made = {file: _asked(text, asks) for file, text in files.items() if file not in {SPEC, DECLARATION}}
    made[SPEC] = _spec(files[SPEC], name, version, asks)
    made.setdefault(CI_FILE, _escaped(resources.files("bedplate.paths").joinpath("templates/ci.yml").read_text()))
    return {file: _general(file, text) for file, text in made.items()}


def digest_of(name: str, version: int, release: str, files: Mapping[str, Value], declaration: Value) -> str:
    """Name everything that a version of a path is (SHA-256, hex)."""
    return hashlib.sha256(canonical([name, version, release, files, declaration])).hexdigest()


def answered(path: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return an answer to everything the path asks; `InvalidInput` says what is missing, too much, or does not fit."""
    if unknown := sorted(given.keys() - {q.id for q in path.asks}):
        known = ", ".join(q.id for q in path.asks)
        raise InvalidInput(f"the path {path.name} does not ask for {', '.join(unknown)}", hint=f"it asks for: {known}")
    found, wrong = {}, []
    for ask in path.asks:
        answer = given.get(ask.id, ask.default)
        why = f"{ask.id} is missing: {ask.text}" if answer is None else misfit(ask, answer)
        if why:
            wrong.append(why)
        found[ask.id] = answer or ""
    if wrong:
        asked = wrong[0].partition(" ")[0]
        raise InvalidInput(f"the path {path.name}: {'; '.join(wrong)}", hint=f"say it: --set {asked}='...'")
    return found


def answers_of(path: Path, spec: Mapping[str, Any]) -> dict[str, str]:
    """Read a sibling's answers back from its file, as it says things now."""
    own = spec.get("path")
    kept = own.get("answers") or {} if isinstance(own, dict) else {}
    found = {}
    for ask in path.asks:
        held = value_at(spec, ask.fills) if ask.fills is not None else kept.get(ask.id)
        answer = ask.default if held is None else str(held)
        if answer is not None:
            found[ask.id] = answer
    return found


def render(path: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Fill in a template; `InvalidInput` names what is missing."""
    whole = {ask.id for ask in path.asks if ask.type == "integer"}
    quoted = {name: value if name in whole else _scalar(value) for name, value in values.items()}
    try:
        return {
            file: Template(text).substitute(quoted if file == SPEC else values) for file, text in path.files.items()
        }
    except KeyError as missing:
        raise InvalidInput(f"the path {path.name} needs a value for {missing.args[0]}") from None
    except ValueError as broken:
        raise InvalidInput(f"the path {path.name} cannot be rendered: {broken}") from None


def hand_written(files: Mapping[str, str], inherited: Mapping[str, str]) -> int:
    """Count the lines somebody wrote: those of each file beyond the inherited ones, one for one."""
    written = 0
    for file, text in files.items():
        known = Counter(inherited.get(file, "").splitlines())
        written += sum((Counter(line for line in text.splitlines() if line.strip()) - known).values())
    return written


def lines_of(files: Mapping[str, str]) -> int:
    """Count the lines of files that say something."""
    return sum(1 for text in files.values() for line in text.splitlines() if line.strip())


def _spec(text: str, name: str, version: int, asks: Sequence[QuestionPart]) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415  costs 60 ms

    yaml = YAML(typ="rt")
    yaml.width = 4_000  # a line that is not broken here is not broken differently in the next version
    yaml.indent(mapping=2, sequence=4, offset=2)
    spec = yaml.load(text)
    kept: dict[str, str] = {}
    for ask in asks:
        if ask.fills is None:
            kept[ask.id] = f"__{ask.id}__"
            continue
        *above, last = ask.fills.split(".")
        here = spec
        for part in above:
            here = here[part]
        here[last] = f"__{ask.id}__"
    spec["path"] = {"name": name, "version": version, **({"answers": kept} if kept else {})}
    out = io.StringIO()
    yaml.dump(spec, out)
    made = _escaped(out.getvalue())
    for ask in asks:
        made = made.replace(f"__{ask.id}__", f"${{{ask.id}}}")
    return made


def _asked(text: str, asks: Sequence[QuestionPart]) -> str:
    made = _escaped(text)
    for ask in asks:
        if ask.replaces is not None:
            made = made.replace(_escaped(ask.replaces), f"${{{ask.id}}}")
    return made


def _general(file: str, text: str) -> str:
    """Keep of the eval cases those that hold for every sibling: questions that it must not answer, and more such."""
    if not file.endswith("evals.yaml"):
        return text
    from ruamel.yaml import YAML  # noqa: PLC0415  as above

    yaml = YAML(typ="rt")
    yaml.indent(mapping=2, sequence=4, offset=2)  # so that people can append cases as they are usually written
    suite = yaml.load(text)
    general = [case for case in suite["cases"] if case["expect"].get("unanswered")]
    if general:
        ours = yaml.load(resources.files("bedplate.paths").joinpath("templates/unanswered.yaml").read_text())["cases"]
        known = {case["id"] for case in general}
        general += [case for case in ours if case["id"] not in known]
    suite["cases"] = general
    out = io.StringIO()
    yaml.dump(suite, out)
    return out.getvalue()


def _scalar(value: str) -> str:
    """Write an answer so that YAML reads back exactly that: never a key, a comment or another kind of value."""
    plain = _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value) and value == value.strip()
    return value if plain or value in {"yes", "no"} else json.dumps(value, ensure_ascii=False)


def _escaped(text: str) -> str:
    return text.replace("$", "$$")
