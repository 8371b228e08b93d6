"""The fast transport: gRPC over HTTP/2 for one service, on ``asyncio.Protocol``.

``server`` listens, ``protocol`` moves bytes between a socket and a ``connection``, which is the
protocol itself and does no I/O.  What makes it fast: frames are cut in one pass over each read,
header fields are decoded once, whatever one read makes ready leaves in one write, and no task or
future belongs to a stream.
"""
