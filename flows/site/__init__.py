"""The site of a publication: static pages that anybody with a browser can read, made from what was published."""
