"""Functions that exist only within the loops that call them: handed to these as they are, with no code of their own.

Numba would optimize each function and make machine code of it before it is linked into what calls it, and optimizes
that again. Of what a loop calls, nothing but the copies within the loop is ever run, so that half of LLVM's time goes
nowhere. Numba's option ``pipeline_class`` takes `InlinedCompiler`, which leaves that half out.
"""

from __future__ import annotations

from typing import Any

from llvmlite.binding import parse_assembly
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

_ENVIRONMENT = "_ZN08NumbaEnv"  # how the names of variables begin that Numba sets once a function is compiled


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


class InlinedCompiler(Compiler):
    """Compiles a function as far as others need it."""

    def define_pipelines(self) -> list[Any]:
        """Return Numba's own steps, with another place for the code."""
        state = self.state
        state.library = InlinedCode(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()
