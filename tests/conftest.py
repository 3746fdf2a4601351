from __future__ import annotations

from collections.abc import Callable

import pytest

from fastmap.cli import main


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The command line: what a call that succeeds prints."""

    def call(*arguments: str) -> str:
        assert main(arguments) == 0
        return capsys.readouterr().out

    return call
