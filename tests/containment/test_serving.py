from __future__ import annotations

import os
import threading
from typing import Any

from yocc.containment.serving import answer_all
from yocc.containment.worker import _framed

TASKS = "tests.containment.tasks"


def answers_to(*requests: tuple[str, bytes, dict[str, Any]]) -> list[bytes]:
    """What is answered, each answer as it is written behind its length."""
    (asked, ask), (answered, answer) = os.pipe(), os.pipe()
    worker = threading.Thread(target=answer_all, args=(asked, answer))
    worker.start()
    found = []
    for task, payload, options in requests:
        os.write(ask, _framed(f"{TASKS}:{task}", options, payload))
        length = int.from_bytes(os.read(answered, 8), "little")
        found.append(os.read(answered, length))
    os.close(ask)
    worker.join()
    for pipe in (asked, answered, answer):
        os.close(pipe)
    return found


def test_results_and_exceptions_are_answered_until_nobody_asks() -> None:
    found = answers_to(("reverse", b"abc", {"times": 3}), ("fail", b"no.\nmore", {}), ("reverse", b"", {}))
    assert found == [b"ocba", b"eno", b"o"]
