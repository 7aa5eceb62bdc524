"""Questions in SQL about what is published: one SELECT on one level of one publication, and the answer to it."""
