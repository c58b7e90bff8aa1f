"""Pages in HTML that load nothing: what comes from files is shown as text, whatever it says."""

import base64
import datetime
import hashlib
import html
import pathlib
import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from r2plus1d.errors import printable

PARTS = pathlib.Path(__file__).with_name('page')
BAR = '<span class="bar"><i style="width:{:.1f}%"></i></span> '


class Column(NamedTuple):
    """A column of a table: its heading, and whether it holds numbers."""

    heading: str
    is_number: bool = False


def shown(text: object) -> str:
    """Return `text` as HTML that shows it; what is no Unicode is shown as a question mark."""
    plain = str(text).encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
    return html.escape(printable(plain))


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, is_sortable: bool = False
) -> str:
    """Return a table.

    Args:
        rows: cells in HTML, see `shown`.
        is_sortable: whether a click on a heading sorts it.
    """
    kinds = [' class="number"' if column.is_number else '' for column in columns]
    head = ''.join(f'<th{kind}>{shown(c.heading)}</th>' for kind, c in zip(kinds, columns))
    body = ''.join(
        '<tr>' + ''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, cells)) + '</tr>\n'
        for cells in rows
    )
    name = ' class="sortable"' if is_sortable else ''
    return (
        f'<div class="wide tall"><table{name}>\n<thead><tr>{head}</tr></thead>\n'
        f'<tbody>\n{body}</tbody></table></div>\n'
    )


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values, given as text."""
    rows = ''.join(
        f'<tr><th>{shown(name)}</th><td>{shown(value)}</td></tr>\n' for name, value in pairs
    )
    return f'<div class="wide"><table class="facts"><tbody>\n{rows}</tbody></table></div>\n'


def section(title: str, *parts: str) -> str:
    """Return a heading and what stands under it, in HTML."""
    return f'<h2>{shown(title)}</h2>\n' + ''.join(parts)


def paragraph(text: str) -> str:
    """Return a paragraph of a text."""
    return f'<p>{shown(text)}</p>\n'


def bar(share: float) -> str:
    """Return a bar of a length of 0 to 1 of the whole."""
    return BAR.format(100 * share)


def picture(kind: str, data: bytes) -> str:
    """Return the address of a picture that holds the picture itself.

    Args:
        kind: `png` or `jpeg`.
    """
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def page(*, title: str, summary: str, body: str, time: datetime.datetime) -> str:
    """Return a whole page, which may load nothing and run no script but its own.

    Args:
        title, summary: as text.
        time: when it was written, in UTC.
        body: in HTML.
    """
    style, script = (
        (PARTS / name).read_text(encoding='utf-8') for name in ('style.css', 'page.js')
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = string.Template((PARTS / 'page.html').read_text(encoding='utf-8'))
    return template.substitute(
        title=shown(title), summary=shown(summary), time=time.isoformat(timespec='seconds'),
        shown_time=f'{time:%Y-%m-%d %H:%M:%S} UTC', body=body,
        style=style, script=script, script_hash=f'sha256-{digest}',
    )  # fmt: skip
