"""Which signal asks for a checkpoint, and which stops at once."""

import os
import signal

import pytest

from exodiff.runner.signals import STOPPING, StopRequest


@pytest.mark.parametrize("first", STOPPING)
def test_the_second_interrupt_stops_at_once_whatever_came_before(first):
    with StopRequest() as stop:
        os.kill(os.getpid(), first)
        assert stop.received == first.name
        if first != signal.SIGINT:
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == first.name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
