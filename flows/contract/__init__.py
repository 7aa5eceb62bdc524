"""The contract: what senders deliver, read and checked, and what follows from it."""
