"""The shape of the code: imports point one way, and no file is too long to be read."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import skgd

PACKAGE = Path(skgd.__file__).parent
FILES = {
    ".".join(("skgd", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(module):
    """Return the modules of the package that one imports anywhere: in functions and for type checkers, too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import, which hides what it imports"
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names.values()}
    return found & FILES.keys()


def test_imports_point_one_way():
    try:
        TopologicalSorter({module: imports(module) for module in FILES}).prepare()
    except CycleError as error:
        pytest.fail(f"imports go in a circle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_file_can_be_read_in_one_go(module):
    n_lines = FILES[module].read_text(encoding="utf-8").count("\n")
    assert n_lines <= 700
