"""What the commands print for people: a file for each, and `text` that all use. Programs read ``--json``."""
