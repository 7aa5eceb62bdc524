"""Publishing: the marts as versions that readers open."""
