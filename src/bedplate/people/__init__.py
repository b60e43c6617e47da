"""Who decides: structures, roles, accounts, and the operating model they agree to."""
