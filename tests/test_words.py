"""Documentation, docstrings, messages, comments and names use the field's terms, in American spelling."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.rst")),
]
CODE = {
    folder: [path for path in sorted((ROOT / folder).rglob("*.py")) if not {"_build", "gallery"} & set(path.parts)]
    for folder in ("skgd", "tests", "examples", "benchmarks", "docs")
}

# Quotations and names of others, which are as they are.
EXEMPT = [
    "regularisation",  # file names, and so addresses, of a page and of an example
]

BRITISH = re.compile(
    r"(?:standardis|minimis|maximis|optimis|vectoris|regularis|initialis|normalis|penalis|generalis|factoris|"
    r"organis|recognis|realis|summaris|serialis|parallelis|specialis|discretis|orthogonalis|randomis|categoris|"
    r"parametris|polaris|visualis|analys(?:e[ds]?\b|ing)|colour|behaviour|favour|neighbour|honour|centre|centring|"
    r"labell(?:ed|ing)|modell(?:ed|ing)|cancell(?:ed|ing)|learnt|spelt|burnt|fulfil\b|licence|catalogue|programme\b|"
    r"artefact|grey\b|metres?\b|litres?\b|whilst|amongst)\w*",
    re.IGNORECASE,
)

# The phrase, and what to write.
EVERYWHERE = {  # in pages, docstrings, messages, comments, examples
    r"minimi[sz]ers?\b": "minimum, solution",
    r"one's own|of (?:your|our) own": "custom",
    r"\b(?:ours|theirs)\b": "skgd's, scikit-learn's, ...",
    r"\bone likes\b": "arbitrarily",
    r"\bin peace\b|\bgilding\b|\bfog\b|hair's breadth|\bnobody pays\b": "no metaphors",
    r"\bpictures?\b": "plot, figure",
    r"\bholes\b": "missing values",
    r"rows to check against|rows of your": "validation set",
    r"rows? not seen": "held-out data, new samples",
    r"\b(?:com(?:es?|ing)|came) to rest\b|\brests? (?:high|on)\b": "plateau, converge",
    r"\bfreed of\b": "bias-corrected",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\banew\b": "again, from scratch",
    r"\bby heart\b": "memorize, overfit",
    r"\bmostly zeros\b": "sparse",
    r"hyper-param": "hyperparameter",
    r"\bmade[- ]up\b(?! for)": "synthetic",
}
PUBLIC = {  # in pages, examples, messages, and the docstrings of what is public
    r"\bwalk(?:s|ed|ing)?\b|valley floor|wall to wall|\bstaggers?\b|\bcreeps?\b|\bfor ever\b": "no metaphors",
    r"\bsteer(?:s|ing)?\b": "callbacks, early stopping",
    r"\bgo(?:es)? on\b|\bgoing on\b|\bwent on\b": "continue, resume",
    r"\b(?:as|than) there\b|\b[Tt]heirs\b|\bOurs\b": "in scikit-learn, in skgd",
    r"\bleft alone\b": "has its default",
    r"\bNewton's steps?\b": "Newton steps",
    r"\b(?:step|line|weight|entry|class|classifier|record) an? (?:row|epoch|column|label|class)\b": "per",
    r"\btell(?:s)? apart\b|\btold apart\b": "separate, distinguish",
    r"\bto gain\b": "possible gain",
    r"\bat hand\b": "given",
    r"(?<![Ll]earning[ -])(?<!base )\b[Rr]ates?\b(?! (?:of (?:errors|convergence)|a few))": "learning rate",
    r"\bcolumns? of (?:X|zeros)\b": "features",
}


def named(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    """Return a page's prose: no blocks of code, no code within lines, no formulas, no addresses."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)|``[^`]*``|`[^`]*`|\$[^$]*\$|:target:.*|/gallery/\S*|https?:\S*", " ", text)
    return re.sub(r"\s+", " ", text)


def without_doctests(text):
    text = re.sub(r"(?m)^\s*(?:>>>|\.\.\.).*$", "", text)
    return re.sub(r"\s+", " ", re.sub(r"``[^`]*``|:\w+:`[^`]*`|`[^`]*`", " ", text))


def docstrings(tree, *, public):
    """Yield the docstrings of a module, of all that it defines or of what is public."""
    yield ast.get_docstring(tree) or ""
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            if public and node.name.startswith("_"):
                continue
            yield ast.get_docstring(node) or ""
            if isinstance(node, ast.ClassDef) or not public:
                stack.extend(node.body)


def messages(tree):
    """Yield the texts that are raised, warned of, or put together for that."""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


def comments(path):
    lines = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return " ".join(token.string.lstrip("# ") for token in lines if token.type == tokenize.COMMENT)


def found(banned, text):
    for exempt in EXEMPT:
        text = text.replace(exempt, "")
    return [
        f"{text[max(match.start() - 40, 0) : match.end() + 20]!r}: write {instead}"
        for phrase, instead in banned.items()
        for match in re.finditer(phrase, text)
    ]


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_pages(path):
    assert not found(EVERYWHERE | PUBLIC, without_code(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", CODE["examples"], ids=named)
def test_examples(path):
    text = path.read_text(encoding="utf-8")
    prose = [ast.get_docstring(ast.parse(text)), comments(path)]
    assert not found(EVERYWHERE | PUBLIC, without_doctests(" ".join(prose)))
    assert not found(EVERYWHERE, without_doctests(" ".join(messages(ast.parse(text)))))


@pytest.mark.parametrize("path", CODE["skgd"], ids=named)
def test_package(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    is_public = not any(part in named(path) for part in ("engines/", "_"))
    assert not found(EVERYWHERE, without_doctests(" ".join(docstrings(tree, public=False))))
    assert not found(EVERYWHERE, comments(path))
    assert not found(EVERYWHERE | PUBLIC, " ".join(messages(tree)))
    if is_public and hasattr_all(tree):
        assert not found(PUBLIC, without_doctests(" ".join(docstrings(tree, public=True))))


def hasattr_all(tree):
    """Say whether a module has public names: ``__all__``."""
    return any(
        isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets)
        for node in tree.body
    )


@pytest.mark.parametrize("path", CODE["tests"] + CODE["benchmarks"] + CODE["docs"], ids=named)
def test_comments_elsewhere(path):
    if path != Path(__file__):
        assert not found(EVERYWHERE, comments(path))


@pytest.mark.parametrize("path", [*PAGES, *(path for paths in CODE.values() for path in paths)], ids=named)
def test_spelling(path):
    """All text counts, names and literals, too."""
    text = path.read_text(encoding="utf-8")
    for exempt in EXEMPT:
        text = text.replace(exempt, "")
    if path != Path(__file__):
        assert not {match[0] for match in BRITISH.finditer(text)}
