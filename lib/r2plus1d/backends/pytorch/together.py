"""A batch computed by several threads, each with some of its clips, as if one computed them all.

PyTorch's own threads share each operator instead. The operators of narrow networks are too small
to gain by that.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Optional, TypeVar

import torch
from torch.nn import functional

from r2plus1d.backends.pytorch.device import threads_as_before

Result = TypeVar('Result')

MOST_SHARES = 8  # each holds gradients of its own; more threads work in pairs and so on


@contextlib.contextmanager
def together(threads: int) -> Iterator['Together']:
    """Give so many threads."""
    with ThreadPoolExecutor(MOST_SHARES, 'clips') as pool:
        yield Together(threads, pool)


class Together:
    """Threads that compute batches; made by `together`.

    Attributes:
        most_batches: so many batches can be computed at the same time.
    """

    def __init__(self, threads: int, pool: ThreadPoolExecutor) -> None:
        self._threads, self._pool = threads, pool
        self.most_batches = min(threads, MOST_SHARES)

    def shares(self, clips: int, batches: int = 1) -> list['Share']:
        """Return the shares of batches of so many clips; their lengths differ by one at most."""
        count = min(max(1, self.most_batches // batches), clips)
        ends = [clips * i // count for i in range(count + 1)]
        meetings = [Meeting(count) for _ in range(batches)]
        return [
            Share(batch, slice(ends[i], ends[i + 1]), (ends[i + 1] - ends[i]) / clips, i, meeting)
            for batch, meeting in enumerate(meetings)
            for i in range(count)
        ]

    def run(self, work: Callable[['Share'], Result], shares: Sequence['Share']) -> list[Result]:
        """Return `work` of each share, all at the same time, the first one in this thread."""
        threads = max(1, self._threads // len(shares))
        with threads_as_before():
            others = [self._pool.submit(_outcome, work, share, threads) for share in shares[1:]]
            outcomes = [_outcome(work, shares[0], threads), *(other.result() for other in others)]
        errors = [error for _, error in outcomes if error is not None]
        if errors:
            raise min(errors, key=_is_of_meeting)
        return [result for result, _ in outcomes]


def _outcome(work, share, threads):
    """Return (`work` of the share, its error); an error ends the meetings of the others."""
    try:
        torch.set_num_threads(threads)  # of this thread alone
        return work(share), None
    except BaseException as error:
        share.meeting.abort()
        return None, error


def _is_of_meeting(error):
    """Whether it says only that another share has an error."""
    return isinstance(error, threading.BrokenBarrierError)


class Meeting:
    """Where the threads of a batch hand each other what they have.

    Attributes:
        count: how many they are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._barrier = threading.Barrier(count)
        # One is written while the other is still read.
        self._tables: tuple[list[Any], list[Any]] = ([None] * count, [None] * count)
        self._rounds = [0] * count

    def gather(self, index: int, value: Any) -> list[Any]:
        """Give `value`, wait for the others, and return what all gave, in order."""
        table = self._tables[self._rounds[index] % 2]
        self._rounds[index] += 1
        table[index] = value
        self._barrier.wait()
        return list(table)

    def abort(self) -> None:
        """Let all who wait, or will wait, raise threading.BrokenBarrierError."""
        self._barrier.abort()


@dataclasses.dataclass(frozen=True)
class Share:
    """Some clips of a batch, which one thread computes.

    Attributes:
        batch: which batch.
        place: slice of its clips.
        weight: its part of the batch.
        index: which share of the batch it is.
        meeting: that of the batch's shares.
    """

    batch: int
    place: slice
    weight: float
    index: int
    meeting: Meeting

    def gather(self, value: Any) -> list[Any]:
        """Return the values that all shares of the batch give, in order."""
        return self.meeting.gather(self.index, value)

    def batch_norm(
        self,
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        mean: Optional[torch.Tensor],
        variance: Optional[torch.Tensor],
        *,
        share: float,
        epsilon: float,
    ) -> torch.Tensor:
        """Normalize N x C x T x H x W with the statistics of the whole batch.

        Args:
            mean, variance: the running statistics, (C,), which are updated in place, if any.
            share: of this batch in them.
        """
        found = self.gather((self.weight, *_statistics(data.detach(), scale.dtype)))
        center = sum(weight * own for weight, own, _ in found)
        spread = sum(weight * (own + (at - center) ** 2) for weight, at, own in found)
        if self.index == 0 and mean is not None and variance is not None:
            count = data.numel() / (data.shape[1] * self.weight)
            mean.lerp_(center, share)
            variance.lerp_(spread * (count / (count - 1)), share)
        return _Normalize.apply(data, scale, shift, center, spread, epsilon, self)


def _statistics(data, dtype):
    """(mean, biased variance) of each channel of N x C x ..., in `dtype`."""
    running = torch.zeros(2, data.shape[1], dtype=dtype)  # which nobody reads; theirs is the dtype
    return torch.batch_norm_update_stats(data, *running, 1.0)


class _Normalize(torch.autograd.Function):
    """(data - center) / sqrt(spread + epsilon) * scale + shift.

    All shares made center and spread, so the gradient by the data goes through them too:
    factor * (gradient - its mean - normalized data * the mean of their product), with the factor
    scale / sqrt(spread + epsilon). The kernels are those of PyTorch's own batch norm.
    """

    @staticmethod
    def forward(ctx, data, scale, shift, center, spread, epsilon, share):
        ctx.save_for_backward(data, scale, center, spread)
        ctx.epsilon, ctx.share = epsilon, share
        return _normalize(data, center, spread, scale, shift, epsilon)

    @staticmethod
    def backward(ctx, gradient):
        data, scale, center, spread = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        _, *own = torch.ops.aten.native_batch_norm_backward(
            gradient, data, scale, center, spread, None, None, False, ctx.epsilon,
            [False, True, True],
        )  # fmt: skip
        count = data.numel() / (data.shape[1] * ctx.share.weight)
        # In bfloat16 all terms have the same rounded factor, so that they still cancel.
        factor = (scale * torch.rsqrt(spread + ctx.epsilon)).to(data.dtype)
        products, gradients = (-factor.to(scale.dtype) / count * sum(each)
                               for each in zip(*ctx.share.gather(own)))  # fmt: skip
        by_data = _normalize(data, center, spread, products, gradients, ctx.epsilon)
        by_data.addcmul_(gradient, factor[:, None, None, None])
        return by_data, *own, None, None, None, None


def _normalize(data, center, spread, scale, shift, epsilon):
    return functional.batch_norm(data, center, spread, scale, shift, False, 0.0, epsilon)
