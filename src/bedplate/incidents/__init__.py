"""What happens when it goes wrong."""
