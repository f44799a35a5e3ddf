"""Which backend is run when, and by which of several workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from quant_conformance.registry import LONGEST


def shortest_first(references: Sequence[str]) -> list[int]:
    """Orders backends by how long they take; those not known to take long keep their order.

    Args:
        references: the backends.

    Returns:
        Their indices.
    """
    longest = {name: place for place, name in enumerate(LONGEST)}
    return sorted(range(len(references)), key=lambda i: -longest.get(references[i], len(longest)))


def share(
    order: Sequence[int], jobs: int, work: Callable[[int], None], cancel: Callable[[], None]
) -> None:
    """Has several workers do the work, one of them from the end and the others from the start.

    Args:
        order: what is to be done, the shortest first.
        jobs: number of workers.
        work: does one of them.
        cancel: makes work that goes on end early; called when one fails.

    Raises:
        BaseException: what the work raised.
    """
    waiting = deque(order)
    stopped = False

    def run(*, longest: bool) -> None:
        while waiting and not stopped:
            try:
                index = waiting.pop() if longest else waiting.popleft()
            except IndexError:  # another worker was quicker
                return
            work(index)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(run, longest=worker == 0) for worker in range(jobs)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done():
                    future.result()  # raises what stopped the run, if anything did
        except BaseException:
            stopped = True
            cancel()
            raise
