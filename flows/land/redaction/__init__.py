"""Free text without what names or reaches a person: rules for formats and context, and identifiers that are known."""
