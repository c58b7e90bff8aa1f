"""A report on an evaluation: one page in HTML, without parts from elsewhere."""

import datetime
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Callable, NamedTuple, Optional, Union

import cv2
import numpy as np

from r2plus1d.errors import RecordError
from r2plus1d.evaluation.intervals import wilson
from r2plus1d.evaluation.outcomes import Outcome
from r2plus1d.evaluation.tally import Measure, Tally
from r2plus1d.pictures import confusion
from r2plus1d.pictures.html_page import (
    Column,
    bar,
    facts,
    page,
    paragraph,
    picture,
    section,
    shown,
    table,
)  # fmt: skip
from r2plus1d.results.complete import complete_file
from r2plus1d.video.budget import DEFAULT_BUDGET, Budget
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.spread_frames import spread_frames

FRAMES, FRAME_HEIGHT = 6, 96  # of a mistake; pixels
JPEG_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 80)
MOST_PAIRS = 30
NAMES_OF_OTHERS = 3  # classes that a mistake names beside the best one

VideoOf = Callable[[Outcome], Union[bytes, str]]
Facts = Mapping[str, Iterable[tuple[str, object]]]


class Pictures(NamedTuple):
    """Where the frames of the mistakes are from.

    Attributes:
        video_of: gives the bytes of a video, or its path; raises RecordError.
        budget: Budget of each.
    """

    video_of: VideoOf
    budget: Budget = DEFAULT_BUDGET


def write_report(
    path: pathlib.Path,
    tally: Tally,
    *,
    title: str,
    class_names: Optional[Sequence[str]],
    facts_of_run: Facts,
    pictures: Union[Pictures, str],
    failures_known: bool = True,
) -> None:
    """Write the page; it appears at `path` when it is complete.

    Args:
        class_names: of the classes, in order; None for numbers.
        facts_of_run: {heading: (name, value) pairs}, what the run was made with.
        pictures: Pictures, or why there are none.
        failures_known: whether `tally` would know of records that failed.
    """
    names = class_names or [str(number) for number in range(tally.num_labels)]
    body = [
        section('Accuracy', _accuracies(tally)),
        section('Records that failed', *_failures(tally, failures_known)),
        section('Classes', _classes(tally, names)),
        section('Confusion matrix', *_matrix(tally, names)),
        section('Classes that are confused', _pairs(tally, names)),
        section('The surest mistakes', *_mistakes(tally, names, pictures)),
        *(section(heading, facts(pairs)) for heading, pairs in facts_of_run.items()),
    ]
    write_page(path, title=title, summary=_summary(tally, failures_known), body=''.join(body))


def write_page(path: pathlib.Path, *, title: str, summary: str, body: str) -> None:
    """Write a page with the time; it appears at `path` when it is complete."""
    time = datetime.datetime.now(datetime.timezone.utc)
    text = page(title=title, summary=summary, body=body, time=time)
    with complete_file(path, 'w', encoding='utf-8', private=True) as file:
        file.write(text)


def _summary(tally, failures_known):
    failed = f', {tally.num_failed} failed' if failures_known else ''
    return f'{tally.num_scored} videos of {tally.num_labels} classes were scored{failed}.'


MEASURES = (
    Column('accuracy'), Column('share', True), Column('95% interval', True),
    Column('right', True), Column('of', True),
)  # fmt: skip


def _accuracies(tally):
    note = (
        'The intervals are Wilson score intervals. That of the clip accuracy takes a video for '
        'one trial, because the clips of one video are alike.'
    )
    return table(MEASURES, map(measure_cells, tally.measures())) + paragraph(note)


def measure_cells(measure: Measure) -> Sequence[str]:
    """Return the cells of MEASURES."""
    return [
        shown(measure.name), f'{measure.share:.5f}', interval(measure.low, measure.high),
        f'{measure.right}', f'{measure.total}',
    ]  # fmt: skip


def interval(low: float, high: float) -> str:
    """Return an interval as text, to three decimals."""
    return f'{low:.3f} to {high:.3f}'


def _failures(tally, failures_known):
    if not failures_known:
        yield paragraph('The predictions do not say which records failed.')
    elif not tally.num_failed:
        yield paragraph('None.')
    else:
        columns = Column('records', True), Column('reason'), Column('the first one')
        yield table(
            columns,
            ([f'{r.records}', shown(r.text), shown(r.record)] for r in tally.reasons),
        )
        yield paragraph('Reasons that differ in numbers only are counted together.')


def _classes(tally, names):
    columns = (
        Column('class'), Column('videos', True), Column('right', True), Column('top 1', True),
        Column('95% interval', True), Column(f'top {tally.top_k}', True),
        Column('most often taken for'),
    )  # fmt: skip
    columns = columns if tally.top_k > 1 else (*columns[:5], columns[6])
    worst = _most_confused_with(tally)
    found = np.flatnonzero(tally.videos)
    order = found[np.argsort((tally.right / np.maximum(tally.videos, 1))[found], kind='stable')]
    rows = table(
        columns, (_class_row(tally, names, c, worst.get(c)) for c in order.tolist()),
        is_sortable=True,
    )  # fmt: skip
    absent = tally.num_labels - len(found)
    if not absent:
        return rows
    return rows + paragraph(f'{absent} of {tally.num_labels} classes have no videos here.')


def _most_confused_with(tally):
    """{label: (best class, videos)} of the class that each is most often taken for."""
    worst = {}
    for (label, best), count in sorted(tally.confused.items()):
        if count > worst.get(label, (0, 0))[1]:
            worst[label] = best, count
    return worst


def _class_row(tally, names, c, worst):
    videos, right = int(tally.videos[c]), int(tally.right[c])
    within = [f'{tally.right_within[c] / videos:.3f}'] if tally.top_k > 1 else []
    other = f'{shown(names[worst[0]])} ({worst[1]})' if worst else ''
    share = right / videos
    return [
        shown(names[c]), f'{videos}', f'{right}', f'{bar(share)}{share:.3f}',
        interval(*wilson(share, videos)), *within, other,
    ]  # fmt: skip


def _matrix(tally, names):
    classes = confusion.choose_classes(tally.videos)
    if len(classes) < tally.num_labels:
        yield paragraph(f'The {len(classes)} classes with the most videos, of {tally.num_labels}.')
    yield paragraph(
        'A row has the videos of a class, a column what they are taken for. Blue is right, red is '
        'wrong; the darker, the larger the share of the row. Grey rows have no videos.'
    )
    yield (
        '<input type="checkbox" id="full"> <label for="full">full size, with legible names'
        '</label> <output id="cell"></output>\n<div class="wide">'
    )
    matrix = confusion.matrix_of(tally.confused, tally.right, classes)
    yield confusion.draw_matrix(matrix, tally.videos[classes], [names[c] for c in classes])
    yield '</div>\n'


def _pairs(tally, names):
    if not tally.confused:
        return paragraph('None: every video is right.')
    columns = (
        Column('class'), Column('taken for'), Column('videos', True),
        Column('of the class', True), Column('share', True),
    )  # fmt: skip
    pairs = sorted(tally.confused.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]
    rows = (
        [
            shown(names[label]), shown(names[best]), f'{count}', f'{tally.videos[label]}',
            f'{count / tally.videos[label]:.3f}',
        ]
        for (label, best), count in pairs
    )  # fmt: skip
    return table(columns, rows, is_sortable=True)


def _mistakes(tally, names, pictures) -> Iterator[str]:
    if not tally.confused:
        yield paragraph('None: every video is right.')
        return
    wrong = sum(tally.confused.values())
    mistakes = tally.mistakes
    yield paragraph(
        f'The {len(mistakes)} wrong videos of {wrong} whose best class is the most probable.'
    )
    if isinstance(pictures, str):
        yield paragraph(pictures)
    for outcome in mistakes:
        seen = '' if isinstance(pictures, str) else _seen(outcome, pictures)
        yield f'<figure>{seen}<figcaption>{_caption(outcome, names)}</figcaption></figure>\n'


def _caption(outcome, names):
    others = list(zip(outcome.ranking, outcome.probabilities))[1 : 1 + NAMES_OF_OTHERS]
    then = ', '.join(f'{shown(names[c])} {p:.4f}' for c, p in others)
    named = outcome.video or f'record {outcome.key}'
    return (
        f'<code>{shown(named)}</code><br><b class="gained">{shown(names[outcome.label])}</b> is '
        f'taken for <b class="lost">{shown(names[outcome.ranking[0]])}</b> with '
        f'{outcome.probabilities[0]:.4f}' + (f'; then {then}' if then else '')
    )


def _seen(outcome, pictures):
    """Frames of the video beside each other, or why there are none, in HTML."""
    try:
        frames = DECODERS.call(
            pictures.budget, spread_frames, pictures.video_of(outcome), pictures.budget,
            count=FRAMES, height=FRAME_HEIGHT,
        )  # fmt: skip
    except RecordError as error:
        return paragraph(f'No frames: {error.reason}')
    row = np.concatenate(frames, axis=1)[..., ::-1]
    done, data = cv2.imencode('.jpg', np.ascontiguousarray(row), JPEG_QUALITY)
    assert done
    width = row.shape[1]
    return (
        f'<img src="{picture("jpeg", data.tobytes())}" width="{width}" height="{FRAME_HEIGHT}" '
        'alt="frames of the video">'
    )
