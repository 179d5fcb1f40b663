"""What a client is told when it asks for something that it cannot have; knows no route."""

from __future__ import annotations

from starlette.responses import JSONResponse

__all__ = ["GoneError", "RefusalError"]

TRY_AGAIN_SECONDS = 1  # a full queue of a second's work would be a long one


class RefusalError(Exception):
    """An answer that is an error.

    Parameters
    ----------
    status : int
        Of HTTP.
    message : str
        Names the field, what was expected and what came.
    close : bool
        Whether the connection ends, as where the rest of a body is not worth reading.

    Examples
    --------
    >>> RefusalError(422, "x must hold numbers, got a string").response().body
    b'{"error":"x must hold numbers, got a string"}'
    """

    def __init__(self, status: int, message: str, *, close: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.close = close

    def response(self) -> JSONResponse:
        """Return it as a response."""
        headers = {"connection": "close"} if self.close else {}
        if self.status in (429, 503):
            headers["retry-after"] = str(TRY_AGAIN_SECONDS)
        return JSONResponse({"error": self.message}, self.status, headers)


class GoneError(Exception):
    """The client has left; nobody is there to be told anything."""
