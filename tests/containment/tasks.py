"""What the worker is asked to do in tests."""

from __future__ import annotations

import os
import time


def reverse(payload: bytes, *, times: int = 1) -> bytes:
    for _ in range(times):
        payload = payload[::-1]
    return payload


def process_number(payload: bytes) -> bytes:  # noqa: ARG001
    return str(os.getpid()).encode()


def fail(payload: bytes) -> bytes:
    raise ValueError(payload.decode())


def crash(payload: bytes) -> bytes:
    os.kill(os.getpid(), int(payload))
    return b""


def end(payload: bytes) -> bytes:
    os._exit(int(payload))


def wait(payload: bytes) -> bytes:
    time.sleep(float(payload))
    return b""


def fill_memory(payload: bytes) -> bytes:
    return bytes(int(payload))


def shout(payload: bytes) -> bytes:
    os.write(1, payload)
    os.write(2, payload)
    return payload
