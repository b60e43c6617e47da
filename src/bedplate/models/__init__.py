"""What it is made of, and whether it still works: prompts, evaluations, monitors."""
