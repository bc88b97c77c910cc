"""Write the record that examples/own_environment replays, from the answer beside it.

The record belongs to one question. Run this after a change of the prompt, of the example's task or of its answer:

    python scripts/record_example.py
"""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from latent_reward.design import make
from latent_reward.design.llm.ask import Reply
from latent_reward.design.prompt import find_protocol
from latent_reward.envs.named import allow_import

FOLDER = Path(__file__).parents[1] / "examples" / "own_environment"
MODEL = "example"


def main() -> None:
    """Design once, with the answer in the place of a model."""
    text = (FOLDER / "answer.json").read_text("utf-8")
    make.connect = lambda *_: lambda request: Reply(text, MODEL, 0, 0)
    sys.path.append(str(FOLDER))
    allow_import("canal")  # the module that the task names
    shutil.rmtree(FOLDER / "record", ignore_errors=True)
    with tempfile.TemporaryDirectory() as out:
        make.design_encoder(
            str(FOLDER / "Canal-v0.yaml"),
            model=MODEL,
            out=out,
            protocol=replace(find_protocol("improved"), candidates=1),
            record=FOLDER / "record",
        )


if __name__ == "__main__":
    main()
