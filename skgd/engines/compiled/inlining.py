"""How the functions of a loop are compiled: without the work that Numba does for programs of other kinds.

- Of a program, any function might be called on its own. What a loop calls exists only within it, so that it is handed
  to the loop as it is, with no code of its own: Numba would optimize each function and make machine code of it before
  it is linked into what calls it, and optimizes that again. Half of LLVM's time would go nowhere. Nor is there an
  environment of Python's objects for each. Each is simplified on its own before, as usual: less of that saves a quarter
  of a second, but then fewer loops become vectors.
- A program may have closures, context managers, literal loops, parallel loops and expressions of arrays. skgd's own
  functions have none, so that they do without the passes that look for them. A user's functions take all passes.
- `skgd.engines.compiled.remembering` keeps Numba from asking the same again and again: a quarter of the time.
- LLVM's time grows with the code that it is handed, as does that of generating it. For streams, whose loop has many
  others within it, `calls` and `variables` make a third less of it, for calls of functions and for what these keep,
  `elements` and `intrinsics` say in less code than Numba how loops count and where elements lie, and LLVM unrolls none.
  Single-sample steps of `fit` would take half as long again, and others would have other bits.
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

from llvmlite import binding
from llvmlite.binding import parse_assembly
from numba.core import config
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.typed_passes import NativeLowering

from skgd.engines.compiled.elements import ContextForElements
from skgd.engines.compiled.remembering import remembering
from skgd.engines.compiled.variables import Lowering

_ENVIRONMENT = "_ZN08NumbaEnv"  # how the names of variables begin that Numba sets once a function is compiled
_THRESHOLDS = 50_000, 1000, 1000  # of the collector
_WRAPPER = "wrapper"  # the module with the function that Python calls
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
    "NoPythonSupportedFeatureValidation",
    "IRLegalization",
}


class _Codegen:
    """Numba's generator of code, for functions without an environment."""

    def __init__(self, codegen: Any):
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Do nothing."""


class _OurCompiler(Compiler):
    """Compiles functions of skgd's own."""

    lowering: type = NativeLowering

    def define_pipelines(self) -> list[Any]:
        """Return Numba's own steps but for the needless ones."""
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            passes, names = [], [_ONCE if each.__name__ == _ONCE else "" for each, _ in pipeline.passes]
            for place, (each, description) in enumerate(pipeline.passes):
                repeated = each.__name__ == _ONCE and place > names.index(_ONCE)
                if each.__name__ not in _NEEDLESS and not repeated:
                    passes.append((self.lowering if each is NativeLowering else each, description))
            pipeline.passes = passes
        return pipelines


class _CompactCompiler(_OurCompiler):
    """Compiles them to less code for LLVM."""

    lowering = Lowering

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.state.targetctx.__class__ = ContextForElements  # which is a copy that Numba makes for each function


class _CompactCode(JITCodeLibrary):
    """The code of a loop, whose inner loops LLVM does not write out several times."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Simplify the loop on its own, but not what Python calls, which is done with the whole."""
        if ll_module.name == _WRAPPER:
            ll_module.data_layout = self._codegen._data_layout
        else:
            super()._optimize_functions(ll_module)

    def _optimize_final_module(self) -> None:
        """Do what Numba does with LLVM's newer passes, but for that."""
        if not hasattr(self._codegen, "_pass_builder"):  # of older ones
            super()._optimize_final_module()
            return
        codegen, module, settings = self._codegen, self._final_module, vars(config)
        manager, builder = codegen._module_pass_manager(loop_vectorize=False, slp_vectorize=False, opt=0, cost="cheap")
        manager.run(module, builder)
        tuning = binding.create_pipeline_tuning_options(speed_level=int(settings["OPT"]))
        tuning.loop_vectorization, tuning.slp_vectorization = settings["LOOP_VECTORIZE"], settings["SLP_VECTORIZE"]
        tuning.loop_unrolling = False
        builder = binding.create_pass_builder(codegen._tm, tuning)
        builder.getModulePassManager().run(module, builder)


class LoopCompiler(_OurCompiler):
    """Compiles a loop, and with it all that it calls."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a function."""
        with remembering():
            return super().compile_extra(func)


class CompactLoopCompiler(LoopCompiler, _CompactCompiler):
    """Compiles a loop to less machine code, in less time."""

    def define_pipelines(self) -> list[Any]:
        """Return the same steps, with another place for the code."""
        state = self.state
        state.library = _CompactCode(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().define_pipelines()


class _InlinedUserCode(JITCodeLibrary):
    """The code of a user's function, for other functions to link in."""

    def _optimize_final_module(self) -> None:
        """Leave it to what links the code in."""

    def _finalize_final_module(self) -> None:
        """Make no machine code, but of the variables that Numba sets: a user's function may print or raise objects."""
        code = self._final_module
        variables = [str(variable) for variable in code.global_variables if variable.name.startswith(_ENVIRONMENT)]
        self._final_module = parse_assembly("\n".join(variables))
        super()._finalize_final_module()
        self._final_module = code


class InlinedCode(_InlinedUserCode):
    """The code of a function of skgd's own, which has no such variables."""

    def __init__(self, codegen: Any, name: str):
        super().__init__(_Codegen(codegen), name)

    def _optimize_functions(self, ll_module: Any) -> None:
        """Simplify the function, but do not prepare to do so for those that it calls."""
        if not hasattr(self._codegen, "_pass_builder"):  # of older ones
            super()._optimize_functions(ll_module)
            return
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                manager, builder = self._codegen._function_pass_manager()
                manager.run(function, builder)

    def _get_module_for_linking(self) -> Any:
        """Return the code, which others take over as it is: no one else needs it."""
        self._ensure_finalized()
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == binding.Linkage.external:
                function.linkage = "linkonce_odr"
        return self._final_module

    def _finalize_final_module(self) -> None:
        """Make no machine code."""
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return that there is none."""
        self._ensure_finalized()
        return 0


class _Inlined(Compiler):
    """Compiles a function as far as others need it."""

    code: type[JITCodeLibrary]

    def define_pipelines(self) -> list[Any]:
        """Return the same steps, with another place for the code."""
        state = self.state
        state.library = self.code(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class InlinedCompiler(_Inlined, _OurCompiler):
    """Compiles a function of skgd's own as far as a loop needs it."""

    code = InlinedCode


class CompactInlinedCompiler(InlinedCompiler, _CompactCompiler):
    """Compiles one for a loop that is compiled to less code."""


class InlinedUserCompiler(_Inlined):
    """Compiles a user's function as far as a loop needs it."""

    code = _InlinedUserCode


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
