"""VOTable 1.4: writing and reading."""
