"""Work ahead of where it is needed: the order, how much of it, errors, and the end."""

import concurrent.futures
import signal
import threading
import time

import pytest

import bad_decoders
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.prefetch import prefetch, prefetch_streams


class Spy:
    """A generator function that notes who is at work."""

    def __init__(self, *, count=5, seconds=0.0, fails_at=None):
        self.count, self.seconds, self.fails_at = count, seconds, fails_at
        self.lock = threading.Lock()
        self.running = self.most_running = self.given = self.closed = 0

    def __call__(self, number):
        with self.lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            for i in range(self.count):
                if (number, i) == self.fails_at:
                    raise ValueError(f'stream {number} fails at {i}')
                time.sleep(self.seconds)
                with self.lock:
                    self.given += 1
                yield number, i
        finally:
            with self.lock:
                self.running -= 1
                self.closed += 1


def decoders():
    return [thread for thread in threading.enumerate() if thread.name.startswith('decode')]


def streams_of(spy, count, *, threads=3, streams=5, ahead=2):
    items = ((number,) for number in range(count))
    return prefetch_streams(spy, items, threads=threads, streams=streams, ahead=ahead)


@pytest.mark.parametrize('threads', [1, 2, 4])
@pytest.mark.parametrize('streams', [1, 3, 9])
@pytest.mark.parametrize('ahead', [1, 4])
def test_everything_once_in_order(threads, streams, ahead):
    spy = Spy(count=5)
    made = list(streams_of(spy, 7, threads=threads, streams=streams, ahead=ahead))
    assert made == [(number, i) for number in range(7) for i in range(5)]
    assert spy.closed == 7
    assert not decoders()


def test_streams_of_unequal_length():
    def stream(count):
        yield from range(count)

    lengths = [0, 3, 0, 0, 40, 1]
    made = prefetch_streams(stream, ((n,) for n in lengths), threads=2, streams=3, ahead=2)
    assert list(made) == [i for count in lengths for i in range(count)]
    assert list(prefetch_streams(stream, (), threads=2, streams=3, ahead=2)) == []


def test_streams_run_side_by_side():
    spy = Spy(count=3, seconds=0.02)
    list(streams_of(spy, 8, threads=4, streams=8))
    assert spy.most_running == 4


def test_no_more_is_made_than_there_is_room_for():
    spy = Spy(count=1000)
    taken = streams_of(spy, 100, threads=3, streams=5, ahead=2)
    for _ in range(10):
        next(taken)
    time.sleep(0.3)
    # Three run, each with two results in its queue and one in its hand.
    assert spy.given <= 10 + 3 * (2 + 1)
    assert spy.most_running == 3
    taken.close()


def test_items_are_taken_as_they_are_needed():
    asked = []

    def items():
        for number in range(100):
            asked.append(number)
            yield (number,)

    taken = prefetch_streams(Spy(count=2), items(), threads=2, streams=4, ahead=1)
    next(taken)
    assert len(asked) == 4
    taken.close()


@pytest.mark.parametrize('fails_at', [(0, 0), (2, 3)])
def test_an_error_comes_in_its_turn(fails_at):
    spy, made = Spy(count=5, fails_at=fails_at), []
    with pytest.raises(ValueError, match='stream {} fails at {}'.format(*fails_at)):
        for result in streams_of(spy, 50):
            made.append(result)
    assert len(made) == 5 * fails_at[0] + fails_at[1]
    assert not decoders()


def test_leaving_early_ends_the_threads_and_closes_the_streams():
    spy = Spy(count=10**9)
    taken = streams_of(spy, 50, threads=3, streams=6)
    next(taken)
    assert len(decoders()) == 3
    began = time.monotonic()
    taken.close()
    assert time.monotonic() - began < 5
    assert not decoders()
    assert spy.running == 0


def test_leaving_early_while_they_work():
    spy = Spy(count=10**9, seconds=0.01)
    taken = streams_of(spy, 50, threads=3, streams=6, ahead=1000)
    next(taken)
    taken.close()
    assert not decoders()
    assert spy.running == 0


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('ahead', [0, 2])
def test_results_in_order(threads, ahead):
    def square(number):
        time.sleep(0.002 * (number % 3))
        return number**2

    made = prefetch(square, ((n,) for n in range(20)), threads=threads, ahead=ahead)
    assert list(made) == [n**2 for n in range(20)]


def test_calls_are_bounded_and_errors_raised():
    called = []

    def call(number):
        called.append(number)
        if number == 12:
            raise ValueError('12')
        return number

    taken = prefetch(call, ((n,) for n in range(1000)), threads=2, ahead=3)
    next(taken)
    time.sleep(0.1)
    assert len(called) <= 6
    with pytest.raises(ValueError, match='12'):
        list(taken)
    assert len(called) <= 18
    assert not decoders()


@pytest.mark.parametrize('is_stream', [False, True])
def test_what_is_being_decoded_ends_with_the_work(is_stream):
    def sleep(_):
        return DECODERS.call(DEFAULT_BUDGET, bad_decoders.sleep, 600)

    def sleeps(_):
        yield sleep(_)

    items = ((i,) for i in range(9))
    if is_stream:
        made = prefetch_streams(sleeps, items, threads=2, streams=3, ahead=1)
    else:
        made = prefetch(sleep, items, threads=2, ahead=1)
    main = threading.get_ident()
    end = threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        end.start()
        next(made)
    end.join()
    made.close()
    assert not decoders()


def test_the_end_of_some_work_ends_no_other():
    """Threads end and begin all the time, and the system gives their numbers again."""

    def work():
        for _ in range(30):
            items = ((i,) for i in range(3))
            list(prefetch(call, items, threads=4, ahead=1))

    def call(number):
        return DECODERS.call(DEFAULT_BUDGET, bad_decoders.add, number)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
