"""Providers and stages by their names, their options, and what makes them."""
