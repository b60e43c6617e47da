"""What we can prove."""
