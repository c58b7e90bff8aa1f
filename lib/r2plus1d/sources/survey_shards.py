"""A survey in shards: each shard has a log of its own, and the logs follow each other."""

from collections.abc import Iterator, Mapping
from typing import Any, Callable

from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.results.shards import ShardFolder
from r2plus1d.sources.survey import Finding
from r2plus1d.sources.survey_log import SurveyLog

FOUND = 'found'


def run_shard(
    shards: ShardFolder,
    shard: Shard,
    records: int,
    arguments: Mapping[str, Any],
    look: Callable[[SurveyLog, int, int], None],
    *,
    overwrite: bool = False,
) -> tuple[int, int]:
    """Look at the records of one shard; go on where an earlier run of it ended.

    Args:
        records: how many there are in all.
        arguments: plain data that decides the findings.
        look: is given the log, and the first and the last of the records that it gets.
        overwrite: begin this shard again.

    Returns:
        (records of the shard, those of them that fail).

    Raises:
        InputError: the folder of the shards has some of another count, or another process is at
            work on this shard.
    """
    begin, end = shard.part(records)
    with shards.holding(shard) as folder:
        shards.forget(shard)
        if overwrite:
            (folder / FOUND).unlink(missing_ok=True)
        with SurveyLog(folder / FOUND, arguments) as log:
            look(log, begin, end)
            failed = sum(finding.failure is not None for finding in log.findings())
        shards.finish(shard, begin, end, arguments, failed=failed)
    return end - begin, failed


def findings(shards: ShardFolder, records: int, arguments: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what all shards have found, in the order of the records.

    Raises:
        InputError: shards are missing or contradict each other; names them.
    """
    for each in shards.all(arguments, records, free=()):
        path = shards.folder(each.shard) / FOUND
        if each.begin < each.end and not path.is_file():
            raise InputError(f'{path} is not there; run shard {each.shard} again')
        with SurveyLog(path, each.arguments) as log:
            if log.done != each.end - each.begin:
                raise InputError(
                    f'{path} has {log.done} of {each.end - each.begin} records; run shard '
                    f'{each.shard} again'
                )
            yield from log.findings()
