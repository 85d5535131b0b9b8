"""Sphinx's settings. Build with ``sphinx-build -W docs docs/_build``; nothing is downloaded."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from sklearn.base import BaseEstimator
from sphinx.util.logging import getLogger

import skgd
from skgd.activations import Activation
from skgd.losses import Loss
from skgd.optimizers import Optimizer
from skgd.schedules import Schedule

os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.append(str(Path(__file__).parent / "_extensions"))

project = "skgd"
author = "the skgd developers"
copyright = "the skgd developers, BSD-3-Clause"
version = release = skgd.__version__

extensions = [
    "myst_parser",
    "native_math",
    "rules",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# -- Pages ------------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
# Functions are given below, which cannot be pickled.
suppress_warnings = ["config.cache"]

# -- API reference ----------------------------------------------------------------------------------------------------

# One page for each public name: what a module lists in ``__all__`` is found by itself.
autosummary_ignore_module_all = False
maximum_signature_line_length = 60  # longer ones: a line for each parameter
autodoc_typehints = "none"  # numpydoc's parameter sections have them
numpydoc_show_class_members = False  # the template lists them
numpydoc_class_members_toctree = False
toc_object_entries_show_parents = "hide"


def in_source_order(module, names):
    """Sort the classes of a module as it defines or, if it is a package, imports them: by complexity."""
    return sorted(names, key=list(vars(sys.modules[module])).index)


STRATEGIES = (Optimizer, Loss, Schedule, Activation)
autosummary_context = {
    "in_source_order": in_source_order,
    # What every strategy has is documented once, with its base; what every estimator has, by scikit-learn.
    "estimator_methods": dir(BaseEstimator),
    "strategy_bases": [base.__name__ for base in STRATEGIES],
    "strategy_methods": sorted(
        {name for base in STRATEGIES for name in dir(base)}
    ),
}


def without_foreign_labels(app, what, name, obj, options, lines):
    """Make plain text of references to scikit-learn's user guide, in the docstrings inherited from there."""
    if getattr(obj, "__module__", "").startswith("sklearn."):
        lines[:] = [
            re.sub(r":ref:`([^`<]*?)\s*(<[^`]*>)?`", r"\1", line)
            for line in lines
        ]


def with_initials(app, what, name, obj, options, lines):
    """Escape the dot of an initial at the beginning of a line: an author, not item D of a list."""
    lines[:] = [re.sub(r"^(\s*[A-Z])\. ", r"\1\\. ", line) for line in lines]


def where_it_stands(app, module, name):
    """Find the source of an estimator, whose class names the package that it is public in, by that of its methods."""
    return getattr(
        getattr(getattr(sys.modules.get(module), name, None), "fit", None),
        "__module__",
        None,
    )


# -- Gallery ----------------------------------------------------------------------------------------------------------


# From the simplest to the most special one; those that are not named follow.
ORDER = [
    *("raw_data", "pipeline_mixed_columns", "plot_training_curves"),
    *("plot_learning_rate_search", "plot_learning_rate_range"),
    *("online_text_classification", "imbalanced_stream", "out_of_core"),
    *("onnx_predictions", "mlflow_runs", "own_optimizer_and_loss"),
    *("plot_valley", "descent_on_a_line", "plot_batch_sizes"),
    *("plot_descent_path", "plot_momentum", "plot_adaptive_rates"),
    *("plot_schedules", "plot_regularisation", "plot_preconditioning"),
    *("plot_hidden_layers", "plot_deep_gradients", "plot_local_minima"),
    *("plot_exploding_vanishing", "plot_second_order", "plot_rosenbrock"),
]


def in_order(name):
    """Sort the examples of a section."""
    stem = name.removesuffix(".py")
    return (ORDER.index(stem) if stem in ORDER else len(ORDER)), name


# What some examples need beside what all do: where it is not installed, they are left out.
NEEDED = {
    "onnx_predictions.py": ["skl2onnx", "onnxruntime"],
    "mlflow_runs.py": ["mlflow"],
}
left_out = ["__init__.py"]
for example, packages in NEEDED.items():
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        getLogger(__name__).info(
            "%s is left out of the gallery: %s is not installed",
            example,
            ", ".join(missing),
        )
        left_out.append(example)

sphinx_gallery_conf = {
    "ignore_pattern": "|".join(map(re.escape, left_out)),
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",  # run all of them, not only plot_*.py
    "within_subsection_order": in_order,
    "abort_on_example_error": True,
    "capture_repr": (),  # what is printed, but not what an expression returns
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "min_reported_time": 10_000,
    "parallel": True,  # on all cores
    "show_memory": False,
    "write_computation_times": False,  # its page would load scripts from the network
    "show_signature": False,
    "remove_config_comments": True,
}

# -- HTML -------------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skgd"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["skgd.css"]
html_copy_source = False
html_show_sourcelink = False
# Pages of the top level have no pages below them, or are among the how-to guides.
html_sidebars = {
    page.stem: []
    for page in Path(__file__).parent.glob("*.md")
    if page.stem not in ("online", "persistence")
}
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "text": "skgd",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    # Pages of tables need the width. (Patterns may not overlap: * stands for no slash.)
    "secondary_sidebar_items": {
        **{
            pages: ["page-toc"]
            for pages in (
                "*",
                "how_to/*",
                "guide/*",
                "other_tools/*",
                "gallery/*",
                "api/*",
                "api/generated/*",
            )
        },
        "coming_from/*": [],
    },
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "show_toc_level": 2,
}


def for_narrow_screens(app, pagename, templatename, context, doctree):
    """Let long code in tables break after punctuation, not within words, and plots scroll."""

    def within(cell):
        code = r'(?<=<span class="pre">)[^<]{21,}'
        return re.sub(code, lambda text: marks.sub("<wbr>", text[0]), cell[0])

    marks = re.compile(r"(?<=[_=(:/])(?=\w)|(?<=[a-z]\.)(?=[A-Za-z])")
    body = context.get("body", "")
    body = re.sub(r"(?s)<t[dh]\b.*?</t[dh]>", within, body)
    image = r'<img [^>]*class ?= ?"sphx-glr-single-img"[^>]*>'
    context["body"] = re.sub(image, r'<div class="plot">\g<0></div>', body)


def setup(app):
    """Connect what is defined above."""
    app.connect("autodoc-process-docstring", without_foreign_labels)
    app.connect("autodoc-process-docstring", with_initials)
    app.connect("viewcode-follow-imported", where_it_stands)
    app.connect("html-page-context", for_narrow_screens)
