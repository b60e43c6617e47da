"""How long decisions wait, where they pile up, what delegating them would do, and how fast change is delivered."""
