'use strict';

// A click on a heading sorts the table by that column, another click the other way round.
for (const table of document.querySelectorAll('table.sortable')) {
  table.querySelectorAll('thead th').forEach((heading, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener('click', () => sort(table, heading, column));
  });
}

function sort(table, heading, column) {
  const isNumber = heading.classList.contains('number');
  const before = heading.getAttribute('aria-sort');
  const first = isNumber ? 'descending' : 'ascending';
  const order = before ? (before === 'ascending' ? 'descending' : 'ascending') : first;
  for (const other of table.querySelectorAll('thead th')) other.removeAttribute('aria-sort');
  heading.setAttribute('aria-sort', order);
  const rows = [...table.tBodies[0].rows];
  const sign = order === 'ascending' ? 1 : -1;
  const text = (row) => row.cells[column].textContent;
  const value = isNumber ? (row) => number(text(row)) : text;
  const compare = isNumber
    ? (a, b) => (value(a) > value(b)) - (value(a) < value(b))
    : (a, b) => value(a).localeCompare(value(b), 'en', { numeric: true });
  rows.sort((a, b) => sign * compare(a, b));
  table.tBodies[0].append(...rows);
}

function number(text) {
  const value = parseFloat(text.replace('\u2212', '-'));
  return Number.isNaN(value) ? -Infinity : value;
}

// Beside the matrix stands which classes the cell under the pointer is of.
const matrix = document.querySelector('svg.matrix');
if (matrix) {
  const names = [...matrix.querySelectorAll('text.row')].map((text) => text.textContent);
  const image = matrix.querySelector('image');
  matrix.addEventListener('pointermove', (event) => {
    const box = image.getBoundingClientRect();
    const place = (at, from, length) => Math.floor((names.length * (at - from)) / length);
    const label = names[place(event.clientY, box.top, box.height)];
    const best = names[place(event.clientX, box.left, box.width)];
    const isCell = label !== undefined && best !== undefined;
    document.getElementById('cell').textContent = isCell ? `${label} taken for ${best}` : '';
  });
}
