"""How Caffe2 multiplies matrices on processors that are not Intel's."""

import os
import pathlib

CPUINFO = pathlib.Path('/proc/cpuinfo')
OTHER_MAKES = ('AuthenticAMD', 'HygonGenuine')
# The MKL in PyTorch 1.10 knows the instructions of Intel's processors only, and multiplies with
# SSE on all others. With this it takes AVX2, which was 3.7 times as fast on an EPYC.
MKL_KIND, AVX2 = 'MKL_DEBUG_CPU_TYPE', '5'


def use_avx2() -> None:
    """Let MKL use AVX2 where the processor has it; before anything is multiplied.

    What the variable is set to already stays.
    """
    if CPUINFO.is_file() and _needs_telling(CPUINFO.read_text()):
        os.environ.setdefault(MKL_KIND, AVX2)


def _needs_telling(info):
    words = frozenset(info.split())
    return 'avx2' in words and not words.isdisjoint(OTHER_MAKES)
