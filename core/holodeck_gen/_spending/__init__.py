"""Prices, budgets, and what of them a job has taken."""
