"""Formulas as MathML, which browsers draw themselves: no JavaScript, and nothing to download.

A formula that cannot be translated is a warning, and so fails the build. Browsers need a font with mathematical
metrics, which not every system has, so that the pages bring one along: STIX Two Math, under the Open Font License, from
the package ziamath.
"""

from pathlib import Path

import ziamath
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

logger = logging.getLogger(__name__)
FONTS = Path(ziamath.__file__).parent / "fonts"


def translate(node, display):
    """Return the node's formula as MathML."""
    formula = node.astext().replace(
        r"\arg", r"\mathrm{arg}\,"
    )  # which latex2mathml does not know
    try:
        mathml = convert(formula, display=display)
    except Exception as error:  # it has no common base of its errors
        logger.warning(
            "cannot translate the formula %r: %r",
            formula,
            error,
            location=node,
            type="math",
        )
        return ""
    if "\\" in mathml:  # it leaves unknown commands as they are
        logger.warning(
            "unknown command in the formula %r",
            formula,
            location=node,
            type="math",
        )
    return mathml


def visit_inline(translator, node):
    """Write a formula in the text."""
    translator.body.append(translate(node, "inline"))
    raise nodes.SkipNode


def visit_block(translator, node):
    """Write a formula on a line of its own; a wide one scrolls by itself, not the page."""
    translator.body.append(
        translator.starttag(node, "div", CLASS="math-block", tabindex="0")
    )
    translator.body.append(translate(node, "block") + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Offer the renderer as ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer(
        "mathml", (visit_inline, None), (visit_block, None)
    )
    app.connect(
        "builder-inited",
        lambda app: app.config.html_static_path.append(str(FONTS)),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
