"""How models are governed: evaluations before, measures after."""

from __future__ import annotations

from bedplate.kernel.action import Action
from bedplate.kernel.manifest import Kind, Manifest

EVALUATE = Action("models.evaluate", "models:evaluation:record", "Record how a release did on its eval suite.")
MEASURE = Action("models.measure", "models:measure:record", "Record what a monitor saw.")

MANIFEST = Manifest(
    plane="models",
    actions=(EVALUATE, MEASURE),
    kinds=(
        Kind(
            "models.evaluation.recorded",
            {
                "release": "text",
                "suite": "text",
                "passed": "int",
                "total": "int",
                "lower_permille": "int",
                "results": "text",
            },
            "A release was run through its suite; the results are kept, case by case.",
        ),
        Kind(
            "models.measure.recorded",
            {"release": "text", "monitor": "text", "permille": "int", "limit": "int", "calls": "int", "breach": "text"},
            "A monitor looked at recent calls. Values and limits are per mille.",
        ),
    ),
)
