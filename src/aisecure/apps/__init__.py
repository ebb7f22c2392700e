"""Programs built from the library, each behind an extra."""
