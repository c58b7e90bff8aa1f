"""How far a share may be off by chance, and whether two of the same videos differ by more."""

import math

Z_95 = 1.959963984540054  # of the normal distribution, for 95%


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95% score interval of a share that was seen in `count` trials.

    Returns:
        (low, high), in 0 to 1; (0, 1) before any trial.
    """
    if not count:
        return 0.0, 1.0
    square = Z_95**2 / count
    middle = (share + square / 2) / (1 + square)
    half = Z_95 / (1 + square) * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of McNemar's exact test, two-sided.

    Args:
        only_first, only_second: videos that only one of two networks has right.

    Returns:
        The probability of a split at least as uneven, if both are as likely; 1 where no video
        tells them apart.
    """
    count, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    of_all = math.lgamma(count + 1) - count * math.log(2)
    tail = math.fsum(
        math.exp(of_all - math.lgamma(i + 1) - math.lgamma(count - i + 1)) for i in range(fewer + 1)
    )
    return min(1.0, 2 * tail)
