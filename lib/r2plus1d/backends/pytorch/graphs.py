"""CUDA graphs: the launches of all kernels of a network, captured once, are one launch later."""

import contextlib
import logging
from typing import Any, Callable, NamedTuple

import torch

log = logging.getLogger(__name__)

Values = dict[str, torch.Tensor]


class Captured(NamedTuple):
    """A graph, the memory that it reads and the memory that it fills."""

    graph: Any
    given: torch.Tensor
    made: Values


class GraphRunner:
    """Calls a function of one tensor; from the third call with a shape on it replays a graph.

    The first call with a shape and a dtype is a plain one: cuDNN chooses its kernels in it, which
    cannot be captured. The second one captures. Where capturing fails, all calls are plain ones.

    Args:
        function: from a tensor on the current GPU to {name: tensor}; it waits for nothing.
    """

    def __init__(self, function: Callable[[torch.Tensor], Values]) -> None:
        self._function = function
        self._seen: set[Any] = set()
        self._captured: dict[Any, Captured] = {}
        self._is_plain = False

    def __call__(self, data: torch.Tensor) -> Values:
        """Return {name: tensor}, which the next call with such a tensor may fill anew.

        What reads them has to be in the current stream.
        """
        key = data.dtype, tuple(data.shape)
        if self._is_plain or key not in self._seen:
            self._seen.add(key)
            return self._function(data)
        if key not in self._captured and not self._is_captured(key, data):
            self._is_plain = True
            with contextlib.suppress(RuntimeError):  # PyTorch may take it for still capturing
                torch.cuda.empty_cache()
            return self._function(data)
        captured = self._captured[key]
        captured.given.copy_(data)
        captured.graph.replay()
        return captured.made

    def _is_captured(self, key, data):
        """Capture, or say why not. Once this has returned, nothing holds a failed one's memory."""
        try:
            self._captured[key] = self._capture(data)
        except RuntimeError as error:  # of memory, too: a graph keeps its own
            log.warning('runs without CUDA graphs: %s', str(error).strip().partition('\n')[0])
            return False
        return True

    def _capture(self, data):
        given, graph = torch.empty_like(data), torch.cuda.CUDAGraph()
        # A capture that fails may leave its own stream as the current one.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph):
            made = self._function(given)
        return Captured(graph, given, made)
