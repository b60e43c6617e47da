"""A release's bundle for benches: the embedded answerer, nothing retrieved."""

from __future__ import annotations

from bedplate.releases.bundle import Bundle


def small_bundle(subject: str, prompt: str, calls_per_day: int, tokens_per_day: int) -> Bundle:
    """Return a bundle of a use case; budgets a day."""
    return Bundle(
        use_case=subject,
        upstream="embedded",
        model="bedplate-extractive-1",
        prompt=prompt,
        unanswered="The handbook does not cover this.",
        index="",
        top=0,
        datasets={},
        suite="suite",
        pass_percent=85,
        runbook="runbook",
        guardrails={"input": {"secrets": "block"}, "output": {"secrets": "observe"}, "max_prompt_chars": 40_000},
        calls_per_day=calls_per_day,
        tokens_per_day=tokens_per_day,
        files={},
    )
