"""What a dispatcher and its workers say to each other: messages of a fixed size; arrays are in shared memory."""

from __future__ import annotations

import struct

REQUEST = struct.Struct("<qqi")
"""Ticket, place of the first item among the drawn inputs (or `IN_SLOT`), items."""

ANSWER = struct.Struct("<qddi")
"""Ticket (or `READY`), when the worker began and ended by `time.perf_counter`, and `OK` or `FAILED`."""

IN_SLOT = -1
"""In place of a place: the inputs are those that were put in the worker's own slot."""

READY = -1
"""In place of a ticket: the worker has loaded and warmed up."""

OK, FAILED = 0, 1
