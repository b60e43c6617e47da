"""`bedplate init`: the first file of an organisation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bedplate.errors import Conflict

from .output import HERE, Screen, line, note

FILE = "operating-model.yaml"


def init(
    folder: Path = Path(),
    *,
    organisation: Annotated[str, Parameter(help="The organisation's name.")],
    people: Annotated[Path | None, Parameter(help="A YAML file with your `domains:` and `people:`.")] = None,
    stage: Annotated[str, Parameter(help="The maturity stage to start from.")] = "steel-thread",
    screen: Screen = HERE,
) -> int:
    """Write a first operating-model.yaml.

    It goes into FOLDER, ready to be read and changed. An existing file is never overwritten.
    """
    from bedplate.people.blank import blank_model

    from .folder import read_text

    text = blank_model(organisation, read_text(people) if people is not None else "", stage)
    path = folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(
            f"{path} is there already and is not overwritten", hint="edit it, or name another folder"
        ) from None
    screen.show({"file": str(path), "organisation": organisation, "stage": stage}, lambda: line("wrote", path))
    if screen.output == "text":
        note(f"Read it and put your people in. Then: bedplate plan {path}")
    return 0
