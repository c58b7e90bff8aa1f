r"""What is in a database, list or folder of videos, and what of it would fail, before a long run.

Example:
    .venv/bin/python tools/check_database.py \
        --test_data=data/sample/test_lmdb --decode=all --output=output/check.csv
"""

import _start  # noqa: F401

# isort: split

import contextlib
import functools
import logging
import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.cli.sharding import is_sharded
from r2plus1d.datasets.video_files import find_videos
from r2plus1d.errors import InputError, printable
from r2plus1d.results.complete import complete_csv, require_place
from r2plus1d.results.hold import holding
from r2plus1d.results.progress import Progress
from r2plus1d.results.shards import ShardFolder
from r2plus1d.sources import survey_shards
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.sources.survey import DatabaseEntries, FileEntries, ListEntries, survey
from r2plus1d.sources.survey_log import SurveyLog
from r2plus1d.sources.survey_summary import Summary

log = logging.getLogger(__name__)

RECORDS_BETWEEN_LINES = 1000
HEADER = ('record', 'path', 'video_id', 'reason')
OPTIONS = {
    'test_data': (pathlib.Path, None, 'LMDB of videos or of their paths'),
    'list_file': (pathlib.Path, None, 'or a CSV list of org_video,label and more'),
    'videos': (flag_types.paths, None, 'or files, folders, .txt lists of paths'),
    'output': (flag_types.written, pathlib.Path('check.csv'), 'CSV of the records that would fail'),
    'decode': (
        flag_types.one_of('first', 'all'),
        'first',
        'first: open each video, count its frames and decode one; all: decode every frame',
    ),
    'clip_length_rgb': (flag_types.integer(1), 16, 'frames of a clip, which a video has to have'),
    'sampling_rate_rgb': (flag_types.integer(1), 1, 'step between the frames of a clip'),
    'num_labels': (flag_types.integer(1), None, 'number of classes; larger labels fail'),
    'multi_label': (flag_types.bit, False, '1: several labels a video'),
    'get_video_id': (flag_types.bit, False, '1: every record must have a video id'),
    'num_decode_threads': (flag_types.integer(1), 4, 'videos looked at at the same time'),
    'max_failures': (flag_types.integer(0), 0, 'exit status 3 if more records fail'),
    'overwrite': (flag_types.bit, False, '1: begin again what an interrupted run left'),
}


def main():
    args = command_line.parse(__doc__, OPTIONS, flags.SHARDS, positional=('videos',))
    sharded = is_sharded(args)
    require_place(args.output)
    source = source_of(args)
    if sharded:
        return in_shards(args, source)
    with holding(args.output):
        return report(args, in_one_run(args, source))


def in_one_run(args, source):
    """Look at all records, write the CSV, and return the Summary."""
    partial = args.output.with_name(f'{args.output.name}.found')
    if args.overwrite:
        partial.unlink(missing_ok=True)
    with SurveyLog(partial, arguments_of(args, source)) as found:
        if found.done:
            log.info('%d of %d records were looked at before', found.done, len(source))
        look(args, source, found, 0, len(source))
        summary = summarize(args, found.findings())
        found.remove()
    return summary


def in_shards(args, source):
    """Look at one shard, or put all together; the last shard does that too."""
    shards, arguments = ShardFolder(args.output), arguments_of(args, source)
    if args.shard:
        records, failed = survey_shards.run_shard(
            shards, args.shard, len(source), arguments,
            functools.partial(look, args, source), overwrite=args.overwrite,
        )  # fmt: skip
        print(f'shard {args.shard}: records: {records}, failed: {failed}', flush=True)
    with shards.merging(args.shard) as is_mine:
        if not is_mine:
            return 0
        summary = summarize(args, survey_shards.findings(shards, len(source), arguments))
        shards.remove()
    return report(args, summary)


def summarize(args, findings):
    """Write the CSV of the records that fail; return the Summary."""
    summary = Summary(args.num_labels)
    with complete_csv(args.output, HEADER) as write_row:
        for finding in findings:
            summary.add(finding)
            if finding.failure is not None:
                write_row([finding.name, finding.path, finding.video_id, finding.failure])
    return summary


def report(args, summary):
    """Print the summary and return the exit status."""
    print(*map(printable, summary.lines()), args.output, sep='\n')
    return TOO_MANY_FAILURES if summary.failed > args.max_failures else 0


def source_of(args):
    given = [name for name in ('test_data', 'list_file', 'videos') if getattr(args, name)]
    if len(given) != 1:
        raise InputError('give one of --test_data=LMDB, --list_file=CSV and --videos')
    needs = RecordNeeds(args.num_labels, multi_label=args.multi_label, video_id=args.get_video_id)
    if args.test_data:
        return DatabaseEntries(args.test_data, needs)
    if args.list_file:
        return ListEntries(args.list_file, needs)
    for name in ('num_labels', 'multi_label', 'get_video_id'):
        if name in args.given:
            raise InputError(f'{name} is for databases and lists; video files have no labels')
    return FileEntries(find_videos(args.videos))


def arguments_of(args, source):
    names = ('decode', 'clip_length_rgb', 'sampling_rate_rgb', 'num_labels', 'multi_label',
             'get_video_id')  # fmt: skip
    return {'identity': source.identity, **{name: getattr(args, name) for name in names}}


def look(args, source, found, begin, end):
    """Add what is missing of a part to the findings; an interruption says how to go on."""
    required = (args.clip_length_rgb - 1) * args.sampling_rate_rgb + 1
    findings = survey(
        source, first=begin + found.done, last=end, required=required,
        decode_all=args.decode == 'all', threads=args.num_decode_threads,
    )  # fmt: skip
    failed, total = 0, end - begin
    with (
        contextlib.closing(findings),
        Progress(total, unit='records', every=RECORDS_BETWEEN_LINES, done=found.done) as progress,
    ):
        try:
            for finding in findings:
                found.add(finding)
                failed += finding.failure is not None
                progress.step(f'failed: {failed}')
        except KeyboardInterrupt:
            log.info('%d of %d records are in %s; the same command goes on', found.done, total,
                     found.path)  # fmt: skip
            raise


if __name__ == '__main__':
    run(main)
