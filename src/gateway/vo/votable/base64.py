"""Base64 of a stream that comes in pieces."""

from __future__ import annotations

import pybase64


class Base64Encoder:
    """Encodes pieces so that their texts, one after another, are the base64 of the whole."""

    def __init__(self) -> None:
        self._carry = b""

    def encode(self, data: memoryview) -> bytes:
        """Text of all complete groups of three bytes; up to two bytes are kept for the next call."""
        head = (3 - len(self._carry)) % 3
        if len(data) < head:
            self._carry += bytes(data)
            return b""
        first = pybase64.b64encode(self._carry + bytes(data[:head]))
        tail = len(data) - (len(data) - head) % 3
        self._carry = bytes(data[tail:])
        return first + pybase64.b64encode(data[head:tail])

    def finish(self) -> bytes:
        """Text of the last bytes, padded."""
        return pybase64.b64encode(self._carry)
