"""What who changes the project asks before others do: whether it can be built, and what it changes."""
