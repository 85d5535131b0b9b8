"""Say that something is compiled."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from numba.core.event import Listener, install_listener


class _Announcement(Listener):
    """Says, once, that something is compiled."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Any) -> None:
        ours = event.data["dispatcher"].py_func.__globals__.get("__name__", "").startswith("skgd.engines.compiled")
        if ours and not self._said:
            print("Compiling the training loop, once for each kind on a machine: this takes some seconds.", flush=True)
            self._said = True

    def on_end(self, event: Any) -> None:
        pass


def announcement() -> AbstractContextManager:
    """Say when something is compiled meanwhile."""
    return install_listener("numba:compile", _Announcement())
