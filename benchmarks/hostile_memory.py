"""How much memory any hostile body makes a server hold.

    PYTHONPATH=. python -m benchmarks.hostile_memory [--tensorflow] [--only WORD]

Prints for each body the peak of resident memory over what the server held before
the first of them. The exit status is 1 if one is over four times the limit of
the tensors of a request (``--tensor_size``). With ``--tensorflow`` it is over what
was held just before: TensorFlow's allocator keeps the most that it ever needed,
which after the largest picture is 150 MB.
"""

from __future__ import annotations

import sys

from .hostile_bodies import LIMITS, Body
from .hostile_client import Victim, arguments, victim

MIB = 1024 * 1024

LIMIT = 4 * LIMITS.tensor_size / MIB

USUAL = Body("a usual call", "numbers", lambda: b'{"x":[1,2,3]}')


def measure(server: Victim, body: Body) -> tuple[int, int, float]:
    """Size and status of a body, and the peak in MiB."""
    data = body.make()
    server.forget_peak()
    status = server.send(body, data)
    return len(data), status, server.memory("VmHWM")


def main() -> None:
    """Run as the command line says."""
    options = arguments(__doc__)
    over = []
    with victim(options.tensorflow) as server:
        for _ in range(100):
            server.send(USUAL, USUAL.make())
        base = server.memory("VmRSS")
        print(f"base {base:.0f} MiB, limit {LIMIT:.0f} MiB more")
        print(f"{'more':>7}  {'bytes':>9} status")
        for body in options.bodies:
            held = server.memory("VmRSS") if options.tensorflow else base
            size, status, peak = measure(server, body)
            mark = "  OVER" if peak - held > LIMIT else ""
            print(f"{peak - held:7.0f}  {size:9} {status}  {body.name}{mark}")
            if mark:
                over.append(body.name)
        kept = server.memory("VmRSS") - base
    print(
        f"{len(options.bodies)} bodies, {len(over)} over the limit; {kept:.0f} MiB kept"
    )
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
