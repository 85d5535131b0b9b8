"""How the functions of a loop are compiled: without the work that Numba does for programs of other kinds.

- Of a program, any function might be called on its own. What a loop calls exists only within it, so that it is handed
  to the loop as it is, with no code of its own: Numba would optimize each function and make machine code of it before
  it is linked into what calls it, and optimizes that again. Half of LLVM's time would go nowhere.
- A program may have closures, context managers, literal loops, parallel loops and expressions of arrays. skgd's own
  functions have none, so that they do without the passes that look for them, a tenth of the time. A user's functions
  take all passes.
- Wherever an operation occurs, Numba looks up again what it is for the types of its operands: it tries one kind of
  operands after the other, for each of its passes. In a loop, 190 of 3,800 such questions differ. To remember the
  answers takes a sixth off the time.
- Meanwhile, objects from before are no garbage. Python's collector leaves them alone: it would go through all imported
  modules again and again, for another tenth of the time. It looks for new garbage less often, too, which is worth a
  twentieth.

Numba's option ``pipeline_class`` takes these compilers.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.binding import parse_assembly
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.types import BaseFunction

_ENVIRONMENT = "_ZN08NumbaEnv"  # how the names of variables begin that Numba sets once a function is compiled
_THRESHOLDS = 5000, 100, 1000  # of the collector
_ONCE = "DeadBranchPrune"  # a pass that Numba repeats after some of those below
_NEEDLESS = {
    "WithLifting",
    "InlineClosureLikes",
    "RewriteSemanticConstants",
    "RewriteDynamicRaises",
    "MakeFunctionToJitFunction",
    "InlineInlinables",
    "FindLiterallyCalls",
    "LiteralUnroll",
    "LiteralPropagationSubPipelinePass",
    "InlineOverloads",
    "NopythonRewrites",
    "DumpParforDiagnostics",
}


class _OurCompiler(Compiler):
    """Compiles functions of skgd's own."""

    def define_pipelines(self) -> list[Any]:
        """Return Numba's own steps but for the needless ones."""
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            passes, names = [], [_ONCE if each.__name__ == _ONCE else "" for each, _ in pipeline.passes]
            for place, (each, description) in enumerate(pipeline.passes):
                repeated = each.__name__ == _ONCE and place > names.index(_ONCE)
                if each.__name__ not in _NEEDLESS and not repeated:
                    passes.append((each, description))
            pipeline.passes = passes
        return pipelines


class LoopCompiler(_OurCompiler):
    """Compiles a loop, and with it all that it calls."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function."""
        with _remembering_types():
            return super().compile_extra(func)


@contextmanager
def _remembering_types() -> Iterator[None]:
    """Look up once what an operation of some types is; Numba's lock keeps other threads from compiling meanwhile."""
    look_up: Any = BaseFunction.get_call_type
    known: dict[Any, Any] = {}

    def remember(function: Any, context: Any, args: Any, kws: Any) -> Any:
        operation = function, tuple(args), tuple(kws.items())
        if operation not in known:
            known[operation] = look_up(function, context, args, kws)
        return known[operation]

    BaseFunction.get_call_type = remember  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        BaseFunction.get_call_type = look_up  # type: ignore[method-assign]


class InlinedCode(JITCodeLibrary):
    """The code of a function, for other functions to link in."""

    def _optimize_final_module(self) -> None:
        """Leave it to what links the code in."""

    def _finalize_final_module(self) -> None:
        """Make no machine code, but of the variables that Numba sets."""
        code = self._final_module
        variables = [str(variable) for variable in code.global_variables if variable.name.startswith(_ENVIRONMENT)]
        self._final_module = parse_assembly("\n".join(variables))
        super()._finalize_final_module()
        self._final_module = code


class _Inlined(Compiler):
    """Compiles a function as far as others need it."""

    def define_pipelines(self) -> list[Any]:
        """Return the same steps, with another place for the code."""
        state = self.state
        state.library = InlinedCode(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class InlinedCompiler(_Inlined, _OurCompiler):
    """Compiles a function of skgd's own as far as a loop needs it."""


class InlinedUserCompiler(_Inlined):
    """Compiles a user's function as far as a loop needs it."""


@contextmanager
def collecting_less() -> Iterator[None]:
    """Leave objects from before to themselves, unless someone else does so already, and collect new ones less often."""
    freezes, thresholds = gc.get_freeze_count() == 0, gc.get_threshold()
    if freezes:
        gc.freeze()
        if thresholds[0]:  # 0 is never
            gc.set_threshold(*map(max, thresholds, _THRESHOLDS))
    try:
        yield
    finally:
        if freezes:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
