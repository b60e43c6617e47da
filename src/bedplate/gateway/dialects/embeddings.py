"""OpenAI embeddings: text goes in, numbers come out; nothing is streamed and nothing is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput
from bedplate.gateway.dialect import Body, Delta, Piece, Said, Usage, whole_number

from .chat import Chat

if TYPE_CHECKING:
    from collections.abc import Sequence


class Embeddings:
    """`/v1/embeddings`."""

    name, path, streams = "embeddings", "/embeddings", False

    def check(self, body: Body) -> None:
        """Raise `InvalidInput` unless the input is text, texts or tokens."""
        if not isinstance(body.get("input"), str | list) or not body["input"]:
            raise InvalidInput("`input` must be text, or a list of texts or tokens")

    def messages(self, body: Body) -> list[Body]:
        """Return each text as one message."""
        given = body["input"] if isinstance(body["input"], list) else [body["input"]]
        return [{"role": "input", "content": text} for text in given if isinstance(text, str)]

    def question(self, body: Body) -> str:
        """Return the first text."""
        return next((str(m["content"]) for m in self.messages(body)), "")

    def most_out(self, body: Body) -> int:  # noqa: ARG002  the protocol's shape
        """Return 0: what comes out is not counted in tokens."""
        return 0

    def composed(self, body: Body, system: str) -> Body:  # noqa: ARG002  as above
        """Return the request as it is: there is nobody to speak to."""
        return body

    def prompted(self, body: Body, messages: list[dict[str, str]]) -> None:  # noqa: ARG002  as above
        """Refuse: there is nobody to speak to."""
        raise InvalidInput("embeddings take no prompt")

    def answer(self, body: Body) -> str:
        """Return nothing: vectors are no text."""
        if not isinstance(body.get("data"), list):
            raise ValueError("it has no data")  # noqa: TRY004  any answer that is not one
        return ""

    def usage(self, body: Body) -> Usage | None:
        """Return the `usage` object."""
        usage = body.get("usage")
        return Usage(whole_number(usage.get("prompt_tokens")), 0) if isinstance(usage, dict) else None

    def prefix(self, body: Body, text: str) -> None:
        """Change nothing."""

    def whole(self, said: Said) -> Body:
        """Refuse: nothing can be said in vectors."""
        raise InvalidInput(f"embeddings cannot say: {said.text[:80]}", hint="ask a release with an embedding model")

    def stream(self, said: Said) -> list[bytes]:
        """Refuse, as `whole`."""
        return [b"" for _ in self.whole(said)]

    def deltas(self, event: Body) -> list[Delta]:  # noqa: ARG002  as above
        """Return nothing."""
        return []

    def piece(self, data: bytes) -> Piece | None:  # noqa: ARG002  as above
        """Return nothing: they are not streamed."""
        return None

    def again(self, event: Body) -> list[Delta]:  # noqa: ARG002  as above
        """Return nothing: all is said once."""
        return []

    def stopping(self, said: Said, begun: Sequence[str]) -> list[bytes]:  # noqa: ARG002  as above
        """Refuse, as `whole`."""
        return self.stream(said)

    def mark(self, event: Body) -> str:  # noqa: ARG002  as above
        """Return nothing: a stream is taken up wherever it is."""
        return ""

    def ends(self, event: Body) -> bool:  # noqa: ARG002  as above
        """Tell that there is nothing more."""
        return True

    def over(self, event: Body) -> bool:  # noqa: ARG002  as above
        """Tell that it is."""
        return True

    def error(self, status: int, message: str, code: str, reasons: Sequence[tuple[str, str, str]], call: str) -> Body:
        """Return OpenAI's error object."""
        return Chat().error(status, message, code, reasons, call)

    def error_event(self, body: Body) -> bytes:
        """Return the error as an event's data."""
        return Chat().error_event(body)
