"""To a cluster of Ray and back: what Ray does to this process ends with it."""

import contextlib
import importlib.util
import logging
import os
import pathlib
import signal
import socket
from collections.abc import Iterator
from typing import Any

from r2plus1d.cluster.needs import Needs
from r2plus1d.errors import InputError

log = logging.getLogger(__name__)

AUTO = 'auto'
CLIENT = 'ray://'
LOCAL = '127.0.0.1'
SECONDS_FOR_ANSWER = 10
STORE_BYTES = 80 << 20  # of Ray's objects; the least that Ray takes, as nothing large goes there


def require_ray() -> None:
    """Raise InputError unless the package is installed."""
    if importlib.util.find_spec('ray') is None:
        raise InputError(
            "--ray needs the package ray: pip install 'r2plus1d[ray]', with Python 3.10 or later"
        )


@contextlib.contextmanager
def connected(address: str, needs: Needs) -> Iterator[None]:
    """Be a driver of a cluster within the block.

    Args:
        address: HOST:PORT of the cluster's head, or `auto`: the cluster that runs on this machine,
            and where none does, one that is started here, for this process alone.
        needs: of the actors; a cluster of this machine alone has to have that much.

    Raises:
        InputError: there is no cluster, or this machine is too small.
    """
    require_ray()
    if address.startswith(CLIENT):
        raise InputError(
            f'ray is {address}; run this on a machine of the cluster, with auto or HOST:PORT'
        )
    os.environ['RAY_USAGE_STATS_ENABLED'] = '0'  # nothing is reported
    os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
    with contextlib.ExitStack() as stack:
        with _kept_signals():
            import ray

            stack.enter_context(_quiet())
            stack.callback(ray.shutdown)
            if not _connect(ray, address):
                _start(ray, needs)
        yield


def _connect(ray: Any, address: str) -> bool:
    """Connect to a cluster; False if `auto` finds none."""
    known = os.environ.get('RAY_ADDRESS', AUTO) if address == AUTO else address
    with contextlib.ExitStack() as stack:
        if known != AUTO:
            host = _require_answer(known)
            if host in (LOCAL, 'localhost'):
                stack.enter_context(_local_addresses())
        try:
            ray.init(address=known, configure_logging=False, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            if known == AUTO and isinstance(error, ConnectionError):
                return False
            raise InputError(f'ray is {known}: {str(error).strip().splitlines()[0]}') from None
    log.info('Ray: the cluster at %s', ray.get_runtime_context().gcs_address)
    return True


def _require_answer(address):
    """Return the host of HOST:PORT, once something there takes a connection: Ray waits for long."""
    host, _, port = address.rpartition(':')
    if not (host and port.isdecimal()):
        raise InputError(f'ray is {address}; give auto, or HOST:PORT of the head of a cluster')
    try:
        socket.create_connection((host, int(port)), SECONDS_FOR_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise InputError(f'ray is {address}, where no cluster answers: {error}') from None
    return host


def _start(ray: Any, needs: Needs) -> None:
    """Start a cluster of this machine that listens on this machine only."""
    with _local_addresses():
        ray.init(
            address='local',
            include_dashboard=False,
            configure_logging=False,
            log_to_driver=False,
            object_store_memory=STORE_BYTES,
        )
    resources = ray.cluster_resources()
    if not needs.fitting(resources):
        raise InputError(f'an actor takes {needs}; this machine has {_shown(resources)}')
    log.info(
        'Ray: no cluster runs here; one was started on %s with %s, which ends with this run',
        LOCAL, _shown(resources),
    )  # fmt: skip


def _shown(resources):
    return str(Needs(int(resources.get('CPU', 0)), int(resources.get('GPU', 0))))


@contextlib.contextmanager
def _local_addresses():
    """Let Ray take 127.0.0.1 for this machine's address, as it does by itself on macOS."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _kept_signals():
    """Put the handler of SIGTERM back that Ray replaces by one that ends the process."""
    before = signal.getsignal(signal.SIGTERM)
    is_told = False
    try:
        yield
    except SystemExit as end:
        is_told = end.code == signal.SIGTERM
        if not is_told:
            raise
    finally:
        signal.signal(signal.SIGTERM, before)
        if is_told:
            signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def _quiet():
    """Keep from stdout and stderr what Ray says of its own processes."""
    logger = logging.getLogger('ray')
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with pathlib.Path(os.devnull).open('w') as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        logger.setLevel(before)
