"""tools/check_database.py: what it says of good and of bad records, and how it goes on."""

import csv
import os
import pathlib
import random
import re
import tracemalloc

import pytest

from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.errors import InputError
from r2plus1d.results.hold import holding
from r2plus1d.sources import survey as surveys
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.sources.survey import DatabaseEntries, FileEntries, Finding, ListEntries, survey
from r2plus1d.sources.survey_log import SurveyLog
from r2plus1d.sources.survey_summary import Summary
from r2plus1d.video.look import Look, look_at_video
from tool_here import run_here

TOOL = 'tools/check_database.py'
LOOK = Look('mp4', 'h264', 160, 120, 25.0, 40, 0, 'aa')


def failures(path):
    with path.open(newline='', encoding='utf-8') as file:
        return {row['record']: row['reason'] for row in csv.DictReader(file)}


def check(tmp_path, *arguments):
    output = tmp_path / 'check.csv'
    done = run_here(TOOL, *arguments, f'--output={output}')
    return done, failures(output) if output.exists() else None


@pytest.fixture
def damaged(make_video):
    """The bytes of a video in whose middle some are other ones."""
    raw = bytearray(make_video(40, seed=3).read_bytes())
    begin = raw.index(b'mdat') + 4
    for place in range((begin + len(raw)) // 2, len(raw) * 3 // 4):  # before the index, at the end
        raw[place] ^= 0x5A
    return bytes(raw)


def test_ten_kinds_of_fault(tmp_path, make_video, make_database, audio_only):
    good, other = make_video(40), make_video(30, 'mkv', seed=1)
    whole = good.read_bytes()
    records = [
        (whole, 0, None, 7),
        (other.read_bytes(), 3, None, 8),
        (b'no video \0', 1, None, 9),  # 2: not a video
        (whole[: len(whole) // 2], 1, None, 10),  # 3: cut short
        (audio_only, 1, None, 11),  # 4: no video stream
        (make_video(12, seed=2).read_bytes(), 1, None, 12),  # 5: too short
        (whole, 0, 30, 13),  # 6: too few frames after its start
        (whole, 9, None, 14),  # 7: a label that is too large
        (whole, (0, 1), None, 15),  # 8: several labels
        (whole, 0, None, None),  # 9: no video id
        (os.fsencode(good), 0, None, 16),  # 10: a path in the place of a video
        (whole, 0, None, 17),  # the same bytes as the first
        (whole, 1, None, 18),  # and with another label
        (other.read_bytes(), 3, None, 7),  # the video id of another
    ]
    database = make_database(records)
    done, bad = check(
        tmp_path, f'--test_data={database}', '--num_labels=5', '--get_video_id=1', '--decode=all'
    )
    assert done.returncode == 3, done.stderr
    expected = {
        2: 'not a video',
        3: 'truncated',
        4: 'no video stream',
        5: 'too few frames: 12, and a clip needs 16',
        6: 'too few frames: 40, and a clip from frame 30 needs 16',
        7: 'label 9 is out of range: 0 to 4',
        8: '2 labels; --multi_label=1 takes several',
        9: 'no video id',
        10: 'holds the path of a video',
    }
    assert sorted(int(key) for key in bad) == list(expected)
    for key, reason in bad.items():
        assert expected[int(key)] in reason
    out = done.stdout
    assert 'records: 14, usable: 5, failed: 9\n' in out
    assert 'labels: 0 to 9' in out
    assert 'missing: 2, 4' in out
    assert 'the same bytes as another record: 2 (' in out  # records 11 and 13
    assert 'the same bytes and other labels: 1 (' in out
    assert 'the video_id of another video: 1 (' in out
    assert re.search(r'^container: mov,mp4.* \(\d\), matroska,webm \(2\)$', out, re.MULTILINE)
    assert re.search(r'^size: 160x120 \(\d\)$', out, re.MULTILINE)
    assert 'failed, too few frames: 2\n' in out


def test_a_good_database(tmp_path, make_video, make_database):
    database = make_database([(make_video(20 + n, seed=n).read_bytes(), n % 2) for n in range(3)])
    done, bad = check(tmp_path, f'--test_data={database}')
    assert (done.returncode, bad) == (0, {})
    assert 'records: 3, usable: 3, failed: 0' in done.stdout
    assert 'frames of a video: 20 to 22, median 21' in done.stdout
    assert 'seconds of a video: 0.8 to 0.9, median 0.8' in done.stdout
    assert 'labels: 0 to 1, 2 classes, missing: none' in done.stdout
    assert 'records of a class: 1 to 2, median 1' in done.stdout
    assert not (tmp_path / 'check.csv.found').exists()


def test_every_frame_is_decoded_only_where_asked(tmp_path, make_database, damaged):
    database = make_database([(damaged, 0)])
    first, _ = check(tmp_path, f'--test_data={database}')
    every, _ = check(tmp_path, f'--test_data={database}', '--decode=all')
    assert 'damaged packets or frames: 0\n' in first.stdout
    assert 'damaged packets or frames: 1\n' in every.stdout


def test_what_is_wrong_with_a_video_that_can_be_read_is_a_warning(
    tmp_path, make_video, make_database, damaged
):
    two = make_video(40, 'avi').read_bytes() * 2
    path = tmp_path / 'two.avi'
    path.write_bytes(two)
    said = f'no part of such a file begins at byte {len(two) // 2}, where one should'
    done, bad = check(tmp_path, f'--videos={path}')
    assert (done.returncode, done.stderr, bad) == (0, f'{path}: {said}\n', {})
    sound = make_video(40).read_bytes()
    database = make_database([(sound, 0), (two, 0), (two, 0), (damaged, 0)])
    done, bad = check(tmp_path, f'--test_data={database}', '--decode=all')
    first, second = done.stderr.splitlines()
    assert first == f'record 1: {said}'
    assert second.startswith('record 3: FFmpeg logs ')
    assert (done.returncode, bad) == (0, {})


def test_a_list_with_bad_rows(tmp_path, make_video):
    good = make_video(40)
    rows = [f'{good},0,1', f'{tmp_path}/gone.mp4,0,2', f'{good},x,3', f'{good},7,4']
    path = tmp_path / 'list.csv'
    path.write_text('\n'.join(['org_video,label,video_id', *rows]))
    done, bad = check(tmp_path, f'--list_file={path}', '--num_labels=5', '--max_failures=3')
    assert done.returncode == 0
    assert list(bad) == ['line 3', 'line 4', 'line 5']
    assert 'does not exist' in bad['line 3']
    assert "label is 'x', not an integer" in bad['line 4']
    assert 'label 7 is out of range' in bad['line 5']


def test_a_folder(tmp_path, make_video):
    folder = tmp_path / 'videos'
    folder.mkdir()
    (folder / 'a.mp4').write_bytes(make_video(40).read_bytes())
    (folder / 'b.mkv').write_text('text')
    done, bad = check(tmp_path, '--videos', folder)
    assert done.returncode == 3
    assert list(bad) == ['1']
    assert 'labels: none\n' in done.stdout
    refused, _ = check(tmp_path, '--videos', folder, '--num_labels=3')
    assert refused.returncode == 1
    assert 'num_labels is for databases and lists' in refused.stderr


def test_a_database_of_paths(tmp_path, make_video, make_database):
    database = make_database([(make_video(40), 0), (tmp_path / 'gone.mp4', 1)])
    done, bad = check(tmp_path, f'--test_data={database}')
    assert done.returncode == 3
    assert list(bad.values()) == ['missing file']


def test_what_is_asked_for_is_one_place(tmp_path):
    for arguments in ([], ['--test_data=a', '--list_file=b']):
        done, _ = check(tmp_path, *arguments)
        assert done.returncode == 1
        assert 'give one of --test_data=LMDB, --list_file=CSV and --videos' in done.stderr


def test_an_interrupted_run_goes_on(tmp_path, make_video, make_database, monkeypatch):
    videos = [make_video(20 + n, seed=n).read_bytes() for n in range(4)]
    database = make_database([(video, 0) for video in videos])
    looked_at = []
    real = surveys._looked_at

    def interrupted(entry, decode_all, same):
        looked_at.append(entry.name)
        if len(looked_at) == 3:
            raise KeyboardInterrupt
        return real(entry, decode_all, same)

    with monkeypatch.context() as patch:
        patch.setattr(surveys, '_looked_at', interrupted)
        done, bad = check(tmp_path, f'--test_data={database}', '--num_decode_threads=1')
    assert (done.returncode, bad) == (130, None)
    found = tmp_path / 'check.csv.found'
    assert 'the same command goes on' in done.stderr
    lines = found.read_bytes().splitlines(keepends=True)
    assert 1 < len(lines) < 5
    found.write_bytes(b''.join(lines) + b'{"name": "torn')
    again, bad = check(tmp_path, f'--test_data={database}')
    assert (again.returncode, bad) == (0, {})
    assert f'{len(lines) - 1} of 4 records were looked at before' in again.stderr
    assert 'records: 4, usable: 4' in again.stdout
    assert not found.exists()


def test_two_runs_do_not_write_one_output(tmp_path, make_video):
    video = make_video(20)
    with holding(tmp_path / 'check.csv'):
        done, bad = check(tmp_path, '--videos', video)
    assert (done.returncode, bad) == (1, None)
    assert 'check.csv is being written by process' in done.stderr
    assert not (tmp_path / 'check.csv.found').exists()


def test_findings_of_files_that_changed_are_not_used(tmp_path, make_video, make_database):
    video = make_video(20)
    rows = tmp_path / 'list.csv'
    rows.write_text(f'org_video,label\n{video},0\n')
    database = make_database([(video, 0)])
    needs = RecordNeeds(None)

    def identities():
        sources = [ListEntries(rows, needs), DatabaseEntries(database, needs), FileEntries([video])]
        return [source.identity for source in sources]

    before = identities()
    assert identities() == before
    video.write_bytes(video.read_bytes() + b'more')
    assert not set(identities()) & set(before)


def test_what_another_survey_left_is_not_used(tmp_path):
    finding = Finding('a', '', (1,), None, None, LOOK, None)
    with SurveyLog(tmp_path / 'log', {'decode': 'all'}) as log:
        log.add(finding)
    with SurveyLog(tmp_path / 'log', {'decode': 'all'}) as log:
        assert log.done == 1
        assert list(log.findings()) == [finding]
    with SurveyLog(tmp_path / 'log', {'decode': 'first'}) as log:
        assert log.done == 0


def test_no_damage_of_a_log_is_taken_for_findings(tmp_path):
    path, rng = tmp_path / 'log', random.Random(0)
    known = [Finding(f'{n}', '', (n,), None, None, LOOK, None) for n in range(4)]
    with SurveyLog(path, {}) as log:
        for finding in known:
            log.add(finding)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with SurveyLog(path, {}) as log:
            assert log.done < 4
            assert list(log.findings()) == known[: log.done]
    path.write_bytes(whole)
    with SurveyLog(path, {}) as log:
        path.write_bytes(whole.replace(b'160', b'161'))
        with pytest.raises(InputError, match='log is damaged; remove it to begin again'):
            list(log.findings())


def test_a_video_of_several_records_is_looked_at_once(
    tmp_path, make_video, decode_here, monkeypatch
):
    video, other = make_video(40), make_video(30, seed=1)
    path = tmp_path / 'list.csv'
    rows = [f'{video},0,0', f'{video},0,8', f'{other},0,0', f'{video},0,30']
    path.write_text('\n'.join(['org_video,label,start_frm', *rows]))
    seen = []

    def look(source, *arguments, **keywords):
        seen.append(pathlib.Path(source).name)
        return look_at_video(source, *arguments, **keywords)

    monkeypatch.setattr(surveys, 'look_at_video', look)
    source = ListEntries(path, RecordNeeds(None))
    found = list(survey(source, required=16, decode_all=False, threads=1))
    assert seen == [video.name, other.name, video.name]
    assert [finding.failure is None for finding in found] == [True, True, True, False]


def test_a_record_that_is_none(tmp_path):
    with DatabaseWriter(tmp_path / 'db', 2) as writer:
        writer.add(Record(b'\0video', (0,)))
        writer.add(Record(b'\0other', (0,)))
    source = DatabaseEntries(tmp_path / 'db', RecordNeeds(None))
    assert len(source) == 2
    assert [entry.name for entry in source.entries(1)] == [list(source.entries(0))[1].name]


def test_a_summary_of_nothing():
    lines = list(Summary(None).lines())
    assert lines[0] == 'records: 0, usable: 0, failed: 0'
    assert 'codec: none' in lines


@pytest.mark.parametrize(('num_labels', 'missing'), [(None, 2**31 - 2), (10, 9)])
def test_a_label_of_two_billion_takes_no_memory(num_labels, missing):
    summary = Summary(num_labels)
    for label in (0, 2**31 - 1):
        summary.add(Finding('a', '', (label,), None, None, LOOK, None))
    tracemalloc.start()
    lines = list(summary.lines())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    expected = f'2 classes, missing: 1, 2, 3, 4, 5 and {missing - 5} more'
    assert any(expected in line for line in lines)
    assert peak < 1 << 20


def test_long_summaries_name_the_first_ones():
    summary = Summary(20)
    for number in range(12):
        look = LOOK._replace(width=100 + number, rate=None if number else 24.0)
        summary.add(Finding(str(number), '', (number,), None, None, look, None))
    lines = list(summary.lines())
    assert (
        'size: 100x120 (1), 101x120 (1), 102x120 (1), 103x120 (1), 104x120 (1), and 7 more' in lines
    )
    assert 'labels: 0 to 11, 12 classes, missing: 12, 13, 14, 15, 16 and 3 more' in lines
    assert any('and other labels: 11 (0 and 1; ' in line for line in lines)
