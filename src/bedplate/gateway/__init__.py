"""Every LLM call, decided and recorded."""
