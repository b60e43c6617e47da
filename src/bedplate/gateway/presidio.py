"""Microsoft Presidio's analyzer as a guardrail (extra `presidio`): for English, in this process.

`x:presidio` finds names and places too, by a language model for spaCy that is installed beside it;
`x:presidio-patterns` finds what a pattern and a check digit show, and needs none. Nothing is fetched, as Presidio would
by itself: no model when it is loaded, no list of public suffixes when it meets its first email address.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .detect import Found

NAMES = ("presidio", "presidio-patterns")
MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")  # the first of them that is installed is used
# Presidio scores from 0 to 1. Below this are patterns that mean something only with a word beside them: at 0.01 any
# nine digits are a driving licence, and every order number would be personal data.
LEAST_SCORE = 0.4
LANGUAGE = "en"
# No person's by themselves, and everywhere: a handbook is full of dates, and an answer's own fields of identifiers.
LEFT_OUT = {"DATE_TIME", "URL", "UUID"}
NAMED = re.compile(r"[a-z][A-Za-z0-9_.:/-]*")  # a role, a model, an id: what stands in a request beside what is said


@cache
def presidio(name: str) -> Callable[[str], Iterable[Found]]:
    """Load the analyzer as one of `NAMES`; `InvalidInput` says what is missing."""
    if find_spec("presidio_analyzer") is None:
        raise InvalidInput(f"guardrail x:{name}: Presidio is not installed", hint="pip install 'bedplate[presidio]'")
    _offline()
    engine = _patterns() if name == "presidio-patterns" else _language_model()
    analyzer = import_module("presidio_analyzer").AnalyzerEngine(
        nlp_engine=engine, supported_languages=[LANGUAGE], default_score_threshold=LEAST_SCORE
    )
    entities = sorted(set(analyzer.get_supported_entities(LANGUAGE)) - LEFT_OUT)

    def find(text: str) -> list[Found]:
        if NAMED.fullmatch(text):
            return []
        found = analyzer.analyze(text, language=LANGUAGE, entities=entities)
        return [(result.entity_type.lower().replace("_", " "), result.start, result.end) for result in found]

    return find


def _patterns() -> Any:  # noqa: ANN401  Presidio's own, imported where it is used
    """Make an engine that reads no language."""
    return import_module("presidio_analyzer.nlp_engine").NoOpNlpEngine([{"lang_code": LANGUAGE, "model_name": ""}])


def _language_model() -> Any:  # noqa: ANN401  as above
    """Make Presidio's default engine with a model that is here; it would download one that is not."""
    model = next((model for model in MODELS if find_spec(model) is not None), None)
    if model is None:
        raise InvalidInput(
            "guardrail x:presidio: no language model for English is installed, so no names could be found",
            hint=f"python -m spacy download {MODELS[0]}, or name x:presidio-patterns, which looks for none",
        )
    provider = import_module("presidio_analyzer.nlp_engine").NlpEngineProvider()
    provider.nlp_configuration["models"] = [{"lang_code": LANGUAGE, "model_name": model}]
    return provider.create_engine()


def _offline() -> None:
    """Have email addresses checked with the list of public suffixes that came with the package."""
    module: Any = import_module("tldextract.tldextract")
    module.TLD_EXTRACTOR = module.TLDExtract(suffix_list_urls=(), cache_dir=None)
