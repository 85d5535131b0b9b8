"""Where compiled functions keep their variables: those that are set once need no memory.

Numba keeps a variable in memory unless one block of code is all that it occurs in, and LLVM finds out again where each
value comes from. Half of what it is given to read and write is for that.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from numba.core import ir
from numba.core.analysis import compute_cfg_from_blocks, compute_use_defs, must_use_alloca
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering


class _Lower(Lower):
    """Generates the code of a function, but for variables."""

    def _find_singly_assigned_variable(self) -> None:
        """Note which variables are set once, in a block that always comes before the others that they occur in."""
        blocks = self.func_ir.blocks
        occurrences, dominators = compute_use_defs(blocks), compute_cfg_from_blocks(blocks).dominators()
        n_times = Counter(each.target.name for block in blocks.values() for each in block.find_insts(ir.Assign))
        homes = {name: label for label, names in occurrences.defmap.items() for name in names if n_times[name] == 1}
        for label, names in occurrences.usemap.items():
            for name in names & homes.keys():
                if not (homes[name] < label and homes[name] in dominators[label]):
                    del homes[name]
        self._singly_assigned_vars = homes.keys() - must_use_alloca(blocks)
        self._blk_local_varmap: dict = {}

    def storevar(self, value: Any, name: str, argidx: int | None = None) -> None:
        """Set a variable; no one needs to know what it was before, for it holds no references to count."""
        if name in self._singly_assigned_vars:
            super().storevar(value, name, argidx)
        else:
            self.builder.store(value, self.getvar(name))


@register_pass(mutates_CFG=True, analysis_only=False)
class Lowering(NativeLowering):
    """Numba's pass, with this."""

    _name = "skgd_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        """Return what generates code."""
        return _Lower
