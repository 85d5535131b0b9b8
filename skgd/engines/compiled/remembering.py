"""What Numba need not do again, or at all, while a loop is compiled.

- Wherever an operation or an attribute occurs, Numba looks up again what it is for the types of its operands, and what
  LLVM has for it: it tries one kind of operands after the other, for each of its passes. In a loop, 190 of 3,800 such
  questions differ. Before each function, and wherever it finds nothing, it goes through all that extensions might have
  registered meanwhile.
- It infers types again and again until none changes any more. With all types known after the first time, it suffices to
  ask whether assignments change one: these alone lead back to an earlier place, at the end of a loop.
- It tells those who measure its locks how often each has been taken: one of LLVM, ten thousand times, to each function
  that is being compiled.
- Of each statement and each variable, it says in a log that it has looked at the one for the other.
- It asks for how long each variable is needed, which skgd's own functions need not know, for they count no references,
  and looks for context managers and dictionaries, which they do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import event, ssa, typing
from numba.core.base import BaseContext
from numba.core.interpreter import Interpreter
from numba.core.postproc import PostProcessor
from numba.core.transforms import canonicalize_cfg
from numba.core.typeinfer import ConstraintNetwork, Propagate
from numba.core.types import BaseFunction

_NEEDLESS = {"peep_hole_delete_with_exit", "peep_hole_fuse_dict_add_updates"}


@contextmanager
def remembering() -> Iterator[None]:
    """Look up each thing once; Numba's lock keeps other threads from compiling meanwhile."""
    changed = [(place, name, changed_by(getattr(place, name))) for place, name, changed_by in _CHANGES]
    usual = [getattr(place, name) for place, name, _ in changed]
    for place, name, function in changed:
        setattr(place, name, function)
    try:
        yield
    finally:
        for (place, name, _), function in zip(changed, usual, strict=True):
            setattr(place, name, function)


def _remembered(look_up: Callable) -> Callable:
    """Return a method that remembers its answers, and that there is none."""
    known: dict[Any, Any] = {}

    def remember(*question: Any, **options: Any) -> Any:
        asked = *map(_hashable, question), _hashable(options)
        answer = known.get(asked)
        if answer is None:  # which may change
            try:
                answer = look_up(*question, **options)
            except NotImplementedError as error:
                answer = error
            known[asked] = answer
        if isinstance(answer, NotImplementedError):
            raise answer.with_traceback(None)
        return answer

    return remember


def _silent(usual: Callable) -> Callable:
    """Return what does nothing."""

    def log(*arguments: Any) -> None:
        pass

    return log


def _hashable(part: Any) -> Any:
    """Return what says the same as a part of a question."""
    return tuple(part) if isinstance(part, list) else tuple(part.items()) if isinstance(part, dict) else part


def _if_any_are_new(usual: Callable) -> Callable:
    """Return what takes over registrations, but does not look for them where their number is the same as before."""
    known: dict[int, int] = {}

    def refresh(self: Any) -> None:
        contexts = self, getattr(self, "typing_context", self)
        registries = [pair for context in contexts for pair in context._registries.items()]
        number = sum(len(getattr(each, name)) for each, loader in registries for name in loader.registry_items)
        if known.get(id(self._registries)) != number:  # which copies of a context share
            known[id(self._registries)] = number
            usual(self)

    return refresh


def _until_known(usual: Callable) -> Callable:
    """Return what infers types, but only those of assignments where all were known after the first time."""

    def propagate(self: Any, typeinfer: Any) -> list:
        all_known = getattr(self, "all_known", False)
        if all_known:
            before, constraints = typeinfer.get_state_token(), self.constraints
            self.constraints = [each for each in constraints if isinstance(each, Propagate)]
            try:
                errors = usual(self, typeinfer)
            finally:
                self.constraints = constraints
            if typeinfer.get_state_token() == before:
                return errors
        errors = usual(self, typeinfer)
        if not hasattr(self, "all_known"):
            known = all(variable.defined for variable in typeinfer.typevars.values())
            self.all_known = known and not errors and _is_ours(typeinfer.func_id)
        return errors

    return propagate


def _but_of_locks(usual: Callable) -> Callable:
    """Return what tells of an event, unless it is that a lock of LLVM is taken."""

    def tell(kind: str, *arguments: Any, **options: Any) -> None:
        if kind != "numba:llvm_lock":
            usual(kind, *arguments, **options)

    return tell


def _without_peepholes(usual: Callable) -> Callable:
    """Return what rewrites the code of a function that was read, but does not look for what skgd's do not have."""

    def post_process(self: Any, peepholes: list, func_ir: Any) -> Any:
        needed = [each for each in peepholes if not (_is_ours(self.func_id) and each.__name__ in _NEEDLESS)]
        return usual(self, needed, func_ir)

    return post_process


def _without_lifetimes(usual: Callable) -> Callable:
    """Return what tidies up a function after a pass, but leaves out for skgd's own how long each variable is needed."""

    def run(self: Any, *arguments: Any, **options: Any) -> None:
        function = self.func_ir
        if not _is_ours(function.func_id) or function.is_generator:
            usual(self, *arguments, **options)
            return
        function.blocks = canonicalize_cfg(function.blocks)
        function.generator_info = None

    return run


def _is_ours(function: Any) -> bool:
    return (function.modname or "").startswith("skgd.")


_CHANGES: tuple[tuple[Any, str, Callable], ...] = (
    (BaseFunction, "get_call_type", _remembered),
    (ssa._logger, "debug", _silent),
    (typing.BaseContext, "resolve_getattr", _remembered),
    (BaseContext, "get_function", _remembered),
    (BaseContext, "get_abi_sizeof", _remembered),
    (BaseContext, "refresh", _if_any_are_new),
    (typing.BaseContext, "refresh", _if_any_are_new),
    (ConstraintNetwork, "propagate", _until_known),
    (event, "start_event", _but_of_locks),
    (event, "end_event", _but_of_locks),
    (Interpreter, "post_process", _without_peepholes),
    (PostProcessor, "run", _without_lifetimes),
)
