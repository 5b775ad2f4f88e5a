// <chat-room room="…" ticket="/where-my-token-is">: one room, ready to use. It has its own styles and reads the page's language.
import { Chat } from './chat.js';

const WORDS = {
  en: { say: 'Message', send: 'Send', older: 'Older messages', waits: 'waiting', refused: 'not sent', states: { open: 'connected', connecting: 'connecting', waiting: 'no connection', closed: 'closed', replaced: 'open elsewhere' } },
  de: { say: 'Nachricht', send: 'Senden', older: 'Ältere Nachrichten', waits: 'wartet', refused: 'nicht gesendet', states: { open: 'verbunden', connecting: 'verbinde', waiting: 'keine Verbindung', closed: 'getrennt', replaced: 'anderswo geöffnet' } },
  ar: { say: 'رسالة', send: 'إرسال', older: 'رسائل أقدم', waits: 'قيد الانتظار', refused: 'لم تُرسل', states: { open: 'متصل', connecting: 'جارٍ الاتصال', waiting: 'لا يوجد اتصال', closed: 'مغلق', replaced: 'مفتوح في مكان آخر' } },
};
const STYLE = `
:host { display: flex; flex-direction: column; height: 24rem; border: 1px solid color-mix(in srgb, CanvasText 25%, Canvas); border-radius: .5rem; overflow: hidden; font: 1rem/1.4 system-ui, sans-serif; color-scheme: light dark; background: Canvas; color: CanvasText }
.log { flex: 1; overflow-y: auto; margin: 0; padding: .5rem; display: flex; flex-direction: column; gap: .3rem }
article { align-self: flex-start; max-width: 85%; padding: .35rem .7rem; border-radius: .7rem; overflow-wrap: anywhere; white-space: pre-wrap; background: color-mix(in srgb, CanvasText 10%, Canvas) }
article.mine { align-self: flex-end; background: color-mix(in srgb, #1769aa 25%, Canvas) }
article.waits { font-style: italic }
form { display: flex; gap: .4rem; padding: .5rem }
input { flex: 1; min-width: 0 } input, button { font: inherit; padding: .35rem .6rem }
p { margin: 0; padding: .2rem .7rem; font-size: .85rem }`;

export class ChatRoom extends HTMLElement {
  static observedAttributes = ['room', 'ticket', 'url'];
  #chat = null; #parts = {};
  /** The client itself, for features that the element does not have. */
  get chat() { return this.#chat; }
  /** Replaces `ticket` when the host page has a token already: a function of the page that returns it. */
  token = null;

  connectedCallback() { this.#start(); }
  disconnectedCallback() { this.#chat?.close(); this.#chat = null; }
  attributeChangedCallback() { if (this.#chat) { this.disconnectedCallback(); this.#start(); } }

  async #fetchToken() {
    const answer = await fetch(this.getAttribute('ticket'), { method: 'POST', credentials: 'same-origin' });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const text = await answer.text();
    try { return JSON.parse(text).Token; } catch { return text.trim(); }
  }
  async #start() {
    const id = this.getAttribute('room');
    if (!id || !(this.token || this.getAttribute('ticket'))) return;
    const root = this.shadowRoot ?? this.attachShadow({ mode: 'open' }), words = WORDS[this.closest('[lang]')?.lang.slice(0, 2)] ?? WORDS.en;
    // A style sheet created by script: the page's Content-Security-Policy needs no unsafe-inline.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    const make = (name, more) => Object.assign(document.createElement(name), more);
    const state = make('p'), list = make('div', { className: 'log' }), form = make('form'), input = make('input', { name: 'text', autocomplete: 'off', maxLength: 4000 });
    state.setAttribute('role', 'status');
    list.setAttribute('role', 'log');
    list.tabIndex = 0;
    list.setAttribute('aria-label', words.say);
    input.setAttribute('aria-label', words.say);
    form.append(input, make('button', { textContent: words.send }));
    root.replaceChildren(state, list, form);
    const chat = this.#chat = new Chat({ url: this.getAttribute('url') ?? '', name: `chat-room-${id}`, token: fresh => (this.token ? this.token(fresh) : this.#fetchToken()) });
    const rows = new Map(), more = make('button', { textContent: words.older, type: 'button', onclick: () => chat.loadOlder(id).catch(() => {}) });
    const say = () => { state.textContent = words.states[chat.state]; };
    const draw = () => {
      const room = chat.rooms.get(id);
      if (!room) return;
      const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60, wanted = room.complete ? [] : [more];
      // An unchanged row keeps its element: a screen reader announces new rows only, and none twice.
      const row = (key, textContent, className) => {
        if (!rows.has(key)) rows.set(key, make('article', { dir: 'auto' }));
        const element = rows.get(key);
        if (element.textContent !== textContent) element.textContent = textContent;
        element.className = className;
        wanted.push(element);
      };
      for (const message of room.list()) {
        if (message.Status !== 'deleted') row(message.ID, message.File?.Name ?? message.Content, message.SenderID === chat.me ? 'mine' : '');
      }
      for (const { frame, error, Sign } of chat.pending(id)) row(Sign, `${frame.Content} (${error ? words.refused : words.waits})`, 'mine waits');
      const shown = new Set(wanted);
      for (const child of [...list.children]) if (!shown.has(child)) child.remove();
      wanted.forEach((child, at) => { if (list.children[at] !== child) list.insertBefore(child, list.children[at] ?? null); });
      for (const [key, element] of rows) if (!shown.has(element)) rows.delete(key);
      if (atEnd) list.scrollTop = list.scrollHeight;
      if (!document.hidden) chat.seen(id);
    };
    form.onsubmit = event => {
      event.preventDefault();
      if (!input.value.trim()) return;
      chat.send(id, input.value).catch(() => {});
      input.value = '';
    };
    input.oninput = () => chat.typing(id);
    let due = false;
    const soon = () => { if (!due) { due = true; requestAnimationFrame(() => { due = false; if (chat === this.#chat) draw(); }); } };
    chat.on('room', room => room.ID === id && soon());
    chat.on('queue', soon);
    chat.on('state', say);
    chat.on('synced', () => chat.rooms.has(id) && chat.loadOlder(id).catch(() => {}));
    say();
    await chat.open();
    draw();
    chat.connect();
  }
}
customElements.define('chat-room', ChatRoom);
