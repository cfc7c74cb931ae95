"""How many jobs may be at a service at once, found out while they are."""
