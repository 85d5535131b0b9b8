"""Quote the rules of the defaults from docstrings, so that they are written once.

A line ``% rules of skgd.automatic`` in a page is replaced by a section for each entry of the module's docstring: an
unindented line of code, and below it indented paragraphs, each a rule and its reason: ``<condition>: <rule>. Why:
<reason>.``
"""

import importlib
import inspect
import re


def rules_of(docstring):
    """Yield the entries of a docstring: what is set, and its rules, each with its reason."""
    entry = re.compile(r"^(``.*)\n(    .*\n(?:    .*\n|\n)*)", re.MULTILINE)
    for what, paragraphs in entry.findall(docstring + "\n"):
        yield (
            what.replace("``", "`"),
            [
                tuple(
                    " ".join(rule.replace("``", "`").split()).split(" Why: ")
                )
                for rule in paragraphs.strip().split("\n\n")
            ],
        )


def as_sections(docstring):
    """Return the entries as sections in Markdown."""
    lines = []
    for what, rules in rules_of(docstring):
        lines += [f"### {what}", ""]
        for rule, reason in rules:
            rule = re.sub(r"^([^:.]{1,120}:)(?= )", r"**\1**", rule)
            rule = re.sub(r"^(\*\*)?[a-z]", lambda at: at[0].upper(), rule)
            lines += [f"- {rule}", "", f"  *Why:* {reason}", ""]
    return "\n".join(lines)


def insert(app, docname, source):
    """Replace the lines that ask for the rules of a module."""

    def sections(match):
        module = importlib.import_module(match[1])
        app.env.note_dependency(module.__file__, docname=docname)
        return as_sections(inspect.getdoc(module))

    source[0] = re.sub(r"(?m)^% rules of ([\w.]+)$", sections, source[0])


def setup(app):
    """Connect the event of a page that is read."""
    app.connect("source-read", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
