"""``lare encoders show`` prints what the folder holds: card, latents, source, figures of a dialogue."""

import numpy as np
import pytest

from latent_reward import cli
from latent_reward.encoder.bundled import bundled_folder
from latent_reward.encoder.card import Orders
from latent_reward.encoder.encoder import load, save, with_card


def lare(capsys, *words):
    cli.main(list(map(str, words)))
    return " ".join(capsys.readouterr().out.split())


def refused(capsys, *words):
    with pytest.raises(SystemExit) as end:
        cli.main(list(map(str, words)))
    assert end.value.code == 1
    return " ".join(capsys.readouterr().err.split())


def test_a_bundled_encoder_is_shown_with_goal_analysis_source_and_checks(capsys):
    text = lare(capsys, "encoders", "show", "Reacher-v5", "--draw", 1)
    encoder = load(bundled_folder("Reacher-v5", 1))
    for name, explanation in zip(encoder.latent_names, encoder.card.explanations, strict=True):
        assert name in text
        assert explanation in text
    assert "(paper) An arm of two links lies flat on a table" in text
    assert "written for this project" in text
    assert " ".join(encoder.source.split()) in text
    for name, detail in encoder.card.checks:
        assert f"passed {name}: {detail}" in text
    assert "analysis" in text
    assert "warning:" not in text


def test_a_designed_encoder_is_shown_with_everything_that_was_noted(capsys, tmp_path):
    names = load(bundled_folder("Reacher-v5", 0)).latent_names
    designed = with_card(
        load(bundled_folder("Reacher-v5", 0)),
        model="some-model-7b",
        explanations=tuple(f"says [why] {number}" for number in range(len(names))),
        protocol={"name": "improved", "candidates": 3},
        usage={"prompt_tokens": 1234, "dollars": None},
        score={
            "r2": 0.87654321,
            "latents": [{"name": names[0], "rank": 0.5, "reads": ["8", "9"]}],
            "warnings": ["z never changed"],
        },
        orders=Orders(tuple(np.random.default_rng(0).permutation(10).tolist()), (1, 0)),
        hygiene=("goal.paper: asks to act little",),
        goal="plain",
    )
    text = lare(capsys, "encoders", "show", save(designed, tmp_path / "enc"))
    for part in (
        "model some-model-7b",
        "name improved, candidates 3",
        "prompt_tokens 1234, dollars -",
        "r2 0.8765",
        f"{names[0]} 0.5 8, 9 says [why] 0",
        f"{names[1]} - - says [why] 1",
        "shuffled and renamed",
        "warning: goal.paper: asks to act little",
        "warning: z never changed",
        "(plain) An arm of two links",
    ):
        assert part in text, part


def test_encoders_alone_still_lists_them(capsys):
    assert "nearness, precision" in lare(capsys, "encoders")


def test_what_is_no_encoder_is_refused_with_a_remedy(capsys, tmp_path):
    assert "card.json is missing" in refused(capsys, "encoders", "show", tmp_path)
    assert "no encoder is bundled for the task" in refused(capsys, "encoders", "show", "Nothing-v0")
    assert "only 0, 1, 2" in refused(capsys, "encoders", "show", "Reacher-v5", "--draw", 9)
    folder = bundled_folder("Reacher-v5", 0)
    assert "leave --draw out" in refused(capsys, "encoders", "show", folder, "--draw", 1)
