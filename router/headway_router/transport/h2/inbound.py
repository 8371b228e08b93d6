"""The windows that the peer sends into, given back to it as what it sends is taken in.

All of it is taken in at once; what is bounded is kept elsewhere (``Limits.max_buffered_bytes``).
"""

from headway_router.errors import ConnectionBroken
from headway_router.transport.h2.call import Call
from headway_router.transport.h2.frames import MAX_WINDOW, ErrorCode, window_update
from headway_router.transport.h2.sender import Sender

STREAM_WINDOW = 2**22
"""A body up to half of it needs no update of the window."""


class Inbound:
    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._left = MAX_WINDOW

    def take(self, size: int) -> None:
        """Count DATA of the connection.

        Raises: ConnectionBroken: it is more than the peer may send.
        """
        self._left -= size
        if self._left < MAX_WINDOW // 2:
            if self._left < 0:
                message = "more data than the connection's window"
                raise ConnectionBroken(ErrorCode.FLOW_CONTROL_ERROR, message)
            self._sender.control(window_update(0, MAX_WINDOW - self._left))
            self._left = MAX_WINDOW

    def take_of(self, call: Call, size: int) -> bool:
        """Count DATA of a stream.  False: it is more than the peer may send."""
        call.unacknowledged += size
        if call.unacknowledged > STREAM_WINDOW // 2:
            if call.unacknowledged > STREAM_WINDOW:
                return False
            self._sender.control(window_update(call.stream_id, call.unacknowledged))
            call.unacknowledged = 0
        return True
