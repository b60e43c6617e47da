"""Bedplate: govern what an organisation builds with artificial intelligence, through one door."""

__version__ = "0.1.0"
