"""Whether a service is well, and what is tried again."""
