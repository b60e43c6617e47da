"""Vendors and third-party AI: who supplies what, on which terms, and what stops if they stop."""
