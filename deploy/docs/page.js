// Search, and a form for each operation. The page says everything without them too.
const make = (name, more = {}, ...children) => { const element = Object.assign(document.createElement(name), more); element.append(...children); return element; };
const prefix = location.pathname.replace(/(\/api\/v1)?\/docs\/?$/, ''), entries = [...document.querySelectorAll('details.entry')];
const tools = document.getElementById('tools'), query = make('input', { type: 'search', id: 'query', autocomplete: 'off' }), count = make('span', { id: 'count' });
count.setAttribute('role', 'status');
const token = make('input', { id: 'token', type: 'password', autocomplete: 'off', spellcheck: false });
tools.append(make('label', {}, 'Search ', query), ' ', count, make('label', {}, 'Token ', token));
// Only `make run` has such a file.
fetch(`${prefix}/demo.json`).then(answer => (answer.ok ? answer.json() : null)).then(demo => {
  if (!demo) return;
  const use = make('button', { type: 'button', textContent: 'Use the demo token', onclick() { token.value = demo.Users[0].Token; room = demo.RoomID; for (const one of document.querySelectorAll('input[data-part=room]')) one.value ||= room; } });
  tools.append(use);
}, () => {});
let room = '';
tools.hidden = false;

const texts = new Map(entries.map(entry => [entry, entry.textContent.toLowerCase()]));
query.oninput = () => {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const entry of entries) {
    // Everything that is written in the summary is found before what stands below it.
    const hit = words.every(word => texts.get(entry).includes(word));
    entry.hidden = !hit;
    if (hit) found++;
  }
  for (const part of document.querySelectorAll('.part')) part.hidden = words.length > 0 && !part.querySelector('details.entry:not([hidden])');
  count.textContent = words.length ? `${found} found` : '';
};

for (const entry of document.querySelectorAll('details[data-method]')) entry.addEventListener('toggle', () => tryIt(entry), { once: true });
function tryIt(entry) {
  const { method, path, query: names = '', body } = entry.dataset, fields = new Map(), answer = make('pre', { tabIndex: 0, hidden: true }), form = make('form', { className: 'try' });
  answer.setAttribute('aria-live', 'polite');
  answer.setAttribute('aria-label', 'Answer');
  const field = (name, kind) => {
    const input = make('input', { autocomplete: 'off', value: name === 'room' ? room : '' });
    input.dataset.part = name;
    fields.set(name, { input, kind });
    form.append(make('label', {}, `${name} `, input));
  };
  for (const [, name] of path.matchAll(/\{(\w+)\}/g)) field(name, 'path');
  for (const name of names.split(' ').filter(Boolean)) field(name, 'query');
  const text = body === undefined ? null : make('textarea', { value: body, rows: Math.min(12, body.split('\n').length), spellcheck: false });
  if (text) form.append(make('label', {}, 'Body ', text));
  form.append(make('button', { textContent: `${method} it` }), answer);
  form.onsubmit = async event => {
    event.preventDefault();
    const address = prefix + path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(fields.get(name).input.value)), asked = new URLSearchParams();
    for (const [name, { input, kind }] of fields) if (kind === 'query' && input.value) asked.set(name, input.value);
    answer.hidden = false;
    answer.textContent = '…';
    const start = performance.now();
    try {
      const got = await fetch(address + (`${asked}` && `?${asked}`), { method, headers: { Accept: 'application/json', ...(token.value && { Authorization: `Bearer ${token.value}` }), ...(text && { 'Content-Type': 'application/json' }) }, body: text?.value });
      const said = await got.text();
      let shown = said;
      try { shown = JSON.stringify(JSON.parse(said), null, 2); } catch { /* Not JSON. */ }
      answer.textContent = `${got.status} ${got.headers.get('X-Request-ID') ?? ''} ${Math.round(performance.now() - start)} ms\n${shown}`;
    } catch (error) { answer.textContent = String(error); }
  };
  entry.append(make('h4', { textContent: 'Try it' }), form);
}
// An address with # opens what it names.
const open = () => { const target = document.getElementById(decodeURIComponent(location.hash.slice(1))); if (target?.tagName === 'DETAILS') { target.open = true; target.scrollIntoView(); } };
addEventListener('hashchange', open);
open();
