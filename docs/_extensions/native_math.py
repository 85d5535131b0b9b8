"""Formulas as MathML, which browsers draw themselves: no JavaScript, no fonts to ship, nothing to download.

The translation from LaTeX is docutils' own. What it cannot translate is a warning, and so fails the build.
"""

from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def translate(self, node, as_block):
    """Return the node's formula as MathML."""
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logger.warning("cannot translate the formula %r: %s", node.astext(), error, location=node, type="math")
        return self.encode(node.astext())


def visit_inline(self, node):
    """Write a formula in the text."""
    self.body.append(translate(self, node, as_block=False))


def depart_inline(self, node):
    """Do nothing: all is written."""


def visit_block(self, node):
    """Write a formula on a line of its own; a wide one scrolls by itself, not the page."""
    self.body.append(self.starttag(node, "div", CLASS="math-block", tabindex="0"))
    self.body.append(translate(self, node, as_block=True))


def depart_block(self, node):
    """Close the line."""
    self.body.append("</div>\n")


def setup(app):
    """Offer the renderer as ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (visit_inline, depart_inline), (visit_block, depart_block))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
