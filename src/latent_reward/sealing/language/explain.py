"""What a source says of its latents."""

import ast
import io
import tokenize
from collections.abc import Iterator, Sequence

_LONGEST = 300  # characters


def explanations(source: str, names: Sequence[str]) -> dict[str, str]:
    """The explanation of each latent: the comment right above, or at the end of, the line that assigns it.

    The last such line counts; a latent without a comment is left out.

    Args:
        source: a text that passed the checks of the language, so it can be parsed.
        names: those of the latents.
    """
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (
        tokenize.TokenError,
        SyntaxError,
    ):  # it is stricter than the parser, and comments are no reason to fail
        return {}
    found: dict[str, str] = {}
    said_in = [token for token in tokens if token.type == tokenize.COMMENT]
    comments = {token.start[0]: token.string.lstrip("# ").strip() for token in said_in}
    alone = {token.start[0] for token in said_in if token.line.lstrip().startswith("#")}
    for line, name in sorted(_assigned(ast.parse(source))):
        first = line
        while first - 1 in alone:
            first -= 1
        said = " ".join(comments[each] for each in range(first, line)) or comments.get(line, "")
        if name in names and said:
            found[name] = said[:_LONGEST]
    return found


def _assigned(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that is assigned, and every text that is the key of a dictionary, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for each in targets:
                key = each.slice if isinstance(each, ast.Subscript) else each
                yield from _named(key)
        elif isinstance(node, ast.Dict):
            for key in node.keys:
                yield from _named(key)


def _named(node: ast.expr | None) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Name):
        yield node.lineno, node.id
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
