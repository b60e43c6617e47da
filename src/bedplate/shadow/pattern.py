"""The signatures as expressions, by the kind of file they are looked for in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from .signature import host_pattern, signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .sighting import Kind
    from .signature import Provider

CODE = {
    "py": "python",
    "pyi": "python",
    "ipynb": "notebook",
    **dict.fromkeys(("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "vue", "svelte"), "js"),
    **dict.fromkeys(("java", "kt", "kts", "scala", "groovy"), "java"),
    "go": "go",
    "cs": "csharp",
    "rb": "ruby",
    "rs": "rust",
}
CONFIG = frozenset(
    {"yaml", "yml", "json", "toml", "env", "ini", "cfg", "conf", "properties", "tf", "tfvars", "sh", "ps1"}
)
TEXT = frozenset({"md", "rst", "txt"})  # prose names AI without using it: only keys are looked for
FILES = {
    "pyproject.toml": "pyproject",
    "setup.py": "pyproject",
    "setup.cfg": "pyproject",
    "pipfile": "pyproject",
    "environment.yml": "requirements",
    "metadata": "metadata",
    "package.json": "npm",
    "go.mod": "gomod",
    "pom.xml": "maven",
    "build.gradle": "maven",
    "build.gradle.kts": "maven",
    "gemfile": "gemfile",
    "cargo.toml": "cargo",
    "dockerfile": "config",
    "docker-compose.yml": "config",
}
LOCKS = frozenset({"package-lock.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "uv.lock", "cargo.lock"})
EXTRAS = r"(?:[ \t]*\[[^\]\n]*\])?[ \t]*"
CONDITION = rf"{EXTRAS}(?:[=<>~!;@#(][^\"'\n]*)?"  # and versions, of a requirement within quotes


@dataclass(frozen=True, slots=True)
class Look:
    """One thing to look for: an expression whose first group names it, and who is behind each name."""

    kind: Kind
    expression: Any
    names: Callable[[str], Provider | None]
    strict: bool  # in comments and docstrings it does not count


@dataclass(frozen=True, slots=True)
class Group:
    """What is looked for in one kind of file: all at once, to know which to look at."""

    every: Any
    looks: tuple[Look, ...]

    def found(self, content: bytes) -> list[Look]:
        """Return what is in there, at a glance."""
        return [self.looks[n] for n in self.every.Match(content) or ()]


def group_of(name: str) -> str:
    """Return the kind of a file by its name; "" for one that is not read."""
    low = name.lower()
    if low in LOCKS:
        return ""
    if low in FILES:
        return FILES[low]
    stem, _, end = low.rpartition(".")
    if low.startswith((".env", "dockerfile")):
        return "config"
    if end == "txt" and ("requirements" in stem or stem == "constraints"):
        return "requirements"
    if end == "csproj":
        return "csproj"
    if end in CODE:
        return CODE[end]
    return "config" if end in CONFIG else "text" if end in TEXT else ""


@cache
def groups() -> Mapping[str, Group]:
    """Return every kind of file with what is looked for in it."""
    hosts = _hosts()
    code = (hosts, _models(r"[\"'`]({})[\"'`]"), _keys())
    config = (hosts, _models(r"[\"'= :]({})(?:[\"'\s,]|$)"), _keys())
    python = [_sdk("python", r"(?m)^[ \t]*(?:from|import)[ \t]+({})(?:[ \t.,;#\r]|$)"), *_from(r"(?m)^[ \t]*")]
    notebook = [_sdk("python", r"\"[ \t]*(?:from|import)[ \t]+({})[ \t.,;#\\\"]"), *_from(r"\"[ \t]*")]
    calls = _calls()
    pinned = rf"(?mi)^[ \t-]*({{}}){EXTRAS}(?:[=<>~!;@#(][^\n]*)?\r?$"
    made = {
        "python": (*python, *calls, *code),
        "notebook": (*notebook, *calls, *code),
        "js": (_sdk("npm", r"(?:from|import|require\(|import\()[ \t]*[\"']({})(?:/[^\"'\n]*)?[\"']"), *code),
        "java": (_sdk("java", r"(?m)^[ \t]*import[ \t]+(?:static[ \t]+)?({})[.;]"), *code),
        "go": (_sdk("go", r"\"({})(?:/[^\"\n]*)?\""), *code),
        "csharp": (_sdk("csharp", r"(?m)^[ \t]*(?:global[ \t]+)?using[ \t]+(?:static[ \t]+)?({})[.;]"), *code),
        "ruby": (_sdk("gems", r"(?m)^[ \t]*require[ \t(]+[\"']({})[\"'/]"), *code),
        "rust": (_sdk("crates", r"(?m)^[ \t]*(?:pub[ \t]+)?use[ \t]+({})::", _underscored), *code),
        "requirements": (_sdk("pypi", pinned), *config),
        "metadata": (_sdk("pypi", rf"(?mi)^Requires-Dist:[ \t]*({{}}){CONDITION}"),),
        "pyproject": (
            _sdk("pypi", rf"(?mi)[\"']({{}}){CONDITION}[\"']"),
            _sdk("pypi", r"(?mi)^[ \t]*[\"']?({})[\"']?[ \t]*=[ \t]*[\"'{]"),
            *config,
        ),
        "npm": (_sdk("npm", r"\"({})\"[ \t]*:[ \t]*\"[^\"\n]*[0-9*x][^\"\n]*\""),),
        "gomod": (_sdk("go", r"(?m)^[ \t]*(?:require[ \t]+)?({})(?:/[^ \t\n]*)?[ \t]+v"),),
        "maven": (_sdk("maven", r"(?:Id>|:)({})[a-z-]*(?:</|:)"), *config),
        "csproj": (_sdk("nuget", r"Include=\"({})\""),),
        "gemfile": (_sdk("gems", r"(?m)^[ \t]*gem[ \t(]+[\"']({})[\"']"),),
        "cargo": (_sdk("crates", r"(?m)^(?:\[[a-z-]*dependencies\.)?({})[ \t]*(?:=|\])"),),
        "config": config,
        "text": (_keys(),),
    }
    return {name: _group(looks) for name, looks in made.items()}


@cache
def data_words() -> Any:  # noqa: ANN401  an expression of a library without types
    """Return an expression for words beside which AI is worth a closer look."""
    words = "|".join(word for group in signatures().data.values() for word in group)
    return compiled(rf"(?i)(?:^|[^a-z])({words})(?:s|_|[^a-z]|$)")


def data_kind(word: str) -> str:
    """Return which kind of data a word stands for."""
    low = word.lower()
    return next(kind for kind, words in signatures().data.items() if low in words)


def compiled(expression: str) -> Any:  # noqa: ANN401  as above
    """Compile an expression for bytes."""
    import re2  # noqa: PLC0415  only who reads files needs it

    return re2.compile(expression.encode(), _options())


def _options() -> Any:  # noqa: ANN401  as above
    import re2  # noqa: PLC0415  as above

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, whatever they are
    options.max_mem = 256 << 20
    options.log_errors = False
    return options


def _group(looks: tuple[Look, ...]) -> Group:
    import re2  # noqa: PLC0415  as above

    every = re2.Set.SearchSet(_options())
    for look in looks:
        every.Add(look.expression.pattern)
    every.Compile()
    return Group(every, looks)


def _underscored(name: str) -> str:
    return name.replace("-", "_")


def _sdk(ecosystem: str, form: str, spelt: Callable[[str], str] = str) -> Look:
    names = {spelt(n).lower(): p for p in signatures().providers for n in p.marks.get(ecosystem, ())}
    return Look("sdk", compiled(form.replace("{}", _any(names))), lambda found: names.get(found.lower()), strict=True)


def _any(names: Iterable[str]) -> str:
    return "(?i:" + "|".join(re.escape(n) for n in sorted(names, key=lambda n: (-len(n), n))) + ")"


def _from(begin: str) -> list[Look]:
    """Look for `from google import genai`: the last part of a dotted name may be what is imported."""
    names = {n: p for p in signatures().providers for n in p.marks.get("python", ()) if "." in n}
    forms = []
    for package in sorted({n.rpartition(".")[0] for n in names}):
        parts = {n.rpartition(".")[2]: p for n, p in names.items() if n.rpartition(".")[0] == package}
        form = rf"{begin}from[ \t]+{re.escape(package)}[ \t]+import[ \t(]+(?:\w+[ \t]*,[ \t]*)*({'|'.join(parts)})\b"
        forms.append(Look("sdk", compiled(form), parts.get, strict=True))
    return forms


def _calls() -> list[Look]:
    """Look for what is called rather than imported, as a client of boto3."""
    every = [(form, p) for p in signatures().providers for form in p.marks.get("calls", ())]
    return [Look("sdk", compiled(f"({form})"), _always(p), strict=True) for form, p in every]


def _always(provider: Provider) -> Callable[[str], Provider | None]:
    return lambda _found: provider


def _hosts() -> Look:
    forms = "|".join(host_pattern(h) for p in signatures().providers for h in p.hosts)
    around = rf"(?:://|[\"'@/= ]|^)((?:[a-z0-9-]+\.)*(?:{forms}))(?:[:/\"'?\s,\\]|$)"
    return Look("endpoint", compiled(f"(?m){around}"), signatures().of_host, strict=True)


def _models(form: str) -> Look:
    every = "|".join(m for p in signatures().providers for m in p.models)
    return Look("model", compiled(f"(?m){form.replace('{}', every)}"), of_model, strict=True)


def _keys() -> Look:
    every = "|".join(k for p in signatures().providers for k in p.keys)
    return Look("key", compiled(rf"(?:^|[^A-Za-z0-9_-])({every})"), of_key, strict=False)


def of_model(name: str) -> Provider | None:
    """Return who makes a model of this name; None if nobody known does."""
    return next((p for expression, p in _makers() if expression.fullmatch(name)), None)


def of_key(key: str) -> Provider | None:
    """Return who issues keys of this form; None if nobody known does."""
    return next((p for expression, p in _issuers() if expression.fullmatch(key)), None)


@cache
def _makers() -> list[tuple[re.Pattern[str], Provider]]:
    return [(re.compile(m), p) for p in signatures().providers for m in p.models]


@cache
def _issuers() -> list[tuple[re.Pattern[str], Provider]]:
    return [(re.compile(k), p) for p in signatures().providers for k in p.keys]
