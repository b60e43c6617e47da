"""A path: the files of a proven use case, with the names of things replaced by `${...}`."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

SPEC = "use-case.yaml"
OWN = ("id", "title")  # what every sibling says for itself
CI_FILE = ".github/workflows/bedplate.yml"


@dataclass(frozen=True, slots=True)
class Path:
    """A published path. `files` by name, still with placeholders."""

    name: str
    version: int
    release: str
    files: Mapping[str, str]


def template_of(files: Mapping[str, str], name: str, version: int) -> dict[str, str]:
    """Turn the files of a use case into a template. Evals that ask for its own subject stay with it."""
    if SPEC not in files:
        raise InvalidInput(f"the release holds no {SPEC}", hint="release again with this version of Bedplate")
    spec = _spec(files[SPEC], name, version)
    made = {file: _escaped(text) for file, text in files.items() if file != SPEC}
    made[SPEC] = spec
    made.setdefault(CI_FILE, _escaped(resources.files("bedplate.paths").joinpath("templates/ci.yml").read_text()))
    return {file: _general(file, text) for file, text in made.items()}


def render(path: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Fill in a template; `InvalidInput` names what is missing."""
    try:
        return {file: Template(text).substitute(values) for file, text in path.files.items()}
    except KeyError as missing:
        raise InvalidInput(f"the path {path.name} needs a value for {missing.args[0]}") from None
    except ValueError as broken:
        raise InvalidInput(f"the path {path.name} cannot be rendered: {broken}") from None


def hand_written(files: Mapping[str, str], inherited: Mapping[str, str]) -> int:
    """Count the lines somebody wrote: those that are not, at their place's file, among the inherited ones."""
    written = 0
    for file, text in files.items():
        known = set(inherited.get(file, "").splitlines())
        written += sum(1 for line in text.splitlines() if line.strip() and line not in known)
    return written


def _spec(text: str, name: str, version: int) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415  costs 60 ms

    yaml = YAML(typ="rt")
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    spec = yaml.load(text)
    for field in OWN:
        spec[field] = f"__{field}__"
    spec["path"] = {"name": name, "version": version}
    out = io.StringIO()
    yaml.dump(spec, out)
    made = _escaped(out.getvalue())
    for field in OWN:
        made = made.replace(f"__{field}__", f"${{{field}}}")
    return made


def _general(file: str, text: str) -> str:
    """Keep of the eval cases those that hold for every assistant: questions its sources must not answer."""
    if not file.endswith("evals.yaml"):
        return text
    from ruamel.yaml import YAML  # noqa: PLC0415  as above

    yaml = YAML(typ="rt")
    yaml.indent(mapping=2, sequence=4, offset=2)  # so that people can append cases as they are usually written
    suite = yaml.load(text)
    suite["cases"] = [case for case in suite["cases"] if case["expect"].get("unanswered")]
    out = io.StringIO()
    yaml.dump(suite, out)
    return out.getvalue()


def _escaped(text: str) -> str:
    return text.replace("$", "$$")
