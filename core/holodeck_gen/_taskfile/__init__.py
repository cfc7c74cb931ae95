"""Task files: JSON lines, CSV, and text, read line by line."""
