// <chat-room room="…" ticket="/where-my-token-is"> or <chat-room room="…" cookies>: one room, ready to use. README.md has attributes, events and styles.
import { Chat } from './chat.js';

const WORDS = {
  en: { say: 'Message', send: 'Send', older: 'Older messages', waits: 'waiting', refused: 'not sent', again: 'Try again', file: 'Open {name}', types: '{name} is writing …',
    states: { open: 'connected', connecting: 'connecting', waiting: 'no connection', closed: 'closed', replaced: 'open elsewhere' },
    errors: { token: 'You are not signed in.', room: 'This room is not open to you.', closed: 'The chat has ended the connection.' } },
  de: { say: 'Nachricht', send: 'Senden', older: 'Ältere Nachrichten', waits: 'wartet', refused: 'nicht gesendet', again: 'Noch einmal', file: '{name} öffnen', types: '{name} schreibt …',
    states: { open: 'verbunden', connecting: 'verbinde', waiting: 'keine Verbindung', closed: 'getrennt', replaced: 'anderswo geöffnet' },
    errors: { token: 'Sie sind nicht angemeldet.', room: 'Dieser Raum steht Ihnen nicht offen.', closed: 'Der Chat hat die Verbindung beendet.' } },
  ar: { say: 'رسالة', send: 'إرسال', older: 'رسائل أقدم', waits: 'قيد الانتظار', refused: 'لم تُرسل', again: 'حاول مرة أخرى', file: 'فتح {name}', types: '{name} يكتب …',
    states: { open: 'متصل', connecting: 'جارٍ الاتصال', waiting: 'لا يوجد اتصال', closed: 'مغلق', replaced: 'مفتوح في مكان آخر' },
    errors: { token: 'لم تسجّل الدخول.', room: 'هذه الغرفة ليست متاحة لك.', closed: 'أنهت المحادثة الاتصال.' } },
};
const STYLE = `
:host { --paper: var(--chat-background, Canvas); --ink: var(--chat-color, CanvasText); --accent: var(--chat-accent, #1769aa); --round: var(--chat-radius, .7rem); display: flex; flex-direction: column; height: 24rem; border: 1px solid color-mix(in srgb, var(--ink) 25%, var(--paper)); border-radius: .5rem; overflow: hidden; font: 1rem/1.4 var(--chat-font, system-ui, sans-serif); color-scheme: light dark; background: var(--paper); color: var(--ink) }
:host([hidden]) { display: none }
.log { flex: 1; overflow-y: auto; margin: 0; padding: .5rem; display: flex; flex-direction: column; gap: .3rem }
article { align-self: flex-start; max-width: 85%; padding: .35rem .7rem; border-radius: var(--round); overflow-wrap: anywhere; white-space: pre-wrap; background: var(--chat-bubble, color-mix(in srgb, var(--ink) 10%, var(--paper))) }
article.mine { align-self: flex-end; background: var(--chat-bubble-mine, color-mix(in srgb, var(--accent) 25%, var(--paper))) }
article.waits { font-style: italic }
header { display: flex; align-items: center; gap: .4rem; font-size: .85rem; font-weight: 600 }
img { width: 1.5rem; height: 1.5rem; border-radius: 50%; object-fit: cover }
form { display: flex; gap: .4rem; padding: .5rem }
[hidden] { display: none }
input { flex: 1; min-width: 0 } input, button { font: inherit; color: inherit; background: var(--paper); border: 1px solid color-mix(in srgb, var(--ink) 45%, var(--paper)); border-radius: .3rem; padding: .35rem .6rem; min-height: 1.6rem }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px }
p { margin: 0; padding: .2rem .7rem; font-size: .85rem } p.error { font-size: 1rem; padding: .7rem }`;
const make = (name, more = {}, ...children) => {
  const { part, role, ...properties } = more, element = Object.assign(document.createElement(name), properties);
  if (part) element.setAttribute('part', part);
  if (role) element.setAttribute('role', role);
  element.append(...children);
  return element;
};
const put = (place, text) => { if (place.textContent !== text) place.textContent = text; };

export class ChatRoom extends HTMLElement {
  static observedAttributes = ['room', 'ticket', 'url', 'lang', 'cookies'];
  #chat = null; #unread = 0; #error = null; #due = false; #visible = true;
  // Read is what a person can see: an element in a closed panel counts as unread.
  #watcher = new IntersectionObserver(entries => { this.#visible = entries.at(-1).isIntersecting; this.#draw(); });
  #back = () => this.#draw();
  /** The client itself, for features that the element does not have. */
  get chat() { return this.#chat; }
  /** Replaces `ticket` when the host page has a token already: a function of the page that returns it. */
  token = null;
  /** Messages of others that this user has not seen. */
  get unread() { return this.#unread; }
  /** null, or why the room is not shown: `token`, `room`, `closed`. */
  get error() { return this.#error; }

  connectedCallback() {
    this.#watcher.observe(this);
    document.addEventListener('visibilitychange', this.#back);
    this.#restart();
  }
  disconnectedCallback() {
    this.#watcher.disconnect();
    document.removeEventListener('visibilitychange', this.#back);
    this.#stop();
  }
  /** Several attributes that change together make one new start. A new language keeps the connection. */
  attributeChangedCallback(name, before, now) {
    if (!this.isConnected || before === now) return;
    if (name === 'lang' && this.#chat) this.#build(); else this.#restart();
  }
  /** Begins again, for example with another user's token. */
  restart() { this.#restart(); }
  #stop() { this.#chat?.close(); this.#chat = null; }
  #restart() {
    this.#stop();
    if (this.#due) return;
    this.#due = true;
    // After the page's own script has set `token` or listened.
    queueMicrotask(() => { this.#due = false; if (this.isConnected && !this.#chat) this.#start(); });
  }
  #tell(name, detail) { return this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true })); }

  /** From the page: its function, the answer of a listener, or the address in `ticket`. */
  async #fetchToken(fresh) {
    if (this.token) return this.token(fresh);
    let given;
    this.#tell('chat-token', { fresh, respondWith(token) { given = token; } });
    if (given !== undefined) return given;
    const place = this.getAttribute('ticket');
    if (!place) throw new Error('there is no token: set `ticket` or `token`, or listen to chat-token');
    const answer = await fetch(place, { method: 'POST', credentials: 'same-origin' });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const text = await answer.text();
    try { return JSON.parse(text).Token; } catch { return text.trim(); }
  }
  #parts = null; #rows = new Map();
  #build() {
    const root = this.shadowRoot ?? this.attachShadow({ mode: 'open' }), language = this.closest('[lang]')?.lang.slice(0, 2).toLowerCase(), words = WORDS[language] ?? WORDS.en;
    // A style sheet created by script: the page's Content-Security-Policy needs no unsafe-inline.
    const sheet = new CSSStyleSheet();
    // The page's own `dir` decides; without one, the language does.
    sheet.replaceSync(STYLE + (this.closest('[dir]') ? '' : `:host { direction: ${words === WORDS.ar ? 'rtl' : 'ltr'} }`));
    root.adoptedStyleSheets = [sheet];
    const typed = this.#parts?.input.value ?? '';
    const state = make('p', { part: 'state', role: 'status' }), error = make('p', { part: 'error', className: 'error', role: 'alert', hidden: true });
    const again = make('button', { part: 'button', type: 'button', textContent: words.again, hidden: true, onclick: () => this.#restart() });
    const list = make('div', { part: 'log', className: 'log', role: 'log', tabIndex: 0, ariaLabel: words.say }), typing = make('p', { part: 'typing', ariaLive: 'polite' });
    const input = make('input', { part: 'input', name: 'text', autocomplete: 'off', maxLength: 4000, ariaLabel: words.say, value: typed, dir: 'auto' });
    const form = make('form', { part: 'form' }, input, make('button', { part: 'button', textContent: words.send }));
    const more = make('button', { part: 'button older', textContent: words.older, type: 'button', onclick: () => this.#chat?.loadOlder(this.getAttribute('room')).catch(() => {}) });
    this.#rows.clear();
    this.#parts = { state, error, again, list, typing, form, input, more, words };
    root.replaceChildren(state, error, again, list, typing, form);
    form.onsubmit = event => {
      event.preventDefault();
      if (!input.value.trim()) return;
      this.#chat?.send(this.getAttribute('room'), input.value).catch(() => {});
      input.value = '';
    };
    input.oninput = () => this.#chat?.typing(this.getAttribute('room'));
    this.#draw();
  }
  #fail(error, cause = null) {
    if (this.#error === error) return;
    this.#error = error;
    if (error) this.#tell('chat-error', { error, cause });
    this.#draw();
  }
  async #start() {
    const id = this.getAttribute('room');
    if (!id) return;
    const chat = this.#chat = new Chat({ url: this.getAttribute('url') ?? '', name: `chat-room-${id}`, cookies: this.hasAttribute('cookies'), token: async fresh => {
      try {
        const token = await this.#fetchToken(fresh);
        if (chat === this.#chat && this.#error === 'token' && typeof token === 'string') this.#fail(null);
        return token;
      } catch (error) {
        if (chat === this.#chat) this.#fail('token', error);
        throw error;
      }
    } });
    this.#error = null;
    this.#unread = 0;
    this.#build();
    let due = false;
    const soon = () => { if (!due) { due = true; setTimeout(() => { due = false; if (chat === this.#chat) this.#draw(); }, 20); } };
    const current = run => value => chat === this.#chat && run(value);
    for (const name of ['queue', 'typing', 'profile']) chat.on(name, soon);
    // Also one that is no text, or none in time.
    chat.on('error', current(error => error.code === 'token' && this.#fail('token', error)));
    // Taken out of the room while the page is open.
    chat.on('rooms', current(() => chat.synced && !chat.rooms.has(id) && this.#fail('room')));
    chat.on('room', current(room => {
      // The last change of a room that is left comes after its end.
      if (room.ID !== id || !chat.rooms.has(id)) return;
      if (this.#error === 'room') { this.#fail(null); chat.loadOlder(id).catch(() => {}); }
      soon();
    }));
    chat.on('state', current(state => { this.#tell('chat-state', { state }); soon(); }));
    chat.on('closed', current(({ code, reason, error }) => {
      if ([1002, 1003, 1007].includes(code)) this.#fail('closed', new Error(reason));
      if (error?.status === 401) this.#fail('token', error);
    }));
    chat.on('synced', current(() => {
      if (!chat.rooms.has(id)) return this.#fail('room');
      if (this.#error) this.#fail(null);
      chat.loadOlder(id).catch(() => {});
    }));
    await chat.open();
    if (chat !== this.#chat) return;
    this.#draw();
    chat.connect();
  }
  #nameOf(user, sender) { return this.#chat.profiles.get(user) ?? sender; }
  /** An unchanged row keeps its element: a screen reader announces new rows only, and none twice. */
  #row(key, sign, create) {
    const had = this.#rows.get(key);
    if (had?.sign === sign) return had.element;
    const element = create();
    if (had) had.element.replaceWith(element);
    this.#rows.set(key, { sign, element });
    return element;
  }
  #message(message, about) {
    const { words } = this.#parts, mine = message.SenderID === this.#chat.me, article = make('article', { part: `message${mine ? ' mine' : ''}`, className: mine ? 'mine' : '' });
    if (about?.Name) {
      const name = make('header', { part: 'name' });
      if (/^https?:/.test(about.Avatar)) name.append(make('img', { part: 'avatar', alt: '', src: about.Avatar, referrerPolicy: 'no-referrer', onerror: event => event.target.remove() }));
      name.append(make('bdi', { textContent: about.Name }));
      article.append(name);
    }
    const { File: file } = message;
    article.append(file ? make('button', { part: 'button file', type: 'button', textContent: file.Name, ariaLabel: words.file.replace('{name}', () => file.Name), onclick: () => this.#open(message) })
      : make('div', { part: 'text', dir: 'auto', textContent: message.Content }));
    return article;
  }
  async #open(message) {
    const blob = await this.#chat.fetchFile(message).catch(() => null);
    if (!blob) return;
    // Saved, never shown by this page: it may be anything.
    const address = URL.createObjectURL(blob);
    make('a', { href: address, download: message.File.Name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }
  #draw() {
    const chat = this.#chat, id = this.getAttribute('room');
    if (!chat || !this.#parts) return;
    const { state, error, again, list, typing, form, more, words } = this.#parts, room = this.#error ? null : chat.rooms.get(id);
    put(state, words.states[chat.state]);
    put(error, words.errors[this.#error] ?? '');
    error.hidden = again.hidden = !this.#error;
    list.hidden = form.hidden = typing.hidden = Boolean(this.#error);
    if (!room) return;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60, wanted = room.complete ? [] : [more];
    let before = null;
    for (const message of room.list()) {
      if (message.Status === 'deleted') continue;
      // A name stands above the first of several messages of one user.
      const about = message.SenderID !== chat.me && message.SenderID !== before ? this.#nameOf(message.SenderID, message.Sender) : null;
      before = message.SenderID;
      wanted.push(this.#row(message.ID, JSON.stringify([message.Content, message.File?.Name, message.SenderID === chat.me, about?.Name, about?.Avatar]), () => this.#message(message, about)));
    }
    for (const { frame, error: refused, Sign } of chat.pending(id)) {
      const text = `${frame.Content} (${refused ? words.refused : words.waits})`;
      wanted.push(this.#row(Sign, text, () => make('article', { part: 'message mine waits', className: 'mine waits', dir: 'auto', textContent: text })));
    }
    const shown = new Set(wanted);
    for (const child of [...list.children]) if (!shown.has(child)) child.remove();
    wanted.forEach((child, at) => { if (list.children[at] !== child) list.insertBefore(child, list.children[at] ?? null); });
    for (const [key, { element }] of this.#rows) if (!shown.has(element)) this.#rows.delete(key);
    if (atEnd) list.scrollTop = list.scrollHeight;
    put(typing, [...room.typing.keys()].map(user => words.types.replace('{name}', () => this.#nameOf(user)?.Name || '…')).join(' '));
    if (this.#visible && !document.hidden && chat.state === 'open') chat.seen(id).catch(() => {});
    if (room.unread !== this.#unread) {
      this.#unread = room.unread;
      this.#tell('chat-unread', { unread: this.#unread });
    }
  }
}
customElements.define('chat-room', ChatRoom);
