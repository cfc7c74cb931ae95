"""Connections, the addresses they may go to, and downloads."""
