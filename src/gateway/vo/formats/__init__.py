"""Output formats: each a writer of record batches into bytes, all behind one interface."""
