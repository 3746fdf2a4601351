"""What stops a search, and how many threads it has."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np


@dataclass
class Control:
    """Stops a running search; shared by all threads."""

    stop: Any = field(default_factory=lambda: np.zeros(1, np.int64))

    @property
    def stopped(self) -> bool:
        """Whether somebody asked to stop."""
        return bool(self.stop[0])

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Let Ctrl-C stop the search instead of raising; a second Ctrl-C raises."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, frame: FrameType | None) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stop[0] = 1

        before = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def available_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
