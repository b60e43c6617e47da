"""The HTTP interface: parses, calls an action or a view, and answers."""
