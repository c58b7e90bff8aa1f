"""The stages of a network, from the input on, and the parameters of each."""

import math
from typing import Optional

from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import BLOCKS

RANGE = '..'
HEAD = 'head'  # the last layer, and the one behind it for several labels


def stages(network: Network) -> dict[str, tuple[str, ...]]:
    """Return {stage: names of its trained parameters}, in the order of execution.

    The stages of a ResNet are stem, res2 to res5 and head; those of C3D are conv1 to conv5, fc6,
    fc7 and head.
    """
    found: dict[str, list[str]] = {}
    for name in graph.trace(network).trained:
        found.setdefault(_stage_of(name, network), []).append(name)
    return {stage: tuple(names) for stage, names in found.items()}


def _stage_of(name: str, network: Network) -> str:
    if name.startswith((f'{network.logits}_', 'pred_logit_')):
        return HEAD
    if network.is_c3d:
        return name[:3] if name.startswith('fc') else name[: len('conv1')]
    if name.startswith('conv1'):
        return 'stem'
    words = name.split('_')  # comp_3_conv_1_w, shortcut_projection_3_w
    block = int(next(word for word in words if word.isdigit()))
    for stage, count in enumerate(BLOCKS[network.depth], 2):
        if block < count:
            return f'res{stage}'
        block -= count
    raise AssertionError(name)


def frozen_names(network: Network, text: Optional[str]) -> tuple[str, ...]:
    """Return the names of the parameters of the stages that `text` names.

    Args:
        text: a stage, or the first and the last of several, such as `stem..res4`; None for none.

    Raises:
        InputError: no such stages, or the last layer is among them.
    """
    if text is None:
        return ()
    chosen, found = _range_of('freeze', text, network), stages(network)
    if HEAD in chosen:
        raise InputError(f'freeze is {text}; the last layer is what is trained')
    return tuple(name for stage in chosen for name in found[stage])


def layer_rates(network: Network, text: Optional[str]) -> dict[str, float]:
    """Return {trained parameter: factor of its learning rate} of the stages that `text` names.

    Args:
        text: stages and their factors, such as `stem..res3=0,res4=0.1,head=10`; None for none.

    Raises:
        InputError: no such stages, a stage twice, a factor that is not a number from 0 on, or
            the last layer's is 0.
    """
    if text is None:
        return {}
    found = stages(network)
    factors: dict[str, float] = {}
    for part in text.split(','):
        names, _, factor = part.partition('=')
        for stage in _range_of('layer_rates', names.strip(), network):
            if stage in factors:
                raise InputError(f'layer_rates is {text}; {stage} is in it twice')
            factors[stage] = _factor(factor, text)
    if factors.get(HEAD) == 0:
        raise InputError(f'layer_rates is {text}; the last layer is what is trained')
    return {name: factor for stage, factor in factors.items() for name in found[stage]}


def _factor(word: str, text: str) -> float:
    try:
        factor = float(word)
    except ValueError:
        factor = math.nan
    if not 0 <= factor < math.inf:
        raise InputError(
            f'layer_rates is {text}; after each = is a number from 0 on, and {word!r} is none'
        )
    return factor


def _range_of(flag: str, text: str, network: Network) -> list[str]:
    """The stages that a text names: one, or from the first to the last of several."""
    known = list(stages(network))
    first, dots, last = text.partition(RANGE)
    ends = (first, last if dots else first)
    if any(end not in known for end in ends) or known.index(ends[0]) > known.index(ends[1]):
        raise InputError(
            f'{flag} is {text}; a stage of {", ".join(known[:-1])}, or the first and the last of '
            f'several, such as {known[0]}{RANGE}{known[-2]}'
        )
    return known[known.index(ends[0]) : known.index(ends[1]) + 1]
