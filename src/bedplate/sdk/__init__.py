"""What users import in their own code. An app needs none of it: a base URL and a key are enough."""

from .client import Client
from .prompt import Prompt, Rendered

__all__ = ["Client", "Prompt", "Rendered"]
