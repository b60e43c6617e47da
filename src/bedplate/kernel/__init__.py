"""What happened, what may happen, and who must agree. Plain Python: no framework, no clock, no database."""
