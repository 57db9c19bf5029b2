"""Text to tree: tokens, terms, clauses; names as written, and a place in the text for every node."""
