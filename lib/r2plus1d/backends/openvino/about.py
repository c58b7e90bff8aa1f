"""What OpenVINO has on this machine."""

from r2plus1d.backends.openvino.core import core
from r2plus1d.backends.openvino.engine import CAPABILITIES


def devices() -> list[tuple[str, list[str]]]:
    """Return (name, precisions) of the processor."""
    known = core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    has = [name for name, capability in CAPABILITIES.items() if capability in known]
    return [('CPU', has)]
