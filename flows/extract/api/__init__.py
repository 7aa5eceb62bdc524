"""REST APIs: rows of JSON answers, page by page, through httpx."""
