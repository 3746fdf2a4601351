"""What stops a search, and how many threads it has."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

#: Bytes of ``Control.flags``, one for each reason to stop, so that neither is lost when both come at once.
ASKED, OUT_OF_TIME = range(2)


@dataclass
class Control:
    """Stops a running search; shared by all threads."""

    flags: Any = field(default_factory=lambda: np.zeros(8, np.int8))

    @property
    def halt(self) -> Any:
        """All flags as one number, int64[1]: kernels return where it is not zero."""
        return self.flags.view(np.int64)

    @property
    def stopped(self) -> bool:
        """Whether somebody asked to stop."""
        return bool(self.flags[ASKED])

    def stop(self) -> None:
        """Ask to stop."""
        self.flags[ASKED] = 1

    def limit_time(self, over: bool) -> None:
        """Stop what is limited in time, or let what follows run."""
        self.flags[OUT_OF_TIME] = over

    @contextmanager
    def limited(self, seconds: float, note: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Stop what takes longer than this, once that is noted; infinity: nothing. What follows has its own time."""

        def expire() -> None:
            note()
            self.limit_time(True)

        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), expire)
        timer.daemon = True
        if seconds < math.inf:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if seconds < math.inf:
                timer.join()
                self.limit_time(False)

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Let Ctrl-C stop the search instead of raising; a second Ctrl-C raises."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, frame: FrameType | None) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stop()

        before = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def available_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
