"""What a source says of its latents."""

import re
from collections.abc import Sequence

_LONGEST = 300  # characters


def explanations(source: str, names: Sequence[str]) -> dict[str, str]:
    """The explanation of each latent: the comment right above, or at the end of, the line that assigns it.

    The last such line counts; a latent without a comment is left out.
    """
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in source.splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.lstrip("# ").strip())
            continue
        made = re.match(r"""["']?([A-Za-z][\w ./%-]*?)["']?\s*(?:=(?!=)|:\s)""", text)
        trailing = re.search(r"\s#\s*([^\"'#]+)$", line)
        said = " ".join(comment) or (trailing[1].strip() if trailing else "")
        if made and made[1] in names and said:
            found[made[1]] = said[:_LONGEST]
        comment = []
    return found
