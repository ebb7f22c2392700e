"""Security for AI applications: one guard after another around every call."""
