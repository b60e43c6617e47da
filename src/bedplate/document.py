"""A YAML file as people write it: every complaint names file, line, column and what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

Schema = TypeVar("Schema", bound="BaseModel")
NAMES = {  # the patterns of names, in words
    r"^[a-z][a-z0-9-]{1,62}$": "2 to 63 small letters, digits and hyphens, a letter first",
    r"^[a-z][a-z0-9.-]{0,62}$": "1 to 63 small letters, digits, dots and hyphens, a letter first",
}
MAX_BYTES = 1 << 20
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong in a file. Line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.path}: {self.message}"


class InvalidDocument(InvalidInput):
    """A file that was not applied, with every complaint about it."""

    code = "invalid-document"

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(map(str, self.complaints)), hint="nothing was applied")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file that remembers where everything stands."""

    name: str
    root: Any  # ruamel's CommentedMap

    def complain(self, path: Sequence[str | int], message: str) -> Complaint:
        """Make a complaint about the value at this path."""
        line, column = self._place(path)
        return Complaint(self.name, line, column, ".".join(map(str, path)) or "(file)", message)

    def read(self, schema: type[Schema]) -> Schema:
        """Check the file against a schema; `InvalidDocument` lists everything that is wrong."""
        from pydantic import ValidationError  # noqa: PLC0415  costs 100 ms, and most commands read no file

        try:
            return schema.model_validate(_plain(self.root))
        except ValidationError as wrong:
            raise InvalidDocument([self._from_pydantic(dict(e), schema) for e in wrong.errors()]) from None

    def _from_pydantic(self, error: dict[str, Any], schema: type[BaseModel]) -> Complaint:
        path = [part for part in error["loc"] if isinstance(part, int) or not part.startswith("function-")]
        message = in_words(error)
        if error["type"] == "extra_forbidden":
            message = f"unknown key; known here: {', '.join(_known(schema, path[:-1])) or 'none'}"
        elif error["type"] == "missing":
            message = "required, and missing"
        elif error["type"] not in {"value_error", "literal_error"}:
            message = f"{message}; found {error.get('input')!r}"[:300]
        return self.complain(path, message)

    def _place(self, path: Sequence[str | int]) -> tuple[int, int]:
        here, line, column = self.root, 1, 1
        for part in path:
            marks = getattr(here, "lc", None)
            try:
                if isinstance(here, dict) and part in here:
                    line, column = (n + 1 for n in marks.key(part))  # type: ignore[union-attr]  # None raises, and is caught
                elif isinstance(here, list) and isinstance(part, int):
                    line, column = (n + 1 for n in marks.item(part))  # type: ignore[union-attr]  # as above
                here = here[part]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        return line, column


def in_words(error: Mapping[str, Any]) -> str:
    """Say what pydantic found wrong as people would; what it says itself where that is clear."""
    match error["type"]:
        case "string_pattern_mismatch":
            pattern = str(error["ctx"]["pattern"])
            return f"is not written as it must be: {NAMES.get(pattern, f'it fits {pattern}')}"
        case "string_too_long" | "string_too_short":
            least, most = error["ctx"].get("min_length"), error["ctx"].get("max_length")
            return f"has at most {most} characters" if most else f"has {least} characters or more"
        case _:
            return str(error["msg"]).removeprefix("Value error, ")


def parse(text: str | bytes, name: str) -> Document:
    """Parse one YAML mapping; `InvalidDocument` names the place of a syntax error or a duplicate key."""
    from ruamel.yaml import YAML  # noqa: PLC0415  costs 60 ms
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415  as above

    if len(text) > MAX_BYTES:
        raise InvalidDocument([Complaint(name, 1, 1, "(file)", f"larger than {MAX_BYTES} bytes")])
    try:
        source = text.decode() if isinstance(text, bytes) else text
        _bounded(source, name)
        root = YAML(typ="rt").load(source)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise InvalidDocument([Complaint(name, line, column, "(syntax)", str(wrong.problem))]) from None
    except (YAMLError, UnicodeDecodeError, ValueError, RecursionError) as wrong:
        raise InvalidDocument([Complaint(name, 1, 1, "(syntax)", str(wrong) or type(wrong).__name__)]) from None
    if not isinstance(root, dict):
        raise InvalidDocument([Complaint(name, 1, 1, "(file)", "expected keys and values at the top")])
    return Document(name, root)


def _bounded(source: str, name: str) -> None:
    """Refuse what grows out of all proportion when it is read: aliases of aliases, and deep nesting."""
    from ruamel.yaml import YAML  # noqa: PLC0415  as in parse
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent  # noqa: PLC0415  as above

    depth = 0
    for event in YAML(typ="rt").parse(source):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        wrong = ""
        if isinstance(event, AliasEvent):
            wrong = "aliases (*name) are not read here; write the value out"
        elif depth > MAX_DEPTH:
            wrong = f"nested more than {MAX_DEPTH} levels deep"
        if wrong:
            mark = event.start_mark
            raise InvalidDocument([Complaint(name, mark.line + 1, mark.column + 1, "(file)", wrong)])


def _plain(value: Any) -> Any:  # noqa: ANN401  YAML is what it is until the schema has seen it
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool):
        return "yes" if value else "no"  # records hold no booleans; `yes` and `true` say the same
    if isinstance(value, int):
        return int(value)
    return str(value) if isinstance(value, str) else value


def _known(schema: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    here: Any = schema
    for part in path:
        if isinstance(part, int):
            continue
        found = getattr(here, "model_fields", {}).get(part)
        if found is None:
            return []
        here = _inner(found.annotation)
    return sorted(field.alias or name for name, field in getattr(here, "model_fields", {}).items())


def _inner(annotation: Any) -> Any:  # noqa: ANN401  a type form
    arguments = [a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")]
    return arguments[0] if arguments else annotation
