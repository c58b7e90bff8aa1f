"""What a weight file decides of a network and its input, and whether what is given agrees."""

import dataclasses
from collections.abc import Mapping

from r2plus1d.errors import InputError
from r2plus1d.networks.input import FlowSettings
from r2plus1d.networks.network import Network
from r2plus1d.weights.infer import Head, infer_flow, infer_heads, is_same_width
from r2plus1d.weights.stored import Stored

NO_NAMES: Mapping[str, str] = {}
NETWORK_FIELDS = tuple(f.name for f in dataclasses.fields(Network) if f.name != 'clip_length')


def flatten(given: Mapping[str, object]) -> dict[str, object]:
    """Return {field: value} with a FlowSettings in `flow` as fields of its own.

    Args:
        given: {field of Network or Input: value}.

    Returns:
        The same, with `input_type` (`rgb` or `flow`), `flow.gap`, `flow.aggregate` and
        `flow.data_type` in the place of `flow`.
    """
    flat = dict(given)
    if 'flow' in flat:
        flow = flat.pop('flow')
        flat['input_type'] = 'rgb' if flow is None else 'flow'
        if isinstance(flow, FlowSettings):
            flat.update({f'flow.{name}': value for name, value in vars(flow).items()})
    return flat


def decided(stored: Stored) -> dict[str, object]:
    """Return {field: value} of all that the file decides, as `flatten` names the fields."""
    found = {name: stored.network[name] for name in NETWORK_FIELDS if name in stored.network}
    if 'num_labels' in found:
        found['pred_layer_name'] = _last_layer(stored, found.get('pred_layer_name'))
    if 'clip_length' in stored.network:
        found['length'] = stored.network['clip_length']
    if stored.input:
        return {**found, **flatten(vars(stored.input))}
    data_type = infer_flow(stored.network)
    return {**found, 'input_type': 'flow', 'flow.data_type': data_type} if data_type else found


def require_agreement(
    stored: Stored,
    given: Mapping[str, object],
    *,
    names: Mapping[str, str] = NO_NAMES,
    hint: str = '',
) -> None:
    """Raise InputError for a given value that the file contradicts.

    Args:
        given: {field: value}, as `flatten` returns.
        names: {field: what the message calls it}, of fields with another name there.
        hint: what to do, the end of the message.
    """
    known = decided(stored)
    for field in (name for name in given if name in known):
        value = given[field]
        if field == 'pred_layer_name':
            value = _last_layer(stored, value)
        if value == known[field]:
            continue
        if field == 'width' and not stored.onnx and _are_same_widths(stored, value, known[field]):
            continue
        name = names.get(field, field)
        raise InputError(f'{name} is {value}, and {stored.path} is of {known[field]}{hint}')


def choose_head(
    stored: Stored, given: Mapping[str, object], *, names: Mapping[str, str] = NO_NAMES
) -> Stored:
    """Return `stored` with its last layer decided, where several layers may be the last.

    Args:
        given, names: as in `require_agreement`; num_labels or pred_layer_name choose.

    Raises:
        InputError: several layers fit what is given; the message names them.
    """
    heads = (
        infer_heads(stored.blobs) if stored.network and 'num_labels' not in stored.network else ()
    )
    if len(heads) < 2:
        return stored
    fitting = [head for head in heads if _fits(head, given)]
    if len(fitting) != 1:
        flags = ' or '.join(names.get(name, name) for name in ('num_labels', 'pred_layer_name'))
        layers = ', '.join(f'{head.name} ({head.labels} labels)' for head in fitting or heads)
        raise InputError(
            f'{stored.path} has several layers that may be the last: {layers}; give {flags}'
        )
    return dataclasses.replace(stored, network={**stored.network, **fitting[0].fields})


def _fits(head: Head, given: Mapping[str, object]) -> bool:
    name, labels = given.get('pred_layer_name'), given.get('num_labels')
    return name in (None, head.name) and labels in (None, head.labels)


def _last_layer(stored: Stored, name: object) -> object:
    """The name that the last layer has if `name` is given, None being the default."""
    return name or f'last_out_L{stored.network.get("num_labels")}'


def _are_same_widths(stored: Stored, one: object, other: object) -> bool:
    if not isinstance(one, (int, float)) or not isinstance(other, (int, float)):
        return False
    return is_same_width(one, other, architecture=str(stored.network.get('architecture')))
