"""Settings, where they come from, and what of them is not shown."""
