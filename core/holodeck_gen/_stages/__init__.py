"""Calls of processors, in threads or in processes, each with a deadline."""
