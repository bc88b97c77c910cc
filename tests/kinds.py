"""The methods as parameters of tests that compile a whole training with each."""

import pytest

from latent_reward.credit.methods import METHODS


def every_method(experience, names=tuple(METHODS)):
    """All methods of one experience, or those of ``names``; those for whose kind another one stands are marked slow.

    Methods of a kind are one class, and differ in their settings or their network. The last of a kind stands for it,
    which reads latents if one does; ``dense``, which is told more than returns, stands for the references.
    """
    methods = {name: getattr(METHODS[name], experience) for name in names}
    fitting = [name for name, method in methods.items() if method is not None]
    last = [*fitting, *({"dense"} & set(fitting))]
    shown = set({_kind(methods[name]): name for name in last}.values())
    return [pytest.param(name, marks=[] if name in shown else pytest.mark.slow) for name in fitting]


def _kind(method):
    return type(method), method.reads, method.draws
