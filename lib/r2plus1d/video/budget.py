"""What one record may cost: bytes, pixels and time. A small file can ask for gigabytes or hours."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator

from r2plus1d.errors import RecordError

# Containers repeat a header for each packet and may compress packets, so that the packets of a
# sound file can have a few times its bytes. Small files may have this many bytes in any case.
SMALLEST_PACKET_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Budget:
    """The most that one record may take. The defaults are generous.

    Attributes:
        packet_bytes: of compressed packets, which are held in memory. 2 GiB is more than a database
            record can have.
        growth: bytes of packets for each byte of the file, where they exceed 64 MiB. A sound file
            has about 1; a file that names one sample many times has more.
        frame_pixels: pixels of one frame; 2**28 is 16384 x 16384.
        pixels: pixels of all decoded frames; 10**11 is 10,000 frames of 4096 x 2304.
        seconds: processor time of reading and decoding.
        memory: bytes of addresses of the process that decodes, which are somewhat more than the
            memory that it uses.
    """

    packet_bytes: int = 2**31
    growth: int = 16
    frame_pixels: int = 2**28
    pixels: int = 10**11
    seconds: float = 1800
    memory: int = 2**32


DEFAULT_BUDGET = Budget()


class Spending:
    """What one record has taken so far, held to its Budget.

    Args:
        budget: Budget.
        file_bytes: size of the encoded file.

    Attributes:
        packet_bytes: of packets that may be kept.
    """

    def __init__(self, budget: Budget, file_bytes: int) -> None:
        self._budget, self._file_bytes = budget, file_bytes
        grown = max(SMALLEST_PACKET_BYTES, budget.growth * file_bytes)
        self.packet_bytes = min(budget.packet_bytes, grown)
        self._pixels, self._seconds = 0, 0.0

    def too_many_packets(self) -> RecordError:
        """Return what is to be raised where packets have more bytes than may be kept."""
        return RecordError(
            f'over budget: more than {self.packet_bytes:,} bytes of packets '
            f'in a file of {self._file_bytes:,} bytes'
        )

    def require_pixels(self, num_frames: int, width: int, height: int) -> None:
        """Raise RecordError if so many more frames would have more pixels than allowed."""
        if self._pixels + num_frames * width * height > self._budget.pixels:
            raise RecordError(
                f'over budget: {num_frames} more frames of {width} x {height} make more than '
                f'{self._budget.pixels:,} pixels'
            )

    def count_affordable(self, width: int, height: int) -> int:
        """How many more frames of this size there may be, one that is only looked for included."""
        return (self._budget.pixels - self._pixels) // (width * height) - 1

    def add_frame(self, width: int, height: int) -> None:
        """Count a decoded frame; RecordError if that is one too many."""
        self.require_pixels(1, width, height)
        self._pixels += width * height

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the processor time of this thread within; RecordError if it is too much."""
        begin = time.thread_time()
        try:
            yield
        finally:
            self._seconds += time.thread_time() - begin
        if self._seconds > self._budget.seconds:
            raise RecordError(
                f'over budget: decoding takes more than {self._budget.seconds:g} seconds'
            )


@contextlib.contextmanager
def memory_errors_named() -> Iterator[None]:
    """Turn a MemoryError within into a RecordError: one record wants it, the run goes on."""
    try:
        yield
    except MemoryError:
        raise RecordError('not enough memory to decode it') from None
