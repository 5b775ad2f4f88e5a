// Two people of `make run` side by side: each pane is a separate client with its own store. See clients/js.
import { Chat, IndexedDBStore } from './chat.js';
import { onPushOpen, pushState, renewPush, subscribePush, unsubscribePush } from './push.js';
import { draw as drawHash } from './blurhash.js';
import { fill, language, words } from './words.js';

document.documentElement.lang = language;
document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr';
document.title = words.title;
for (const part of document.querySelectorAll('[data-word]')) part.textContent = words[part.dataset.word];
const languages = document.getElementById('languages');
languages.setAttribute('aria-label', words.language);
languages.querySelector(`[lang=${language}]`).setAttribute('aria-current', 'true');

/** A new element. `role` and `aria-…` are attributes, everything else is a property. */
function make(name, more = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(more)) {
    if (/^(role|aria-|for$)/.test(key)) element.setAttribute(key, value); else element[key] = value;
  }
  element.append(...children.filter(child => child != null));
  return element;
}
const time = text => new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' }).format(new Date(text));
const size = bytes => new Intl.NumberFormat(language, { style: 'unit', unit: bytes < 1e6 ? 'kilobyte' : 'megabyte', maximumFractionDigits: 1 }).format(bytes / (bytes < 1e6 ? 1e3 : 1e6));
const reactions = ['👍', '❤️', '😂'], panes = [], moments = [];
/** A picture of the page's own site: its policy allows no others. */
const pictureOf = profile => { try { const place = new URL(profile?.Avatar, location.href); return profile.Avatar && place.origin === location.origin ? place.href : null; } catch { return null; } };
const summary = message => (message.Status === 'deleted' ? words.deleted : message.File?.Name ?? message.Content);
let number = 0;

function pane({ Name, ID, Token }, others, first) {
  const chat = new Chat({ token: Token, store: new IndexedDBStore(`demo-${ID}`) }), key = `pane-${number++}`;
  const pictures = new Map(), rows = new Map();
  /** As the host calls them. */
  const nameOf = user => chat.profiles.get(user)?.Name || panes.find(one => one.id === user)?.Name || user.slice(0, 8);
  let current = first, parent = null, change = null, older = null;

  // -- The parts of the pane
  const state = make('p', { role: 'status', className: 'state' }), presence = make('p', { className: 'presence' }), counters = make('p', { className: 'counters' });
  const list = make('ul', { className: 'plain rooms' }), roomName = make('input', { maxLength: 100, autocomplete: 'off', 'aria-label': words.roomName, placeholder: words.newRoom, required: true });
  const makeRoom = make('form', { className: 'make' }, roomName, make('button', { textContent: '+', 'aria-label': words.newRoom }));
  const query = make('input', { type: 'search', autocomplete: 'off', 'aria-label': words.find, placeholder: words.find });
  const find = make('form', { className: 'find', role: 'search', 'aria-label': `${words.find}: ${Name}` }, query, make('button', { textContent: words.find }));
  const hits = make('div', { className: 'hits', hidden: true, role: 'region', 'aria-label': words.hits, 'aria-live': 'polite' });
  const top = make('p', { className: 'note' }), log = make('div', { className: 'log', role: 'log', tabIndex: 0, 'aria-label': fill(words.messages, { name: Name }) }, top);
  const typing = make('p', { className: 'typing', 'aria-live': 'polite' }), files = make('div', { className: 'files' });
  const about = make('p', { className: 'parent', 'aria-live': 'polite' }), stop = button(words.cancel, () => { begin(null, null); input.value = ''; input.focus(); });
  const input = make('input', { autocomplete: 'off', maxLength: 4000, 'aria-label': `${words.say}: ${Name}`, placeholder: words.say });
  const send = make('button', { textContent: words.send, className: 'main' }), say = make('form', { className: 'say' }, input, send);
  const chosen = make('input', { type: 'file', multiple: true }), picker = make('label', { className: 'picker' }, chosen, words.file);
  const told = make('p', { className: 'hidden', role: 'status' }), notify = button(words.notify, toggleNotify);
  notify.hidden = true;
  const element = make('section', { 'aria-labelledby': key },
    make('div', { className: 'head' }, make('h2', { id: key, textContent: Name }), state, presence), counters,
    make('nav', { 'aria-label': `${words.rooms}: ${Name}` }, list), makeRoom, find, hits, log, typing, files, about, say, make('div', { className: 'buttons' }, picker, notify), told);
  stop.hidden = true;
  about.after(stop);

  function button(text, run, act) {
    const found = make('button', { type: 'button', textContent: text, onclick: run });
    if (act) found.dataset.act = act;
    return found;
  }
  const show = error => { told.textContent = ''; told.textContent = error.message; state.textContent = error.message; };

  // -- Notifications: the button is there when the service sends pushes to browsers
  const pushOptions = { open: '/?room={room}', icon: '/icon.svg' };
  let notifies = false;
  async function drawNotify() {
    const found = await pushState(chat).catch(() => 'off');
    notifies = found === 'on';
    notify.hidden = found === 'off' || found === 'unsupported';
    notify.disabled = found === 'denied';
    notify.title = found === 'denied' ? words.notifyDenied : '';
    notify.setAttribute('aria-pressed', notifies);
  }
  async function toggleNotify() {
    // Both people of this page share one browser, and so one subscription.
    const shared = panes.some(one => one.chat !== chat && one.notifies);
    await (notifies ? unsubscribePush(chat, { keepSubscription: shared }) : subscribePush(chat, pushOptions)).catch(show);
    await drawNotify();
  }

  // -- Rooms
  function drawRooms() {
    const rooms = [...chat.rooms.values()].filter(room => room.info).sort((a, b) => ((b.lastMessage?.CreatedAt ?? b.info.CreatedAt) < (a.lastMessage?.CreatedAt ?? a.info.CreatedAt) ? -1 : 1));
    const wanted = rooms.map(room => {
      const had = [...list.children].find(item => item.dataset.room === room.ID);
      const item = had ?? make('li', {}, make('button', { type: 'button', onclick: () => enter(room.ID) }, make('span', { className: 'name', dir: 'auto' }), make('span', { className: 'badge' }), make('small', { dir: 'auto' })));
      const [name, badge, last] = item.firstChild.children;
      item.dataset.room = room.ID;
      item.firstChild.setAttribute('aria-current', room.ID === current);
      put(name, room.info.Name || room.info.Type);
      put(badge, room.unread ? `${room.unread}` : '');
      if (room.unread) badge.setAttribute('aria-label', `${room.unread} ${words.unread}`); else badge.removeAttribute('aria-label');
      badge.setAttribute('role', 'img');
      badge.hidden = !room.unread;
      put(last, room.lastMessage ? summary(room.lastMessage) : '');
      return item;
    });
    arrange(list, wanted);
  }
  const put = (place, text) => { if (place.textContent !== text) place.textContent = text; };
  /** Moves only misplaced elements: a moved element loses the keyboard's focus. */
  function arrange(place, wanted) {
    const keep = new Set(wanted);
    for (const child of [...place.children]) if (!keep.has(child)) child.remove();
    wanted.forEach((child, at) => { if (place.children[at] !== child) place.insertBefore(child, place.children[at] ?? null); });
  }
  function enter(id) {
    current = id;
    rows.clear();
    log.replaceChildren(top);
    begin(null, null);
    more();
    draw();
    log.scrollTop = log.scrollHeight;
    chat.seen(id);
  }

  // -- Messages
  function row(message, all, first) {
    const mine = message.SenderID === chat.me, gone = message.Status === 'deleted', item = make('article', { className: mine ? 'mine' : '' });
    item.dataset.id = message.ID;
    const src = pictureOf(chat.profiles.get(message.SenderID));
    // Seen above the first of several messages of one user; read with each of them.
    item.append(make('span', { className: first && !mine ? 'who' : 'hidden' }, src ? make('img', { src, alt: '', className: 'avatar' }) : null, make('bdi', { textContent: nameOf(message.SenderID) })));
    if (message.ParentMessageID) item.append(make('blockquote', { textContent: all.has(message.ParentMessageID) ? summary(all.get(message.ParentMessageID)) : '…', dir: 'auto' }));
    // A name and a size in two directions do not mix.
    if (message.File && !gone) item.append(make('p', {}, make('bdi', { textContent: message.File.Name }), ' (', make('bdi', { textContent: size(message.File.Size) }), ')'));
    else item.append(make('p', { dir: 'auto', className: gone ? 'gone' : '', textContent: gone ? words.deleted : message.Content }));
    if (!gone && /^image\//.test(message.File?.ContentType ?? '')) item.append(picture(message));
    const notes = [time(message.CreatedAt), message.EditedAt && !gone && words.edited, mine && message.Status === 'seen' && words.seen, ...message.Reactions.map(one => `${one.Reaction} ${one.Count}`)].filter(Boolean);
    const foot = make('footer', { textContent: notes.join(' · ') });
    item.append(foot);
    if (!gone && message.Seq != null) {
      const does = make('div', { className: 'buttons' }, button(words.reply, () => { begin(message, null); input.focus(); }, 'reply'));
      for (const reaction of reactions) {
        const given = message.Reactions.some(one => one.Reaction === reaction && one.Users.includes(chat.me));
        const react = button(reaction, () => chat.react(message, reaction, given).catch(show), reaction);
        react.setAttribute('aria-pressed', given);
        if (reaction === reactions[0]) react.setAttribute('aria-label', words.like);
        does.append(react);
      }
      if (mine && !message.File) does.append(button(words.edit, () => { begin(null, message); input.value = message.Content; input.focus(); }, 'edit'));
      if (mine) {
        does.append(button(words.remove, () => chat.delete(message).catch(show), 'remove'), button(words.readBy, async () => {
          const marks = await chat.receipts(message.ID).catch(show);
          if (marks) put(foot, `${notes.join(' · ')} · ${words.readBy}: ${marks.map(mark => `${nameOf(mark.UserID)} ${time(mark.At)}`).join(', ') || words.nobody}`);
          told.textContent = foot.textContent;
        }, 'read'));
      }
      item.append(does);
    }
    return item;
  }
  function picture(message) {
    const canvas = make('canvas', { width: 24, height: 16, role: 'img', 'aria-label': message.File.Name }), place = make('div', {}, canvas);
    drawHash(canvas, message.File.BlurHash);
    if (!pictures.has(message.ID)) pictures.set(message.ID, chat.fetchFile(message, Boolean(message.File.ThumbnailURL)).then(blob => URL.createObjectURL(blob)));
    pictures.get(message.ID).then(src => {
      const image = make('img', { alt: message.File.Name, src });
      image.onload = () => place.replaceChildren(image);
    }, () => pictures.delete(message.ID));
    return place;
  }
  function waiting({ frame, error, Sign }) {
    const item = make('article', { className: 'mine waits' }, make('p', { dir: 'auto', textContent: frame.Content }), make('footer', { className: error ? 'error' : '', textContent: error ? `${words.refused}: ${error.message}` : words.waits }));
    if (error) item.append(make('div', { className: 'buttons' }, button(words.retry, () => chat.retry(Sign), 'retry'), button(words.remove, () => chat.discard(Sign), 'remove')));
    return item;
  }
  /** A row is rebuilt only when its contents change: a screen reader announces new rows only, and the focus stays. */
  function keyed(id, sign, create) {
    const had = rows.get(id);
    if (had?.sign === sign) return had.element;
    const act = had?.element.contains(document.activeElement) ? document.activeElement.dataset.act : null, element = create();
    if (had?.element.classList.contains('found')) element.classList.add('found');
    if (had) had.element.replaceWith(element);
    rows.set(id, { sign, element });
    if (act) ([...element.querySelectorAll('button')].find(one => one.dataset.act === act) ?? log).focus();
    return element;
  }
  function drawMessages() {
    const room = chat.rooms.get(current);
    if (!room) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80, before = log.scrollHeight, oldest = log.children[1], messages = room.list();
    put(top, older ? words.loading : !room.complete ? words.older : messages.length ? words.begins : words.empty);
    const wanted = messages.map((message, at) => {
      const first = messages[at - 1]?.SenderID !== message.SenderID, said = room.messages.get(message.ParentMessageID);
      return keyed(message.ID, JSON.stringify([message.ChangeSeq, message.Status, message.Seq, message.Reactions, message.EditedAt, message.File?.BlurHash, said && summary(said), first, nameOf(message.SenderID), chat.profiles.get(message.SenderID)?.Avatar]), () => row(message, room.messages, first));
    });
    for (const item of chat.pending(current)) wanted.push(keyed(item.Sign, `${item.error?.code}`, () => waiting(item)));
    arrange(log, [top, ...wanted]);
    const shown = new Set(wanted);
    for (const [id, { element: one }] of rows) if (!shown.has(one)) rows.delete(id);
    if (atEnd) log.scrollTop = log.scrollHeight;
    else if (oldest && log.children[1] !== oldest) log.scrollTop += log.scrollHeight - before;
  }
  /** Endless history: scrolling to the top loads the previous page. */
  function more() {
    const room = chat.rooms.get(current);
    if (older || !room || room.complete || chat.state === 'closed') return older;
    log.setAttribute('aria-busy', true);
    older = chat.loadOlder(current).catch(show).finally(() => { older = null; log.setAttribute('aria-busy', false); draw(); });
    return older;
  }
  log.onscroll = () => { if (log.scrollTop < 120) more(); };
  /** Loads back to a message and shows it. */
  async function reveal(id, message) {
    if (id !== current) enter(id);
    const room = chat.rooms.get(id);
    while (current === id && !room.messages.has(message) && await more());
    draw();
    const found = rows.get(message)?.element;
    for (const one of log.querySelectorAll('.found')) one.classList.remove('found');
    if (!found) return;
    found.classList.add('found');
    found.tabIndex = -1;
    found.focus();
    found.scrollIntoView({ block: 'center' });
  }

  // -- Sending
  function begin(reply, edit) {
    [parent, change] = [reply, edit];
    about.textContent = reply ? fill(words.replying, { text: summary(reply) }) : edit ? fill(words.editing, { text: summary(edit) }) : '';
    stop.hidden = !reply && !edit;
    send.textContent = edit ? words.save : words.send;
  }
  say.onsubmit = event => {
    event.preventDefault();
    const text = input.value;
    if (!text.trim()) return;
    if (change) chat.edit(change, text).catch(show);
    else chat.send(current, text, parent ? { ParentMessageID: parent.ID } : {}).catch(() => soon());
    input.value = '';
    begin(null, null);
    log.scrollTop = log.scrollHeight;
    chat.seen(current);
  };
  input.oninput = () => chat.typing(current);
  input.onkeydown = event => { if (event.key === 'Escape' && !stop.hidden) stop.click(); };
  makeRoom.onsubmit = async event => {
    event.preventDefault();
    const info = await chat.createRoom({ Type: 'GROUP', Name: roomName.value, Members: others }).catch(show);
    roomName.value = '';
    if (info) enter(info.ID);
  };

  // -- Search, with marks: offsets are in Unicode scalars
  find.onsubmit = async event => {
    event.preventDefault();
    const page = await chat.search(query.value).catch(show);
    if (!page) return;
    const close = button(words.close, () => { hits.hidden = true; query.focus(); });
    const rowsFound = page.Data.map(message => {
      const scalars = [...message.Content], go = make('button', { type: 'button', dir: 'auto', onclick: () => reveal(message.RoomID, message.ID) });
      let at = 0;
      for (const { Start, Length } of message.Marks ?? []) { go.append(scalars.slice(at, Start).join(''), make('mark', { textContent: scalars.slice(Start, Start + Length).join('') })); at = Start + Length; }
      go.append(scalars.slice(at).join(''));
      return make('li', {}, go);
    });
    hits.replaceChildren(rowsFound.length ? make('ul', { className: 'plain' }, ...rowsFound) : make('p', { textContent: words.noHits }), close);
    hits.hidden = false;
  };

  // -- Files
  const sendFiles = found => { for (const file of found) chat.sendFile(current, file).done.catch(error => error.code === 'cancelled' || show(error)); };
  chosen.onchange = () => { sendFiles([...chosen.files]); chosen.value = ''; };
  element.ondragover = event => { event.preventDefault(); element.classList.add('over'); };
  element.ondragleave = () => element.classList.remove('over');
  element.ondrop = event => { event.preventDefault(); element.classList.remove('over'); sendFiles([...event.dataTransfer.files]); };
  const uploads = new Map();
  function drawFiles() {
    for (const upload of chat.uploads.values()) {
      if (!uploads.has(upload)) {
        const bars = Array.from({ length: upload.total }, (_, at) => make('progress', { max: 1, value: 0, 'aria-label': fill(words.chunk, { number: at + 1 }) })), line = make('span'), go = button('', () => (upload.state === 'paused' || upload.state === 'failed' ? upload.resume() : upload.pause()));
        const box = make('div', { className: 'file', role: 'group', 'aria-label': upload.name }, line, make('div', { className: 'chunks' }, ...bars), make('div', { className: 'buttons' }, go, button(words.cancel, () => upload.cancel().catch(show))));
        uploads.set(upload, { box, bars, line, go });
        files.append(box);
      }
      const { bars, line, go } = uploads.get(upload), done = upload.loaded.filter(Boolean).length, waits = upload.state === 'paused' || upload.state === 'failed';
      put(line, `${upload.name} · ${size(upload.size)} · ${fill(words.chunks, { done, total: upload.total })}${upload.error ? ` · ${upload.error.message}` : ''}`);
      put(go, waits ? words.go : words.pause);
      bars.forEach((bar, at) => {
        if (upload.loaded[at + 1]) bar.value = 1;
        // In progress: a bar without a value is animated.
        else if (upload.sending.has(at + 1)) bar.removeAttribute('value');
        else bar.value = 0;
      });
    }
    for (const [upload, { box }] of uploads) if (chat.uploads.get(upload.Sign) !== upload) { box.remove(); uploads.delete(upload); }
  }

  function draw() {
    put(state, words.states[chat.state]);
    put(counters, fill(words.counters, chat.stats));
    put(presence, others.map(user => `${nameOf(user)}: ${chat.presence.get(user)?.Online ? words.online : words.offline}`).join(' · '));
    drawRooms();
    drawMessages();
    drawFiles();
    put(typing, [...(chat.rooms.get(current)?.typing.keys() ?? [])].map(user => fill(words.types, { name: nameOf(user) })).join(' '));
    // Read is what stands in view.
    if (!document.hidden && log.scrollHeight - log.scrollTop - log.clientHeight < 80) chat.seen(current);
    drawTotal();
  }
  let due = false;
  const soon = () => { if (!due) { due = true; setTimeout(() => { due = false; draw(); }, 30); } };
  for (const name of ['room', 'rooms', 'queue', 'state', 'typing', 'upload', 'presence', 'profile']) chat.on(name, soon);
  chat.on('frame', frame => { if (typeof frame.Seq === 'number') moments.push({ at: Date.now(), who: Name, kind: 'frame' }); soon(); });
  chat.on('state', state => moments.push({ at: Date.now(), who: Name, kind: state === 'open' ? 'open' : 'shut' }));
  chat.on('synced', () => {
    more();
    for (const user of others) chat.request('GET', `/users/${user}/presence`).then(found => { chat.presence.set(user, found); soon(); }, () => {});
  });
  chat.connect();
  renewPush(chat, pushOptions).catch(show).finally(drawNotify);
  return { Name, id: ID, chat, element, enter, get room() { return current; }, get notifies() { return notifies; } };
}

// -- Faults: those caused on the server, and the time until both clients got an answer again
const SVG = 'http://www.w3.org/2000/svg', MINUTE = 60000, happened = document.getElementById('happened');
function drawTotal() {
  const sum = name => panes.reduce((total, one) => total + one.chat.stats[name], 0), text = fill(words.total, { missed: sum('missed'), doubled: sum('doubled') });
  const place = document.getElementById('total');
  if (place.textContent !== text) place.textContent = text;
}
async function strike(fault, secret) {
  const before = panes.map(one => one.chat.stats.connects), label = words.faults[fault];
  let text;
  try {
    const answer = await fetch(`/faults/${fault}`, { method: 'POST', headers: { 'X-Chat-Fault': secret } });
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).Error ?? `HTTP ${answer.status}`);
    // The fault happens now; the time spent on finding the process is not counted.
    const start = Date.now();
    moments.push({ at: start, kind: 'fault', label });
    // The request goes through the relay, the queue and the database. It is repeated if it was lost with its connection.
    const ask = async ({ chat, room }) => {
      for (;;) {
        try { return await chat.ask({ Type: 'seen', RoomID: room, Seq: 1 }); } catch (error) { if (error.code !== 'closed' && error.code !== 'busy' && error.code !== 'unavailable') return null; }
        await new Promise(done => setTimeout(done, 50));
      }
    };
    await Promise.all(panes.map(ask));
    text = fill(words.answered, { fault: label, time: Date.now() - start, lost: panes.reduce((sum, one, at) => sum + one.chat.stats.connects - before[at], 0) });
  } catch (error) { text = fill(words.failed, { fault: label, error: error.message }); }
  happened.prepend(make('li', { textContent: text }));
  while (happened.children.length > 8) happened.lastChild.remove();
  globalThis.strikes = (globalThis.strikes ?? 0) + 1;
}
function drawMinute() {
  const now = Date.now(), width = 720, left = 60, place = at => left + (width - left) * (1 - (now - at) / MINUTE);
  const make = (name, more, ...children) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(more)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const line = (kind, x1, y1, x2, y2, thick = 1) => make('line', { class: kind, x1, y1, x2, y2, 'stroke-width': thick });
  const shown = moments.filter(one => now - one.at < MINUTE), parts = [];
  panes.forEach(({ Name }, at) => {
    const y = 54 + 40 * at, turns = moments.filter(one => one.who === Name && one.kind !== 'frame');
    parts.push(make('text', { x: 0, y: y + 4 }, Name));
    turns.forEach((turn, index) => {
      const from = Math.max(left, place(turn.at)), to = place(turns[index + 1]?.at ?? now);
      if (to > left) parts.push(line(turn.kind, from, y, Math.max(to, from + 1), y, 4));
    });
    for (const one of shown) if (one.who === Name && one.kind === 'frame') parts.push(line('frame', place(one.at), y - 10, place(one.at), y + 10));
  });
  const bottom = 54 + 40 * panes.length;
  // Three lines of names: faults that follow each other closely stay readable.
  shown.filter(one => one.kind === 'fault').forEach((one, at) => parts.push(line('fault', place(one.at), 4 + 13 * (at % 3), place(one.at), bottom - 16, 2), make('text', { x: place(one.at) + (place(one.at) > width * 0.7 ? -4 : 4), y: 11 + 13 * (at % 3), 'text-anchor': place(one.at) > width * 0.7 ? 'end' : 'start' }, one.label)));
  for (let seconds = 60; seconds >= 0; seconds -= 15) parts.push(make('text', { x: place(now - seconds * 1000), y: bottom + 4, 'text-anchor': seconds ? 'start' : 'end' }, seconds ? `−${seconds} s` : '0 s'));
  const count = shown.filter(one => one.kind === 'frame').length;
  const picture = make('svg', { viewBox: `0 0 ${width} ${bottom + 10}`, role: 'img', 'aria-label': `${words.drawn}: ${count}` }, ...parts);
  document.getElementById('drawn').replaceChildren(picture);
  // Older than the chart: only the last change of each is still drawn.
  while (moments.length > 4000) moments.splice(moments.findIndex(one => one.kind === 'frame'), 1);
}
function trial(secret) {
  const place = document.getElementById('faults'), writes = make('button', { type: 'button', textContent: words.write, 'aria-pressed': false });
  for (const fault of Object.keys(words.faults)) {
    const press = make('button', { type: 'button', textContent: words.faults[fault] });
    press.dataset.fault = fault;
    press.onclick = async () => { press.disabled = true; await strike(fault, secret); press.disabled = false; if (document.activeElement === document.body) press.focus(); };
    place.append(press);
  }
  let timer = null, turn = 0, said = 0;
  writes.onclick = () => {
    if (timer) { clearInterval(timer); timer = null; } else timer = setInterval(() => { const { chat, room } = panes[turn++ % 2]; if (chat.queue.length < 20) chat.send(room, `${++said}`).catch(() => {}); }, 250);
    writes.textContent = timer ? words.stop : words.write;
    writes.setAttribute('aria-pressed', Boolean(timer));
  };
  place.append(writes);
  document.getElementById('trial').hidden = false;
  setInterval(() => document.hidden || drawMinute(), 1000);
  drawMinute();
}

const answer = await fetch('/demo.json').catch(() => null);
if (answer?.ok) {
  const { Users, RoomID, Secret } = await answer.json();
  // Stores of an earlier `make run` are of no use any more.
  const current = new Set(Users.map(user => `demo-${user.ID}`));
  for (const { name } of await indexedDB.databases?.().catch(() => []) ?? []) if (name.startsWith('demo-') && !current.has(name)) indexedDB.deleteDatabase(name);
  for (const user of Users) panes.push(pane(user, Users.filter(one => one !== user).map(one => one.ID), new URLSearchParams(location.search).get('room') || RoomID));
  document.getElementById('panes').replaceChildren(...panes.map(one => one.element));
  globalThis.panes = panes;
  // A clicked notification: the room is shown to those who are in it.
  onPushOpen(({ RoomID: id }) => { for (const one of panes) if (one.chat.rooms.has(id)) one.enter(id); });
  if (Secret) trial(Secret);
}
