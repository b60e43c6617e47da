"""What we build, what we don't, and why."""
