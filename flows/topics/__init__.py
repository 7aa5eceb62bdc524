"""Topics in free text: found, named by people, kept from one fit to the next, and delivered into the inbox."""
