"""From a loop in plain Python to compiled code: specialized for its strategies, named, compiled, kept on the disk.

A loop and all that it calls are copied, with what `skgd.engines.compiled.interface` declares filled in. Each copy has a
name of its own, which ends with a fingerprint of its code and of all that it depends on. Numba finds compiled code on
the disk by the name of the loop, and links compiled functions by their names: what is edited is compiled again, and no
function is ever taken for another of the same name, in whatever order processes have compiled them (numba issue 10486).

What a loop calls is inlined by force. Otherwise the process that compiles a loop would call other machine code than one
that reads it from the disk: that of each function on its own, in the place of the copy compiled within the loop, which
differ in the last bits.
"""

from __future__ import annotations

import dis
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from skgd.engines.compiled.exact import NUMPY, no_prefetch, part_as_python
from skgd.engines.compiled.interface import HINT, Limits, Penalty, Rows, Scales, Strategies, Work, part_of, product

_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},  # sums in any order; NaN and infinity stay what they are
    "nogil": True,
}
# Without the entrances for code that never calls it, compiling takes two thirds of the time. Without references to
# arrays to count, there is less to compile: whoever calls a loop holds its arrays, and makes them, see `workspace`.
_CALLED_FROM_PYTHON: dict[str, Any] = {**_OPTIONS, "no_cfunc_wrapper": True, "_nrt": False}
_INLINED: dict[str, Any] = {**_CALLED_FROM_PYTHON, "no_cpython_wrapper": True, "forceinline": True}
_INTRINSICS = "skgd.engines.compiled.intrinsics"
_SETTINGS = (*sorted(_OPTIONS["fastmath"]), *sorted(_INLINED), HINT)  # on which compiled code depends, too


class CannotCompile(Exception):
    """A rule or a loss is beyond Numba."""


def specialized(
    function: Any, replacements: Mapping[str, Any], exact: bool = False, compact: bool = False, variant: str = ""
) -> Loop:
    """Return a loop, compiled when it is first called or read from the disk, with these things in their places.

    An ``exact`` one calculates as Python would: sums in their order, nothing contracted. A ``compact`` one is compiled
    to less code, in less time, for loops that have many others within them. A ``variant`` is one for other types of
    arguments: with a name of its own, it is at hand when these are compiled.
    """
    from skgd.engines.compiled import intrinsics  # which import Numba: loops as Python do without

    common: dict[str, Any] = {"choose": _choose, "erf": math.erf}
    if is_plain_python():
        common |= {"prefetch": no_prefetch, "part_of": part_of, "product": product}
    else:
        common |= {"prefetch": intrinsics.prefetch, "part_of": intrinsics.part_of, "product": intrinsics.product}
        if compact:
            common |= {"choose": intrinsics.chosen, "counted": intrinsics.counted}
            common |= {"min": intrinsics.smaller, "max": intrinsics.larger}
    copy, lasting = _Specializer({**common, **replacements}, exact, compact).copy(function)
    copy.__qualname__ += variant
    return Loop(copy, lasting, exact, compact)


def interpreted(function: Any, replacements: Mapping[str, Any]) -> Callable:
    """Return the same loop in Python, which gives the bits of an ``exact`` one, for memoryviews in place of arrays."""
    common = {"choose": _choose, "prefetch": no_prefetch, "erf": math.erf, "np": NUMPY, "part_of": part_as_python}
    return _Specializer({**common, **replacements}, compiled=False).copy(function)[0]


def are_ours(*strategies: type) -> bool:
    """Say whether strategies have no function of a user's."""
    functions = (getattr(each, name, None) for each in strategies for name in Strategies._fields)
    return all(_is_ours(function) for function in functions if function is not None)


def _choose(condition, then, otherwise):
    return then if condition else otherwise


# ---------------------------------------------------------------------------------------------------------------------
# Copies
# ---------------------------------------------------------------------------------------------------------------------


class _Specializer:
    """Copies functions, and those they call, with things in the place of those of the same names."""

    def __init__(
        self, replacements: Mapping[str, Any], exact: bool = False, compact: bool = False, compiled: bool = True
    ):
        self._replacements, self._compact, self._compiled = replacements, compact, compiled
        self._settings = (*_SETTINGS, exact, compact)
        self._options = {**_INLINED, "fastmath": False} if exact else _INLINED
        self._done: dict[FunctionType, tuple[Any, str] | None] = {}

    def copy(self, function: FunctionType) -> tuple[FunctionType, bool]:
        """Return a copy of a function, and whether its name tells all that it depends on."""
        fingerprint, code = _Fingerprint(), function.__code__
        replacements = self._replacements if _is_ours(function) else {}
        if "counted" in replacements:  # Numba insists that a range is Python's
            code = code.replace(co_names=tuple("counted" if name == "range" else name for name in code.co_names))
        fingerprint.add((self._settings, code, function.__defaults__))
        for cell in function.__closure__ or ():
            fingerprint.add(cell.cell_contents)
        namespace = dict(function.__globals__)
        for name in sorted(_global_names(code) & (namespace.keys() | replacements.keys())):
            thing = replacements[name] if name in replacements else namespace[name]
            if isinstance(thing, (Strategies, Rows)):
                table = ModuleType(name)  # whose attributes Numba takes for constants
                for field in sorted({*thing._fields} & {*code.co_names}):
                    value, digest = self._inlined(getattr(thing, field))
                    fingerprint.add((field, digest))
                    setattr(table, field, value)
                thing = table
            elif isinstance(thing, FunctionType):
                thing, digest = self._inlined(thing)
                fingerprint.add((name, digest))
            else:
                fingerprint.add((name, thing))
            namespace[name] = thing
        copy = FunctionType(code, namespace, function.__name__, function.__defaults__, function.__closure__)
        copy.__qualname__ = f"{function.__name__}_{fingerprint.digest()}"
        return copy, fingerprint.tells_all

    def _inlined(self, function: Any) -> tuple[Any, Any]:
        """Return a compiled copy, to be called from compiled code, and its name; None for one that does not last."""
        if not isinstance(function, FunctionType):
            raise CannotCompile(f"{function!r} is not a static method written in Python.")
        if function not in self._done:
            self._done[function] = None
            copy, tells_all = self.copy(function)
            name = copy.__qualname__ if tells_all else _UNKNOWN
            same = function.__module__, name, is_plain_python()
            compiled = _shared.get(same) if self._compiled else copy
            if compiled is None:
                options = {**self._options, "_nrt": not _is_ours(function)}
                compiled = self._to_be_inlined(copy, options, _is_ours(function))
                if tells_all:
                    _shared[same] = compiled
            self._done[function] = compiled, name
        done = self._done[function]
        if done is None:
            raise CannotCompile(f"{function.__name__} calls itself.")
        return done

    def _to_be_inlined(self, function: FunctionType, options: dict[str, Any], is_ours: bool) -> Any:
        from numba import njit

        from skgd.engines.compiled.inlining import CompactInlinedCompiler, InlinedCompiler, InlinedUserCompiler

        compiler = (CompactInlinedCompiler if self._compact else InlinedCompiler) if is_ours else InlinedUserCompiler
        return njit(pipeline_class=compiler, **options)(function)


_UNKNOWN: Any = object()
_shared: Any = WeakValueDictionary()  # what is inlined, by module and name, as long as a loop has it


def _is_ours(function: FunctionType) -> bool:
    return (function.__module__ or "").startswith("skgd.")


def _global_names(code: CodeType) -> set[str]:
    """Return the global names that a function and the functions inside it look up."""
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname == "LOAD_GLOBAL"}
    inner = (_global_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return names.union(*inner)


class _Fingerprint:
    """A digest of code and of constants; ``tells_all`` turns False with the first thing that it cannot read."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.tells_all = True

    def digest(self) -> str:
        return self._hash.hexdigest()[:20]

    def add(self, thing: Any) -> None:
        """Add something that compiled code depends on."""
        if isinstance(thing, CodeType):
            self.add((thing.co_code, thing.co_names, thing.co_varnames, thing.co_consts, thing.co_exceptiontable))
            self.add((thing.co_flags, thing.co_argcount, thing.co_posonlyargcount, thing.co_kwonlyargcount))
        elif isinstance(thing, (tuple, frozenset)):
            self._hash.update(f"{len(thing)}:".encode())
            for item in thing if isinstance(thing, tuple) else sorted(thing, key=repr):
                self.add(item)
        elif isinstance(thing, (np.ndarray, np.generic)):
            self._hash.update(repr((thing.dtype.str, thing.shape)).encode() + thing.tobytes())
        elif isinstance(thing, (bool, int, float, str, bytes, type(None), type(...))):
            self._hash.update(f"{type(thing).__name__} {thing!r};".encode())
        elif isinstance(thing, BuiltinFunctionType):
            self._hash.update(f"function {thing.__module__} {thing.__name__};".encode())
        elif isinstance(thing, np.ufunc) and vars(np).get(name := str(thing.__name__)) is thing:
            self._hash.update(f"ufunc {name};".encode())
        elif any(thing is known for known in (Work, Scales, Penalty, Limits)):
            self.add((thing.__name__, thing._fields))
        elif not (thing is np or thing is math or getattr(thing, "__module__", "") == _INTRINSICS):
            self.tells_all = False


# ---------------------------------------------------------------------------------------------------------------------
# Compiled code
# ---------------------------------------------------------------------------------------------------------------------


class Loop:
    """A compiled function. A cache that is broken, or cannot be written, is no reason why a call fails."""

    def __init__(self, function: FunctionType, lasting: bool, exact: bool = False, compact: bool = False):
        self._function, self._compact = function, compact
        self._options = {**_CALLED_FROM_PYTHON, "fastmath": False} if exact else _CALLED_FROM_PYTHON
        lasting = lasting and not is_plain_python()
        self._remedies = [self._in_memory, self._cached] if lasting else []  # the last one comes first
        self._compiled = self._cached() if lasting else self._in_memory()

    @property
    def name(self) -> str:
        """The name of the compiled function, with the fingerprint."""
        return self._function.__qualname__

    @property
    def is_at_hand(self) -> bool:
        """Say whether it need not be compiled: because it was, in this process or another one, if for one signature."""
        return bool(getattr(self._compiled, "overloads", True)) or any(self._files("nbc"))

    def _in_memory(self, **options: Any) -> Any:
        from numba import njit

        from skgd.engines.compiled.inlining import CompactLoopCompiler, LoopCompiler

        compiler = CompactLoopCompiler if self._compact else LoopCompiler
        compiled = njit(pipeline_class=compiler, **self._options, **options)(self._function)
        return np.errstate(all="ignore")(compiled) if is_plain_python() else compiled  # for NumPy would complain

    def _cached(self) -> Any:
        try:
            return self._in_memory(cache=True)
        except RuntimeError:  # no folder can be written to
            return self._in_memory()

    def __call__(self, *arguments: Any) -> Any:
        """Call the function.

        Raises
        ------
        CannotCompile
            For a rule or a loss beyond Numba; nothing has happened then.
        """
        compiled = self._compiled
        overloads = getattr(compiled, "overloads", {})  # plain Python has none
        n_before = len(overloads)
        try:
            return compiled(*arguments) if n_before else self._first(*arguments)
        except MemoryError:
            raise
        except Exception as error:
            if len(overloads) > n_before and isinstance(error, OSError):
                pass  # compiled just now, but the disk took no copy
            elif _signature(arguments) in overloads:
                raise  # by a rule or a loss
            elif type(error).__module__.startswith(("numba", "llvmlite")) or not self._mended():
                raise CannotCompile(str(error)) from error
            else:
                return self(*arguments)
        return compiled(*arguments)

    def _first(self, *arguments: Any) -> Any:
        """Call the function for the first time, which compiles it or reads it from the disk."""
        from skgd.engines.compiled.inlining import collecting_less

        with collecting_less():
            return self._compiled(*arguments)

    def _mended(self) -> bool:
        """Say whether there is another way: what the disk has may be broken, or Numba has failed unforeseen."""
        self._forget()
        try:
            self._compiled = self._remedies.pop()()
        except IndexError:
            return False
        return True

    def _forget(self) -> None:
        """Remove what the disk has of this function."""
        for file in self._files():
            with suppress(OSError):
                file.unlink()

    def _files(self, ending: str = "") -> Iterable[Path]:
        """Return the files that the disk has of this function."""
        folder = getattr(self._compiled, "stats", None) and self._compiled.stats.cache_path
        return Path(folder).glob(f"*{self.name}*{ending}") if folder else ()


def _signature(arguments: tuple) -> tuple | None:
    """Return the types of arguments, or None where Numba has none for them."""
    from numba import typeof

    try:
        return tuple(map(typeof, arguments))
    except Exception:  # of several kinds, depending on Numba's version
        return None


def is_plain_python() -> bool:
    """Say whether the loops run as the Python that they are (``NUMBA_DISABLE_JIT=1``)."""
    from numba import config

    return bool(vars(config)["DISABLE_JIT"])


def announced(verbose: int) -> AbstractContextManager:
    """Say, with ``verbose``, when something is compiled meanwhile."""
    if not verbose:
        return nullcontext()
    from skgd.engines.compiled.announcement import announcement

    return announcement()
