"""The audit: proof that no row was lost on the way."""
