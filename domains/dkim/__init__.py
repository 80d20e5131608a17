"""DKIM keys and how they take turns."""
