"""The fast path of landing: whole columns at once, for rows that are clearly regular."""
