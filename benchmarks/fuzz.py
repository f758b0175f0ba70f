"""Deliver damaged requests to a server in memory, and see that nothing breaks.

    PYTHONPATH=. python benchmarks/fuzz.py --count 100000 --seed 7

Prints how many were delivered; the first one that breaks something ends it with
the seed, the number and the segments.
"""

from __future__ import annotations

import argparse

from tests.hostile.fuzz import Victim, attacks


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    victim = Victim()
    for number, (segments, ending) in enumerate(attacks(options.count, options.seed)):
        try:
            victim.suffer(segments, ending)
        except BaseException:
            print(f"seed {options.seed}, number {number}: {segments!r}, {ending}")
            raise
        if number % 10_000 == 9_999:
            print(f"{number + 1} delivered")
    print(f"{options.count} deliveries: no exception, no hang, nothing held")


if __name__ == "__main__":
    main()
