"""VOTable 1.4: writing and reading."""

from gateway.vo.votable.document import error_document

__all__ = ["error_document"]
