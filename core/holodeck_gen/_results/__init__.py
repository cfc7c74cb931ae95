"""From a finished job to stored files: download, checks, processors, names, sidecars."""
