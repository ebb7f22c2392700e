"""The table of letters that look alike, made from Unicode's own."""
