"""Shadow AI: what was seen in use without being on record, and the way in."""
