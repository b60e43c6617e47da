"""The first draft of a use case's file, made of the idea that was taken up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .idea import Idea, ScorePart

_TEXT = """\
# Made of the idea {id}, taken up on {day}: {reason}
# Everything here is a first answer. Look at each, then: bedplate plan use-case.yaml
kind: use-case
id: {id}
title: {title}
domain: {domain}
owner: {owner}
sponsor: {sponsor}
purpose: {purpose}
bucket: {bucket}

value:
  hypothesis: {hypothesis}
  unit: {unit}
  baseline: {baseline}
  target: {target}
  per_month: {per_month}
  cents_per_unit: {cents_per_unit}

feasibility: # 1 (not at all) to 5 (today)
  data: {data_score} # as its contracts stand now
  technology: {technology}
  people: {people}
  change: {change}

answers:{answers}

data:{data}

effort_days: {effort_days}
generative: {generative}

model:
  upstream: default
  name: default

prompts:
  system: prompts/system.md # to be written

unanswered: I cannot answer this from my sources.

evals:
  file: evals.yaml # to be written: cases from people who know the answers
  pass_percent: 75

budget: # to be planned; the lower of this and the tier's counts
  calls_per_day: 1000
  tokens_per_day: 1000000

runbook: runbook.md # to be written
"""


def scaffold(idea: Idea, *, owner: str, sponsor: str, data_score: int, day: str) -> str:
    """Return the text of a `use-case.yaml`: what the idea said, and marks where the team must say more."""
    file = idea.file
    answers = "".join(f"\n  {name}: {answer}" for name, answer in sorted(file.answers.items()))
    data = "".join(
        f"\n  - {{name: {name}, path: data/{name}, personal: yes, contract: {name}}} # say whether it is personal"
        for name in file.contracts
    )
    return _TEXT.format(
        id=file.id,
        day=day,
        reason=" ".join(idea.reason.split()),
        title=_quoted(file.title),
        domain=file.domain,
        owner=owner,
        sponsor=sponsor,
        purpose=_quoted(file.purpose),
        bucket=file.bucket,
        hypothesis=_quoted(file.value.hypothesis),
        unit=_quoted(file.value.unit),
        baseline=file.value.baseline,
        target=file.value.target,
        per_month=file.value.per_month,
        cents_per_unit=file.value.cents_per_unit,
        data_score=data_score,
        technology=_scored(file.feasibility.technology),
        people=_scored(file.feasibility.people),
        change=_scored(file.feasibility.change),
        answers=answers or " {}",
        data=data or " []",
        effort_days=file.effort_days,
        generative=file.generative,
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's strings are YAML's


def _scored(part: ScorePart) -> str:
    return f"{part.score}" + (f" # {' '.join(part.evidence.split())}" if part.evidence else "")
