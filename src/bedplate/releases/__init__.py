"""What is live, by whose decision, on what evidence."""
