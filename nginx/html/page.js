// Two users of `make run` side by side: each pane is a separate client.
import { Chat, MemoryStore } from './chat.js';

const WORDS = {
  en: { say: 'Message', send: 'Send', file: 'File', pause: 'Pause', go: 'Continue', edit: 'Edit', remove: 'Delete', like: 'Like', reply: 'Reply', find: 'Search', older: 'Older messages', types: 'is writing …', waits: 'waiting', refused: 'not sent', unread: 'unread', edited: 'edited', deleted: 'deleted', seen: 'seen', online: 'online', offline: 'offline', answers: 'Reply to', text: 'New text',
    states: { open: 'connected', connecting: 'connecting', waiting: 'no connection', closed: 'closed', replaced: 'open elsewhere' }, counters: 'frames {frames} · missed {missed} · doubled {doubled} · connections {connects}' },
  de: { say: 'Nachricht', send: 'Senden', file: 'Datei', pause: 'Pause', go: 'Weiter', edit: 'Ändern', remove: 'Löschen', like: 'Gefällt mir', reply: 'Antworten', find: 'Suchen', older: 'Ältere Nachrichten', types: 'schreibt …', waits: 'wartet', refused: 'nicht gesendet', unread: 'ungelesen', edited: 'geändert', deleted: 'gelöscht', seen: 'gesehen', online: 'online', offline: 'offline', answers: 'Antwort auf', text: 'Neuer Text',
    states: { open: 'verbunden', connecting: 'verbinde', waiting: 'keine Verbindung', closed: 'getrennt', replaced: 'anderswo geöffnet' }, counters: 'Frames {frames} · verpasst {missed} · doppelt {doubled} · Verbindungen {connects}' },
  ar: { say: 'رسالة', send: 'إرسال', file: 'ملف', pause: 'إيقاف مؤقت', go: 'متابعة', edit: 'تعديل', remove: 'حذف', like: 'إعجاب', reply: 'رد', find: 'بحث', older: 'رسائل أقدم', types: 'يكتب …', waits: 'قيد الانتظار', refused: 'لم تُرسل', unread: 'غير مقروءة', edited: 'معدلة', deleted: 'محذوفة', seen: 'شوهدت', online: 'متصل', offline: 'غير متصل', answers: 'رد على', text: 'نص جديد',
    states: { open: 'متصل', connecting: 'جارٍ الاتصال', waiting: 'لا يوجد اتصال', closed: 'مغلق', replaced: 'مفتوح في مكان آخر' }, counters: 'إطارات {frames} · فائتة {missed} · مكررة {doubled} · اتصالات {connects}' },
};
const asked = new URLSearchParams(location.search).get('lang') ?? navigator.language.slice(0, 2), language = WORDS[asked] ? asked : 'en', words = WORDS[language];
document.documentElement.lang = language;
document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr';

const make = (name, more = {}, ...children) => {
  const { label, ...rest } = more, element = Object.assign(document.createElement(name), rest);
  if (label) element.setAttribute('aria-label', label);
  element.append(...children);
  return element;
};
const panes = [];

function pane({ Name, Token }, room) {
  const chat = new Chat({ token: Token, store: new MemoryStore() }), state = make('p', { className: 'state' }), counters = make('p', { className: 'counters' });
  state.setAttribute('role', 'status');
  const log = make('ol', { tabIndex: 0, label: `${words.say}: ${Name}` }), typing = make('p', { className: 'typing' }), input = make('input', { autocomplete: 'off', maxLength: 4000, label: words.say });
  const files = make('div', { className: 'files' }), picker = make('input', { type: 'file', label: words.file }), find = make('input', { type: 'search', label: words.find, placeholder: words.find }), found = make('ul', { className: 'found' });
  log.setAttribute('role', 'log');
  let parent = null;
  const answers = make('p', { className: 'answers' });
  const form = make('form', { className: 'say' }, input, make('button', { textContent: words.send }));
  const nameOf = user => panes.find(one => one.chat.me === user)?.Name ?? user.slice(0, 8);
  const button = (text, run) => make('button', { type: 'button', textContent: text, className: 'small', onclick: run });

  function row(message, all) {
    const mine = message.SenderID === chat.me, item = make('li', { className: mine ? 'mine' : '' });
    if (message.ParentMessageID) item.append(make('blockquote', { textContent: all.get(message.ParentMessageID)?.Content ?? '…', dir: 'auto' }));
    const gone = message.Status === 'deleted';
    item.append(make('span', { textContent: gone ? words.deleted : message.File ? `${message.File.Name} (${Math.ceil(message.File.Size / 1024)} KiB)` : message.Content, dir: 'auto', className: gone ? 'gone' : '' }));
    if (/^image\//.test(message.File?.ContentType ?? '')) {
      const picture = make('img', { alt: message.File.Name, hidden: true });
      item.append(picture);
      pictures[message.ID] ??= chat.fetchFile(message).then(blob => URL.createObjectURL(blob));
      pictures[message.ID].then(address => { picture.src = address; picture.hidden = false; }, () => {});
    }
    const notes = [message.EditedAt && !gone && words.edited, mine && message.Status === 'seen' && words.seen, ...message.Reactions.map(one => `${one.Reaction} ${one.Count}`)].filter(Boolean);
    if (notes.length) item.append(make('small', { textContent: notes.join(' · ') }));
    if (!gone && message.Seq) {
      const does = make('span', { className: 'does' }, button(words.reply, () => { parent = message; answers.textContent = `${words.answers}: ${message.Content}`; input.focus(); }),
        button(words.like, () => chat.react(message, '👍', message.Reactions.some(one => one.Users.includes(chat.me))).catch(show)));
      if (mine) does.append(button(words.edit, () => { const text = prompt(words.text, message.Content); if (text) chat.edit(message, text).catch(show); }), button(words.remove, () => chat.delete(message).catch(show)));
      item.append(does);
    }
    return item;
  }
  const pictures = {}, show = error => { state.textContent = error.message; };
  function draw() {
    const copy = chat.rooms.get(room);
    state.textContent = `${words.states[chat.state]} · ${copy?.unread ?? 0} ${words.unread}`;
    counters.textContent = words.counters.replace(/\{(\w+)\}/g, (_, name) => chat.stats[name]);
    if (!copy) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80, list = copy.list();
    log.replaceChildren(...(copy.complete ? [] : [make('li', {}, button(words.older, () => chat.loadOlder(room)))]), ...list.map(message => row(message, copy.messages)),
      ...chat.pending(room).map(({ frame, error, Sign }) => make('li', { className: 'mine waits', dir: 'auto' }, `${frame.Content} (${error ? error.message : words.waits})`, error ? button('↻', () => chat.retry(Sign)) : '')));
    if (atEnd) log.scrollTop = log.scrollHeight;
    typing.textContent = [...copy.typing.keys()].map(user => `${nameOf(user)} ${words.types}`).join(', ');
    files.replaceChildren(...[...chat.uploads.values()].map(upload => make('p', {}, `${upload.name} `, make('progress', { max: 1, value: upload.progress, label: upload.name }), ` ${upload.loaded.filter(Boolean).length}/${upload.total} `,
      upload.state === 'paused' || upload.state === 'failed' ? button(words.go, () => { upload.resume(); }) : button(words.pause, () => upload.pause()))));
    if (document.hasFocus() && element.contains(document.activeElement)) chat.seen(room);
  }
  let due = false;
  const soon = () => { if (!due) { due = true; requestAnimationFrame(() => { due = false; draw(); }); } };
  for (const name of ['room', 'queue', 'state', 'typing', 'upload', 'frame']) chat.on(name, soon);
  chat.on('synced', () => chat.loadOlder(room).catch(show));
  form.onsubmit = event => {
    event.preventDefault();
    if (input.value.trim()) chat.send(room, input.value, parent ? { ParentMessageID: parent.ID } : {}).catch(() => soon());
    [input.value, answers.textContent, parent] = ['', '', null];
    chat.seen(room);
  };
  input.oninput = () => chat.typing(room);
  const send = list => { for (const file of list) chat.sendFile(room, file).done.catch(show); };
  picker.onchange = () => { send(picker.files); picker.value = ''; };
  find.onchange = async () => {
    const { Data = [] } = find.value.trim().length > 1 ? await chat.search(find.value, { room }).catch(() => ({})) : {};
    found.replaceChildren(...Data.map(({ Content, Marks }) => {
      // Places are counted in Unicode scalars.
      const scalars = [...Content], item = make('li', { dir: 'auto' });
      let at = 0;
      for (const { Start, Length } of Marks) { item.append(scalars.slice(at, Start).join(''), make('mark', { textContent: scalars.slice(Start, Start + Length).join('') })); at = Start + Length; }
      item.append(scalars.slice(at).join(''));
      return item;
    }));
  };
  const element = make('section', { label: Name }, make('h2', { textContent: Name }), state, counters, find, found, log, typing, files, answers, form, picker);
  element.ondragover = event => event.preventDefault();
  element.ondrop = event => { event.preventDefault(); send(event.dataTransfer.files); };
  element.onfocusin = () => chat.seen(room);
  chat.connect();
  return { Name, chat, element };
}

const answer = await fetch('/demo.json').catch(() => null);
if (answer?.ok) {
  const { Users, RoomID } = await answer.json();
  for (const user of Users) panes.push(pane(user, RoomID));
  document.getElementById('panes').replaceChildren(...panes.map(one => one.element));
  globalThis.panes = panes;
}
