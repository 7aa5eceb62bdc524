"""Files that others put into a bucket."""
