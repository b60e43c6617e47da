"""What it stands on: sources, their indexes, and where they came from."""
