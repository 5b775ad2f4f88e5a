// The chat's client: one module without dependencies, for browsers and for Node 20 or newer. README.md has the interface.

/** Temporary refusals. Every other one is final. */
const LATER = new Set(['rate_limited', 'busy', 'unavailable', 'locked', 'internal']);
/** Close codes after which the same client would be closed again. */
const STAY_AWAY = new Set([1002, 1003, 1007, 4009]);
const CHANGES = { message: 'new_message', edit: 'message_updated', delete: 'message_updated', react: 'message_updated' };
/** setTimeout fires at once above this; and the longest wait that a server can name. Milliseconds. */
const LONGEST = 2 ** 31 - 1, NAMED = 600000;

/** Of what others can make grow: descriptions of users, users who type, frames that wait for an earlier one, pages of a list, rooms and members, malformed frames of one connection. */
const USERS = 5000, TYPING = 100, EARLY = 1000, PAGES = 1000, MANY = 70000, MALFORMED = 20;

// A frame or an answer that lacks these cannot be used. Everything else in it is shown or passed on, not computed with.
const isMap = one => one && typeof one === 'object' && !Array.isArray(one);
const isID = one => typeof one === 'string' && /^[\w:-]{1,128}$/.test(one);
const isSeq = one => Number.isSafeInteger(one) && one >= 0;
const mayBe = (one, is) => one == null || is(one);
const isUser = one => isMap(one) && isID(one.UserID);
const isMember = one => isUser(one) && mayBe(one.LastSeenSeq, isSeq);
const isMessage = one => isMap(one) && isID(one.ID) && isID(one.SenderID) && mayBe(one.Seq, isSeq) && mayBe(one.ChangeSeq, isSeq)
  && typeof one.Content === 'string' && Array.isArray(one.Reactions) && mayBe(one.Sender, isUser);
const isStored = one => isMessage(one) && one.Seq != null;
const isInfo = one => isMap(one) && isID(one.ID) && isSeq(one.LastSeq) && mayBe(one.Epoch, isSeq) && mayBe(one.LastMessage, isStored);
const isMark = one => isUser(one) && isSeq(one.Seq);
const SHAPES = {
  __proto__: null,
  welcome: isUser, presence: isUser, user_updated: isUser, typing: isUser, seen: isMark, resync: one => isMap(one) && mayBe(one.Epoch, isSeq),
  new_message: isStored, message_updated: isStored,
  // An address of another relay: the ticket is added.
  move: one => isMap(one) && mayBe(one.URL, url => typeof url === 'string' && /^wss?:\/\/[^\s?#]{1,500}$/.test(url)),
  room_updated: one => isMap(one) && mayBe(one.Member, isMember) && mayBe(one.PurgedThrough, isSeq) && mayBe(one.Room, info => isMap(info) && mayBe(info.LastMessage, isStored)),
};

export class ChatError extends Error {
  constructor(code, message, more = {}) {
    super(message);
    Object.assign(this, { name: 'ChatError', code, status: 0, retryAfter: null, field: null }, more);
  }
}

/** In memory: lost with the process. */
export class MemoryStore {
  #all = new Map();
  async all() { return structuredClone([...this.#all]); }
  async set(key, value) { this.#all.set(key, structuredClone(value)); }
  async delete(key) { this.#all.delete(key); }
  async clear() { this.#all.clear(); }
}

/** One object store of IndexedDB: survives a reload of the page. */
export class IndexedDBStore {
  #name; #open;
  constructor(name = 'chat') { this.#name = name; }
  #run(use, mode = 'readwrite') {
    this.#open ??= new Promise((done, fail) => {
      const asked = indexedDB.open(this.#name, 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore('chat');
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => fail(asked.error);
    });
    return this.#open.then(base => new Promise((done, fail) => {
      const transaction = base.transaction('chat', mode), found = use(transaction.objectStore('chat'));
      transaction.oncomplete = () => done(found);
      // An error of a request ends in this, too.
      transaction.onabort = () => fail(transaction.error);
    }));
  }
  async all() {
    const [keys, values] = await this.#run(store => [store.getAllKeys(), store.getAll()], 'readonly');
    return keys.result.map((key, place) => [key, values.result[place]]);
  }
  set(key, value) { return this.#run(store => void store.put(value, key)); }
  delete(key) { return this.#run(store => void store.delete(key)); }
  clear() { return this.#run(store => void store.clear()); }
}

/** Of a room, beside its lists, in the store. `dirty`: a number that was being asked for is asked for again after a reload; no frame brings it. */
const KEPT = 'ID info epoch seq infoSeq from hasMembers seenSeq dirty'.split(' ');
const bySeq = map => [...map.values()].sort((a, b) => a.Seq - b.Seq);

/** A room's copy. `seq`: it contains every frame up to this Seq. `from`: it contains every message from this Seq on. */
class Room {
  info = null; epoch = 1; seq = null; from = Infinity; messages = new Map(); members = new Map(); hasMembers = false; drafts = new Map();
  typing = new Map(); seenSeq = 0; _used = 0; _top = -1; _tries = 0; _timer = null; _caughtAt = 0; _waits = [];
  infoSeq = -1; early = new Map(); _answered = new Set(); _generation = 0; _catching = false; _again = false; _resuming = false;
  _marks = new Map(); _jumps = 0; _loading = false; _aside = new Map(); _caught = 0; dirty = false;
  constructor(id) { this.ID = id; }

  /** Oldest first, then the user's own uploads in progress. */
  list() {
    return [...bySeq(this.messages), ...this.drafts.values()];
  }
  /** True when no older messages are left to load. */
  get complete() { return this.from <= 0; }
  get unread() { return this.info?.Unread ?? 0; }
  get lastMessage() {
    let last = this.info?.LastMessage ?? null;
    for (const message of this.messages.values()) if (!last || message.Seq >= last.Seq) last = message;
    return last;
  }

  /** Keeps the newest state of a message, in whatever order states arrive. */
  _merge(message) {
    if (message.Seq == null) {
      if (message.Status === 'deleted') this.drafts.delete(message.ID);
      else if (!this.messages.has(message.ID)) put(this.drafts, message.ID, message, EARLY);
      return;
    }
    this.drafts.delete(message.ID);
    const had = this.messages.get(message.ID);
    // A page still being loaded may contain an older state of it.
    if (!had && message.Seq < this.from) {
      if (this._loading && !older(message, this._aside.get(message.ID))) this._aside.set(message.ID, message);
      // Too many to keep: the page is loaded again.
      if (this._aside.size > EARLY) { this._aside.clear(); this._jumps++; }
    }
    else if (!older(message, had)) this.messages.set(message.ID, this._seenNow(message, had));
  }
  /** `Status` is computed from the other members' seen marks, which do not change ChangeSeq. */
  _seenNow(message, had) {
    const isSeen = message.Status === 'sent' && (had?.Status === 'seen' || [...this._marks].some(([user, seq]) => seq >= message.Seq && user !== message.SenderID));
    return isSeen ? { ...message, Status: 'seen' } : message;
  }
  _mark(user, seq) {
    if (seq <= (this._marks.get(user) ?? 0)) return;
    put(this._marks, user, seq, MANY);
    for (const [id, message] of this.messages) if (message.Seq <= seq) this.messages.set(id, this._seenNow(message));
  }
  /** The server has lost the history of this copy. */
  _forget() {
    this.messages.clear(); this.members.clear(); this.early.clear(); this._answered.clear(); this._marks.clear();
    this.seq = null; this.infoSeq = this._top = -1; this.seenSeq = this._caught = 0; this._generation++; this._jumps++;
  }
  /** A frame that came is not applied yet. */
  get _behind() { return this._top > (this.seq ?? -1); }
  /** Drops the oldest messages of the copy; they can be loaded again. */
  trim(limit) {
    if (this.messages.size <= limit || this._loading) return false;
    const kept = bySeq(this.messages).slice(-limit);
    this.messages = new Map(kept.map(message => [message.ID, message]));
    this.from = kept[0].Seq;
    this._jumps++;
    return true;
  }
  snapshot(limit) {
    const messages = bySeq(this.messages).slice(-limit), kept = { messages, members: [...this.members.values()], marks: [...this._marks] };
    for (const name of KEPT) kept[name] = this[name];
    if (messages.length < this.messages.size) kept.from = messages[0].Seq;
    kept.hasMembers &&= this.members.size > 0;
    return kept;
  }
  _restore(kept) {
    const { messages, members, marks, seq, info } = kept;
    if (!mayBe(seq, isSeq) || !mayBe(info, isInfo) || !messages.every(isStored) || !members.every(isMember)) throw malformed('no room');
    // JSON has no Infinity, and the store of an older release has no epoch: these stay as they are in a new room.
    for (const name of KEPT) this[name] = kept[name] ?? this[name];
    this._marks = new Map(marks);
    for (const message of messages) this.messages.set(message.ID, message);
    for (const member of members) this.members.set(member.UserID, member);
  }
}

/** An upload. It continues after a reload if the store keeps blobs. */
class Upload {
  state = 'waiting'; loaded = []; error = null; _rounds = 0; sending = new Set();
  constructor(chat, record) {
    Object.assign(this, record);
    this._chat = chat;
    this.total = Math.max(1, Math.ceil(this.file.size / this.chunkSize));
    this.done = new Promise((done, fail) => { this._finish = done; this.fail = fail; });
    this.done.catch(() => {});
  }
  get size() { return this.file.size; }
  get progress() { return this.loaded.reduce((sum, part) => sum + part, 0) / (this.size || 1); }
  _part(index) { return this.file.slice((index - 1) * this.chunkSize, index * this.chunkSize); }
  pause() { if (['running', 'waiting'].includes(this.state)) this._stop('paused'); }
  resume() { if (['paused', 'failed'].includes(this.state)) { this.state = 'waiting'; this._chat._upload(this); } }
  async cancel() {
    this._end(new ChatError('cancelled', 'cancelled'));
    this._chat._uploadEnded(this);
    if (this.MessageID) await this._chat.request('DELETE', `/files/${this.MessageID}/upload`);
    else this._chat.discard(this.Sign);
  }
  _end(error) {
    this._stop('cancelled');
    this.fail(error);
  }
  _stop(state) {
    this.state = state;
    this._requests?.abort();
    this._chat._emit('upload', this);
  }
}

export class Chat {
  rooms = new Map(); presence = new Map(); profiles = new Map(); uploads = new Map(); queue = []; me = null; state = 'closed'; synced = false;
  stats = { frames: 0, missed: 0, doubled: 0, malformed: 0, resyncs: 0, connects: 0, moves: 0, sent: 0, resent: 0 };
  // Of a move: the socket that is being opened, and the one that is being left.
  #options; #socket = null; #next = null; #old = null; #go = null; #later = null; #hops = 0; #movedAt = -Infinity; #listeners = new Set(); #timers = new Map(); #waiting = new Map(); #token; #fails = 0; #wanted = false;
  #heard = 0; #attempt = 0; #saving = new Set(); #saved = Promise.resolve(); #loads = new Map();
  #who = null; #held = []; #asking = null; #refused = false; #tokenFails = 0; #renewals = 0; #broken = 0; #renames = new Map(); #uses = 0; #running = 0; #line = [];

  /** @param options see chat.d.ts */
  constructor(options = {}) {
    const set = this.#options = {
      url: '', prefix: '/api/v1', path: '/ws/v1/chat', clock: { now: () => Date.now(), set: (run, wait) => setTimeout(run, wait), clear: id => clearTimeout(id) },
      random: Math.random, uuid, history: 50, keep: 200, most: 10000, chunkSize: 5 << 20, parallel: 3, answerWait: 20000, requestWait: 30000,
      WebSocket: globalThis.WebSocket, fetch: (...words) => fetch(...words), ...given(options), ...(options.cookies && { token: null }),
    };
    const bare = part => part.trim().replace(/\/+$/, ''), slash = part => bare(part).replace(/^\/*(?=.)/, '/');
    set.url = bare(set.url);
    set.prefix = slash(set.prefix);
    set.path = slash(set.path);
    if (set.user) this.#who = `${set.user}`; else if (typeof set.token === 'string') this.#claim(set.token);
    if (!set.WebSocket) throw new ChatError('no_websocket', 'no WebSocket');
    this.store = set.store ?? (globalThis.indexedDB ? new IndexedDBStore(set.name) : new MemoryStore());
  }
  #now() { return this.#options.clock.now(); }
  /** Every wait of this client passes here. One that is no number must not fire at once. */
  #set(run, wait) { return this.#options.clock.set(run, wait > 0 ? Math.min(wait, LONGEST) : wait <= 0 ? 0 : 1000); }
  #cancel(id) { this.#options.clock.clear(id); }
  #online = () => this.state === 'waiting' && this.#connect();

  on(type, listener) {
    const added = { type, listener };
    this.#listeners.add(added);
    return () => this.#listeners.delete(added);
  }
  _emit(type, value) {
    for (const one of [...this.#listeners]) {
      // An error in a listener must not stop the stream: the next frame must still be counted.
      try { if (one.type === type) one.listener(value); } catch (error) { queueMicrotask(() => { throw error; }); }
    }
  }

  // -- The store

  /** Loads the store's contents, as soon as it is known that they are this user's. connect() calls it. */
  open() {
    return this.#opened ??= (async () => {
      // A token says whose it is. Without one, the first frame does.
      if (this.#who == null && typeof this.#options.token === 'function') await this.#within(5000, this.#bearer()).catch(() => {});
      try { this.#held = (await this.store.all()).sort((a, b) => (a[1]?.At ?? 0) - (b[1]?.At ?? 0)); } catch (error) { this._emit('error', error); }
      this.#unpack(value => this.#who != null && value?.Of === this.#who);
    })();
  }
  #opened;
  /** Takes out of the store's entries those that are this user's. */
  #unpack(isOwn) {
    const waited = [], left = [];
    for (const entry of this.#held) {
      const [key, value] = entry, kind = /^(room|send|file):/.exec(key)?.[1];
      if (!kind || !isOwn(value)) { left.push(entry); continue; }
      this.me ??= value.Me;
      try {
        if (kind === 'room') this.#restored(value);
        else if (kind === 'send') { if (isMap(value.frame)) waited.push({ ...value, _busy: false, _tried: 0 }); }
        else this.uploads.set(value.Sign, new Upload(this, value));
      } catch (error) { this._emit('error', error); }
    }
    this.#held = left;
    // Items added while the store was read are newer.
    this.queue.unshift(...waited);
    this._emit('rooms');
  }
  #restored(value) {
    const room = new Room(value.ID);
    room._restore(value);
    for (const message of room.messages.values()) this.#know(message.Sender);
    for (const member of room.members.values()) this.#know(member);
    if (this.rooms.has(room.ID)) return;
    this.rooms.set(room.ID, room);
    if (!value.Me) this.#save(room);
  }
  /** A store that hangs is passed over: the chat goes on without it. */
  #keep(key, value) {
    return this.#change(() => value === undefined ? this.store.delete(key) : this.store.set(key, isMap(value) ? { ...value, Of: this.#who, Me: this.me } : value));
  }
  #change(run) { return this.#saved = this.#saved.then(() => this.#within(10000, run())).catch(error => this._emit('error', error)); }
  #save(room) {
    this.#saving.add(room);
    this.#after('save', 300, () => { this.#trim(); this.flush(); });
  }
  /** Of each room the newest messages stay in memory; of the rooms used longest ago only those that the store keeps. */
  #trim() {
    const { most, keep } = this.#options;
    let left = 5 * most;
    for (const room of [...this.rooms.values()].sort((a, b) => b._used - a._used)) {
      if (room.trim(Math.max(1, keep, Math.min(most, left)))) { this.#saving.add(room); this._emit('room', room); }
      left -= room.messages.size;
    }
  }
  /** Resolves when the store has everything. */
  flush() {
    for (const room of this.#saving) {
      if (this.rooms.get(room.ID) === room) this.#keep(`room:${room.ID}`, room.snapshot(this.#options.keep));
    }
    this.#saving.clear();
    return this.#saved;
  }
  /** Deletes all local data, so that the next user does not see it. */
  async clear() {
    this.#forget();
    await this.#change(() => this.store.clear());
  }
  /** Nothing of this user is shown, kept or sent any more. */
  #forget() {
    const error = new ChatError('other_user', 'another user has signed in');
    for (const item of this.queue) { this.#settleTimer(item); item.fail?.(error); }
    for (const upload of this.uploads.values()) upload._end(error);
    for (const map of [this.rooms, this.presence, this.profiles, this.uploads, this.#loads, this.#renames, this.#saving]) map.clear();
    this.queue = [];
    this.#held = [];
    this.me = null;
    this._emit('rooms');
  }
  /** Deletes what is another user's. The device of push.js stays: it is what ends that user's notifications here. */
  #clean(isOther) {
    return this.#change(async () => { for (const [key, value] of await this.store.all()) if (key !== 'push' && isOther(value)) await this.store.delete(key); });
  }
  #isUser(UserID) {
    const own = value => value?.Me === UserID;
    if (this.me && this.me !== UserID) this.#forget();
    else {
      // Entries of an older release, and those of a page that never knew its user, belong to the store's.
      const before = this.#held.find(([key]) => key === 'me')?.[1];
      this.me = UserID;
      this.#unpack(value => isMap(value) && (value.Me ? own(value) : value.Of ? value.Of === this.#who : !before || before === UserID));
    }
    this.me = UserID;
    if (this.#cleaned === UserID) return;
    this.#cleaned = UserID;
    this.#held = [];
    for (const item of this.queue) if (item.Me !== UserID) this.#keepItem(item);
    for (const upload of this.uploads.values()) if (upload.Me !== UserID) this.#keepFile(upload);
    this.#clean(value => !own(value));
    this.#keep('me', UserID);
  }
  #cleaned = null;
  /** A token of another user ends everything of the one before, at once. */
  #claim(token) {
    const { sub } = claimsOf(token), before = this.#who;
    if (this.#options.user || sub == null) return;
    this.#who = `${sub}`;
    if (before == null || before === this.#who) return;
    this.#forget();
    this.#cleaned = null;
    if (this.#socket) this.#lost(1000, 'other_user');
  }

  // -- The connection

  #after(name, wait, run) {
    this.#stop(name);
    this.#timers.set(name, this.#set(run, wait));
  }
  #stop(name) { this.#cancel(this.#timers.get(name)); }
  #become(state) { if (this.state !== state) { this.state = state; this._emit('state', state); } }

  async connect() {
    this.#wanted = true;
    globalThis.addEventListener?.('online', this.#online);
    await this.open();
    if (['closed', 'waiting', 'replaced'].includes(this.state)) await this.#connect();
  }
  close() {
    this.#wanted = false;
    this.#lose();
    this.#become('closed');
    globalThis.removeEventListener?.('online', this.#online);
    return this.flush();
  }

  /** Of a fetch. Cookies of the page's own origin are sent without this. */
  get #cookies() { return this.#options.cookies && { credentials: 'include' }; }
  #proof(token) { return token && { Authorization: `Bearer ${token}` }; }
  /** The token to send; another one than `used`, which was refused or expires. */
  async #bearer(used) {
    const { token } = this.#options;
    if (typeof token !== 'function') return token && lineOf(token, 'token');
    if (this.#token && this.#token !== used) return this.#token;
    return this.#asking ??= this.#askToken(!!used || this.#refused).finally(() => { this.#asking = null; });
  }
  /** All requests wait for one answer. Whatever the host's function does, it is asked again, less and less often. */
  async #askToken(fresh) {
    try {
      if (this.#tokenFails) await this.#pause(this.#backoff(this.#tokenFails));
      const asked = (async () => lineOf(await this.#options.token(fresh), 'token'))();
      // A late answer counts too.
      asked.then(token => { this.#token ??= token; }, () => {});
      const token = await this.#within(this.#options.requestWait, asked);
      this.#claim(token);
      this.#tokenFails = 0;
      this.#refused = false;
      return this.#token = token;
    } catch (cause) {
      this.#tokenFails++;
      const error = new ChatError('token', textOf(cause), { cause });
      this._emit('error', error);
      throw error;
    }
  }
  /** Milliseconds until another try: as the server says, at most ten minutes; otherwise twice as long each time. Always with a random part:
   *  clients must not all come at once. A server that says the same short wait for ever is asked less and less, too. */
  #backoff(fails, named, first = 300, most = 30000) {
    const { random } = this.#options, own = Math.min(most, first * 2 ** Math.min(fails, 20));
    return named > 0 ? Math.max(Math.min(named, NAMED), own / 16) * (1 + 0.2 * random()) : own * (0.2 + 0.8 * random());
  }
  #within(wait, promise) {
    let timer;
    return Promise.race([promise, new Promise((_, fail) => { timer = this.#set(() => fail(new ChatError('timeout', 'no answer')), wait); })])
      .finally(() => this.#cancel(timer));
  }
  async #connect() {
    const attempt = ++this.#attempt, current = () => attempt === this.#attempt && this.#wanted;
    this.#stop('connect');
    this.#become('connecting');
    // A ticket or a handshake that hangs is abandoned like one that fails.
    this.#after('open', 15000, () => attempt === this.#attempt && this.#lost(1006, ''));
    try {
      await this.#dial(socket => { this.#socket = socket; }, current);
    } catch (cause) {
      if (attempt !== this.#attempt) return;
      const error = cause instanceof ChatError ? cause : new ChatError(this.#options.ticket ? 'ticket' : 'network', textOf(cause), { cause, status: cause?.status ?? 0 });
      if (error.code === 'ticket') this._emit('error', error);
      this.#lost(error.status === 401 ? 4001 : 1006, '', error.retryAfter, error);
    }
  }
  /** A new socket, unless it is not wanted any more when its ticket comes. */
  async #dial(use, current, to) {
    const { url, path, ticket, WebSocket } = this.#options;
    const pass = lineOf(ticket ? await ticket() : (await this.request('POST', '/ws-ticket', { tries: 1 }))?.Ticket, 'ticket');
    if (!current()) return;
    const own = (url || globalThis.location?.origin || '').replace(/^http/i, 'ws') + path;
    // Never from wss to ws.
    const socket = new WebSocket(`${to?.startsWith(/^wss:/i.test(own) ? 'wss:' : 'ws') ? to : own}?ticket=${encodeURIComponent(pass)}&move=1`, ['chat.json']);
    use(socket);
    this.#broken = 0;
    socket.onmessage = event => {
      if (![this.#socket, this.#next, this.#old].includes(socket)) return;
      if (socket === this.#socket) this.#heard = this.#now();
      let frame;
      try { this.#frame(frame = JSON.parse(event.data), socket); } catch (error) { this.#malformed(error, frame); }
    };
    socket.onclose = event => {
      if (socket === this.#socket) this.#lost(event.code, `${event.reason ?? ''}`);
      if (socket === this.#old) this.#left();
      if (socket === this.#next) this.#moveOn();
    };
    socket.onerror = () => {};
  }

  // -- A move: the next socket is opened and resumed before this one is closed. Until then both bring every frame.

  #move({ URL, Within }) {
    if (this.#old) this.#later = { URL, Within };
    if (this.#go || this.#old) return;
    const now = this.#now();
    // A server that says so again and again is followed less and less often.
    this.#hops = now - this.#movedAt < 60000 ? this.#hops + 1 : 0;
    this.#go = { to: URL, until: now + 1000 * Math.min(3600, Math.max(5, Within > 0 ? Within : 30)), fails: this.#hops };
    this.#moveOn();
  }
  /** Another try; none when the time is over: this socket stays, until the server closes it. */
  #moveOn() {
    const go = this.#go, socket = this.#next, left = go.until - this.#now(), wait = Math.min(this.#backoff(go.fails++, 0, 500), left / 2), { fails } = go, current = () => go === this.#go && go.fails === fails;
    this.#next = null;
    shut(socket);
    if (left < 1000) { this.#go = null; return this.#stop('move'); }
    this.#after('move', wait, () => {
      this.#after('move', 15000, () => this.#moveOn());
      this.#dial(next => { this.#next = next; }, current, go.to).catch(() => current() && this.#moveOn());
    });
  }
  /** The next socket is welcomed: from here on requests go there. Answers of the old one still come on that. */
  #moved(data) {
    if (data.UserID !== this.me) return this.#moveOn();
    this.#old = this.#socket;
    this.#socket = this.#next;
    this.#next = this.#go = null;
    this.#stop('move');
    this.#movedAt = this.#heard = this.#now();
    this.stats.moves++;
    this.#begin(data);
    this.#leave();
  }
  /** Closes the old socket when nothing is under way there, and the new one has resumed. */
  #leave() {
    if (this.#old && ![...this.queue, ...this.#waiting.values()].some(one => one._resumes || one._on === this.#old)) this.#left();
  }
  #left() {
    const old = this.#old, later = this.#later;
    this.#old = this.#later = null;
    shut(old);
    if (later) this.#move(later);
    // The new socket brings again what the old one brought first.
    for (const room of this.rooms.values()) {
      room._caught = Math.max(room._caught, room.seq);
      if (room._behind && !room._catching) this.#catchUp(room);
    }
    for (const call of this.#waiting.values()) if (call._on === old) call.fail(new ChatError('closed', 'no connection'));
    for (const item of this.queue) if (item._on === old) { this.#settleTimer(item); this.#pump(laneOf(item)); }
  }
  #lose() {
    const sockets = [this.#socket, this.#next, this.#old];
    this.#socket = this.#next = this.#old = this.#go = this.#later = null;
    this.#attempt++;
    this.synced = false;
    for (const name of this.#timers.keys()) if (name !== 'save') this.#stop(name);
    sockets.forEach(shut);
    for (const item of this.queue) this.#settleTimer(item);
    for (const room of this.rooms.values()) { room.early.clear(); room._top = -1; room._resuming = false; }
    for (const call of this.#waiting.values()) call.fail(new ChatError('closed', 'no connection'));
    this.#waiting.clear();
  }
  #lost(code, reason, wait, error) {
    // The server would close the connection again because of the same message: the longest of those on their way.
    const size = item => JSON.stringify(item.frame).length, [long] = code === 1009 ? this.queue.filter(item => item._busy).sort((a, b) => size(b) - size(a)) : [];
    this.#lose();
    if (long) this.#refuse(long, new ChatError('too_large', 'too large'));
    this._emit('closed', { code, reason, error });
    if (!this.#wanted) return this.#become('closed');
    if (STAY_AWAY.has(code)) { this.#wanted = false; return this.#become(code === 4009 ? 'replaced' : 'closed'); }
    const { token, random } = this.#options, fails = this.#fails++;
    if (code === 4001) { this.#token = undefined; this.#refused = true; }
    let named = wait ?? (code === 1001 ? 1000 * /\d+/.exec(reason)?.[0] : 0);
    // A token that is a text stays refused, or the server needs some time.
    if (code === 1008 || (code === 4001 && typeof token === 'string')) named = Math.max(60000, named);
    // The first retry is short: after 4008 the server expects it at once.
    const pause = code === 4008 && !fails ? 200 * random() : Math.max(this.#backoff(fails, named, 500), code === 1001 && !(named > 0) ? 1000 + 9000 * random() : 0);
    this.#become('waiting');
    this.#after('connect', pause, () => this.#connect());
  }
  #send(frame) {
    try { this.#socket.send(JSON.stringify(frame)); return true; } catch { return false; }
  }
  /** A request over the socket and its answer; not kept when the connection ends. */
  async ask(frame) {
    const Sign = this.#options.uuid(), answer = new Promise((done, fail) => this.#waiting.set(Sign, { done, fail, _on: this.#socket, _resumes: frame.Type === 'resume' }));
    try {
      if (this.state !== 'open' || !this.#send({ ...frame, Sign })) throw new ChatError('closed', 'no connection');
      return await this.#within(this.#options.answerWait, answer);
    } finally { this.#waiting.delete(Sign); this.#leave(); }
  }

  /** The beginning of a socket: its requests to resume. */
  #begin(data) {
    // Sent first and immediately: the relay holds back the rooms' frames until it arrives, for a short time only.
    const asked = [], points = [...this.rooms.values()].filter(room => room.seq != null);
    for (const room of points) room._resuming = true;
    // Each entry has up to 100 bytes, and a longer frame would close the connection.
    const most = Math.max(1, Math.min(500, (data.Limits?.MaxFrame || 65536) >> 7));
    for (let at = 0; at < points.length; at += most) {
      asked.push(this.ask({ Type: 'resume', Rooms: points.slice(at, at + most).map(room =>
        ({ RoomID: room.ID, Seq: room.seq, ...(room.info?.Epoch !== undefined && { Epoch: room.epoch }) })) }).catch(() => {}));
    }
    this.#after('calm', 5000, () => { this.#fails = 0; for (const room of points) room._resuming = false; });
    this.#beat(Math.min(300, Math.max(1, data.Heartbeat > 0 ? data.Heartbeat : 30)) * 1000);
    this.#renew();
    return asked;
  }
  #welcome(data) {
    if (this.#next) return this.#moved(data);
    this.#stop('open');
    this.#isUser(data.UserID);
    this.stats.connects++;
    this.#become('open');
    const known = new Map([...this.profiles].slice(-100)), asked = this.#begin(data);
    const attempt = this.#attempt, current = () => attempt === this.#attempt;
    this.#listRooms(current).then(async () => {
      // A server of the previous release does not answer a resume.
      await Promise.race([Promise.all(asked), this.#pause(5000)]);
      if (!current()) return;
      this.synced = true;
      this._emit('synced');
      // No frame that was missed told of these.
      if (!known.size) return;
      const since = this.#now(), users = await this.request('GET', '/users', { query: { ids: [...known.keys()].join() } }).catch(() => []);
      if (!current()) return;
      for (const user of this.#sound(users, isUser)) {
        if (known.has(user.UserID) && !alike(known.get(user.UserID), user) && !(this.#renames.get(user.UserID) >= since)) for (const room of this.rooms.values()) this.#renamed(room, user);
      }
    }).catch(error => {
      if (!current()) return;
      if (error.code !== 'network') this._emit('error', error);
      this.#lost(1006, '', error.retryAfter, error);
    });
    for (const lane of new Set(this.queue.map(laneOf))) this.#pump(lane);
    for (const upload of this.uploads.values()) { if (upload.state === 'failed') upload.state = 'waiting'; this._upload(upload); }
  }
  /** A page does not see the relay's pings: after that long without a frame it sends a request, and closes if there is no answer. */
  #beat(period) {
    this.#after('beat', period, () => {
      const asked = this.#now();
      if (asked - this.#heard < period) return this.#beat(period);
      this.#send({ Type: 'ping' });
      this.#after('beat', 10000, () => this.#heard < asked ? this.#lost(1006, '') : this.#beat(period));
    });
  }
  /** Renews the token before it expires; the socket stays open. One whose end is unknown stays until the server refuses it. */
  #renew() {
    const { token } = this.#options, { exp } = claimsOf(this.#token);
    if (typeof token !== 'function' || !Number.isFinite(exp)) return;
    const left = (exp * 1000 - this.#now()) * 0.8;
    // By this clock each new token may have expired already: then it is asked less and less.
    if (left > 5000) this.#renewals = 0;
    this.#after('auth', left > 5000 ? left : 5000 + this.#backoff(this.#renewals++, 0, 5000, 300000), async () => {
      try { await this.ask({ Type: 'auth', Token: await this.#bearer(this.#token) }); } catch { /* 4001 comes, and with it a new try. */ }
      if (this.state === 'open') this.#renew();
    });
  }

  // -- Frames

  #frame(frame, socket) {
    if (frame?.Type === 'move' && socket !== this.#socket) return;
    if (!isMap(frame) || typeof frame.Type !== 'string') throw malformed('no frame');
    const { Type, Data } = frame, sound = !SHAPES[Type] || SHAPES[Type](Data), room = frame.RoomID ?? Data?.RoomID;
    if ((Type === 'welcome') !== (socket === this.#next || this.state === 'connecting')) throw malformed(`${Type} has no turn`);
    this._emit('frame', frame);
    const run = this.#aside[Type];
    if (!run) {
      if (isID(room) && isSeq(frame.Seq)) this.#stream(room, frame, Type, sound);
      else if (SHAPES[Type]) { if (this.rooms.has(room)) this.#catchUp(this.rooms.get(room)); throw malformed(`${Type} has no room`); }
    }
    if (!sound) throw malformed(`no ${Type}`);
    run?.(Data, room, frame);
  }
  /** Frames outside of a room's order. */
  #aside = {
    __proto__: null,
    welcome: data => this.#welcome(data),
    response: (_, room, frame) => this.#response(frame),
    presence: data => { put(this.presence, data.UserID, data, USERS); this._emit('presence', data); },
    typing: data => this.#typed(data),
    move: data => this.#move(data),
    resync: (data, room) => isID(room) && this.#resync(room, data),
    user_updated: (data, room) => { put(this.#renames, data.UserID, this.#now(), USERS); this.#renamed(this.rooms.get(room), data); },
  };
  /** A frame that cannot be used is passed over; a room's is fetched by REST. A connection of which too many come is given up. */
  #malformed(error, frame) {
    this.stats.malformed++;
    this._emit('error', malformed(textOf(error), { cause: error, frame }));
    if (++this.#broken >= MALFORMED) this.#lost(1006, 'malformed');
  }
  /** The entries that can be used. */
  #sound(list, is) {
    if (!Array.isArray(list)) throw malformed('no list');
    const sound = list.filter(is);
    if (sound.length < list.length) {
      this.stats.malformed += list.length - sound.length;
      this._emit('error', malformed('entries of a list'));
    }
    return sound;
  }
  /** The newest description of a user, wherever it comes from. The users heard of last are kept. */
  #know = profile => {
    const { UserID, ExternalID, Name, Avatar } = profile ?? {}, had = this.profiles.get(UserID);
    if (Name == null) return;
    const same = alike(had, profile), now = same ? had : { UserID, ExternalID, Name, Avatar };
    put(this.profiles, UserID, now, USERS);
    if (!same) this._emit('profile', now);
  };
  /** A page that was asked for before `user_updated` came has the name before; so has a frame that was on its way, for some seconds. */
  #called(user, one, since = this.#now() - 10000) {
    const known = this.profiles.get(user), old = this.#renames.get(user) >= since && known;
    if (!old) this.#know(one);
    return old || one;
  }
  #named(message, since) {
    const Sender = this.#called(message.SenderID, message.Sender, since);
    return Sender === message.Sender ? message : { ...message, Sender };
  }
  /** The messages and the member that the copy has get the new description too. */
  #renamed(room, { UserID, ExternalID, Name, Avatar }) {
    const Sender = { UserID, ExternalID, Name, Avatar };
    this.#know(Sender);
    if (!room) return;
    const now = message => (message?.SenderID === UserID && !alike(message.Sender, Sender) ? { ...message, Sender } : message), member = room.members.get(UserID);
    for (const map of [room.messages, room._aside]) for (const [id, message] of map) map.set(id, now(message));
    if (room.info) room.info.LastMessage = now(room.info.LastMessage);
    if (member) room.members.set(UserID, { ...member, ...Sender });
    this.#save(room);
    this._emit('room', room);
  }
  #typed({ RoomID, UserID }) {
    const room = this.rooms.get(RoomID);
    if (!room) return;
    if (room.typing.size >= TYPING && !room.typing.has(UserID)) return;
    this.#cancel(room.typing.get(UserID));
    room.typing.set(UserID, this.#set(() => { room.typing.delete(UserID); this._emit('typing', room); }, 6000));
    this._emit('typing', room);
  }
  #resync(id, { Epoch }) {
    this.stats.resyncs++;
    const room = this.#room(id);
    // A lower Seq in the same epoch means nothing: REST may have returned newer state than the relay has yet.
    if (Epoch !== undefined && Epoch !== room.epoch) { room._forget(); room.epoch = Epoch; }
    this.#catchUp(room);
  }
  #room(id) {
    let room = this.rooms.get(id);
    if (!room) {
      if (this.rooms.size >= MANY) throw malformed('too many rooms');
      this.rooms.set(id, room = new Room(id));
    }
    return room;
  }
  /** One frame in a room's order: applied in turn, kept if early, dropped if already applied. One that is not `sound` only says that something is there. */
  #stream(id, frame, kind, sound) {
    const room = this.#room(id), { Seq } = frame;
    const first = sound && room.seq == null && kind === 'room_updated' && this.#base(frame.Data);
    if (first && !room._catching) room.seq = Seq - 1;
    if (room.seq != null && !room._catching && Seq <= room.seq) {
      if (room._answered.delete(Seq)) return;
      if (!room._resuming && !this.#old && Seq > room._caught) this.stats.doubled++;
      if (sound && SHAPES[kind] === isStored) room._merge(this.#named(frame.Data));
      return;
    }
    this.stats.frames++;
    room._top = Math.max(room._top, Seq);
    if (sound && (room.early.size < EARLY || Seq === room.seq + 1)) room.early.set(Seq, { frame, kind });
    if (room._catching) return;
    if (room.seq == null) return void this.#catchUp(room);
    this.#drain(room);
    // In a move the answer to the resume brings what is before it.
    if (room._behind && !(this.#old && room._resuming)) {
      if (room._timer == null) this.stats.missed++;
      this.#catchUp(room);
    }
  }
  /** This frame created the room or added this user to it: the copy begins here. */
  #base({ Change, Member }) { return Change === 'created' || (Change === 'joined' && Member?.UserID === this.me); }
  #drain(room) {
    for (let next; (next = room.early.get(room.seq + 1));) {
      room.early.delete(room.seq + 1);
      room.seq++;
      if (next._answer) room._answered.add(room.seq);
      this.#apply(room, next.frame, next.kind);
      if (this.rooms.get(room.ID) !== room) return;
    }
    for (const seq of room.early.keys()) if (seq <= room.seq) room.early.delete(seq);
    if (room._answered.size > 100) room._answered.clear();
    this.#save(room);
  }
  #apply(room, { Data, Seq }, kind) {
    const fresh = Seq > room.infoSeq, { info } = room;
    if (SHAPES[kind] === isStored) Data = this.#named(Data);
    if (fresh) room.infoSeq = Seq;
    if (info && fresh) info.LastSeq = Seq;
    if (kind === 'new_message') {
      room._merge(Data);
      this.#sent(Data);
      // The message is stored.
      this.#cancel(room.typing.get(Data.SenderID));
      room.typing.delete(Data.SenderID);
      if (info && fresh) {
        info.LastMessage = Data;
        if (Data.SenderID !== this.me && info.Unread != null) info.Unread++;
      }
      this._emit('message', { room, message: Data, isNew: true });
    } else if (kind === 'message_updated') {
      room._merge(Data);
      if (info?.LastMessage?.ID === Data.ID && (info.LastMessage.ChangeSeq ?? 0) <= (Data.ChangeSeq ?? 0)) info.LastMessage = Data;
      this._emit('message', { room, message: Data, isNew: false });
    } else if (kind === 'seen') this.#marked(room, Data, fresh);
    else if (kind === 'room_updated') this.#roomChanged(room, Data, fresh);
    this._emit('room', room);
  }
  #marked(room, { UserID, Seq }, fresh) {
    const member = room.members.get(UserID);
    room._mark(UserID, Seq);
    if (member && Seq > member.LastSeenSeq) member.LastSeenSeq = Seq;
    if (UserID === this.me) {
      room.seenSeq = Math.max(room.seenSeq, Seq);
      if (room.info && fresh) this.#count(room);
    }
    this._emit('seen', { room, UserID, Seq });
  }
  /** Messages of others after the own seen mark: counted locally if the copy has all of them, otherwise requested. */
  #count(room) {
    if (room.infoSeq > room.seq || (room.from > room.seenSeq + 1 && (room.lastMessage?.Seq ?? 0) > room.seenSeq)) return void this.#refresh(room);
    room.info.Unread = bySeq(room.messages).filter(message => message.Seq > room.seenSeq && message.SenderID !== this.me).length;
  }
  #roomChanged(room, data, fresh) {
    const { Change, Room: info, MessageID, PurgedThrough } = data, member = data.Member && this.#described(data.Member), gone = ['left', 'removed', 'banned'].includes(Change);
    if (Change === 'deleted' || (gone && member?.UserID === this.me)) return this.#remove(room);
    const { Unread, Role, MutedUntil, LastMessage } = room.info ?? {};
    if (info && fresh) room.info = { ...room.info, ...info, Unread: Unread ?? 0, Role: Role ?? info.Role, MutedUntil: MutedUntil ?? null, LastMessage: LastMessage ?? info.LastMessage, LastSeq: data.Seq };
    if (member) {
      room._mark(member.UserID, member.LastSeenSeq);
      if (gone) room.members.delete(member.UserID); else if (room.hasMembers) room.members.set(member.UserID, member);
      if (room.info && member.UserID === this.me) Object.assign(room.info, { Role: member.Role, MutedUntil: member.MutedUntil });
    }
    if (MessageID || PurgedThrough) room._jumps++;
    if (MessageID) {
      const message = room.messages.get(MessageID);
      if (message && data.Seq >= (message.ChangeSeq ?? 0)) room.messages.set(MessageID, { ...message, PinnedAt: data.PinnedAt ?? null, ChangeSeq: data.Seq });
    }
    if (PurgedThrough) for (const [id, { Seq }] of room.messages) if (Seq <= PurgedThrough) room.messages.delete(id);
    // Only the server can count the members, and the messages left after a purge.
    if (member || PurgedThrough || !room.info) this.#refresh(room);
    if (Change === 'owner' && room.hasMembers) this.#catchUp(room);
  }
  /** Name and picture of a member, as in #called. */
  #described(member, since) {
    const { ExternalID, Name, Avatar } = this.#called(member.UserID, member, since);
    return Name == null ? member : { ...member, ExternalID, Name, Avatar };
  }
  #remove(room) {
    room._generation++;
    for (const done of room._waits.splice(0)) done();
    this.#gone.add(room.ID);
    this.rooms.delete(room.ID);
    this.#keep(`room:${room.ID}`);
    this._emit('rooms');
  }

  // -- REST beside the stream

  #gone = new Set();
  async #listRooms(current) {
    const before = new Map([...this.rooms].map(([id, room]) => [id, room.seq])), seen = new Set();
    this.#gone.clear();
    for await (const { list, since } of this.#pages('/rooms', 'cursor', isInfo, 6)) {
      if (!current()) return;
      for (const info of list) {
        seen.add(info.ID);
        const room = this.#room(info.ID);
        // The page was read before this user was removed from the room.
        if (this.#gone.has(info.ID)) this.#catchUp(room);
        else if (room.seq == null && !room._catching && room.from === Infinity && !room.hasMembers) {
          Object.assign(room, { epoch: epochOf(info), seq: info.LastSeq, _caught: info.LastSeq });
          room._jumps++;
          this.#inform(room, info, since);
          this.#drain(room);
          if (room._behind) this.#catchUp(room);
        } else if (room.seq == null || room.dirty) this.#catchUp(room);
        else if (before.has(info.ID) && (epochOf(info) !== room.epoch || info.LastSeq < (before.get(info.ID) ?? 0))) this.#catchUp(room);
        else this.#inform(room, info, since);
      }
      this.#gone.clear();
    }
    // Rooms from which this user was removed while offline. Each is requested: one may have been added while the list was read.
    for (const id of before.keys()) if (!seen.has(id) && this.rooms.has(id)) this.#catchUp(this.rooms.get(id));
    this._emit('rooms');
  }
  #inform(room, info, since) {
    if (info.LastSeq < room.infoSeq || this.rooms.get(room.ID) !== room) return;
    room.info = { ...info, LastMessage: info.LastMessage && this.#named(info.LastMessage, since) };
    room.infoSeq = info.LastSeq;
    room.dirty = false;
    this.#save(room);
    this._emit('room', room);
  }
  #refresh(room) {
    room.dirty = true;
    this.#save(room);
    this.#once(`info:${room.ID}`, async () => {
      for (let tries = 0; tries < 20 && this.rooms.get(room.ID) === room; tries++) {
        // The stream is already ahead of the last answer: it is requested again.
        if (tries) await this.#pause(this.#backoff(tries));
        const { _generation: generation } = room, since = this.#now(), info = await this.#info(room, 6);
        if (generation !== room._generation) return;
        if (info.LastSeq >= room.infoSeq) return this.#inform(room, info, since);
      }
    }).catch(() => {});
  }
  #once(key, run) {
    let load = this.#loads.get(key);
    if (!load) this.#loads.set(key, load = run().finally(() => this.#loads.get(key) === load && this.#loads.delete(key)));
    return load;
  }
  async #info(room, tries) {
    const info = await this.request('GET', `/rooms/${room.ID}`, { tries });
    if (!isInfo(info)) throw malformed('no room');
    return info;
  }

  /** Brings a room up to date by REST, while its frames wait. What REST answers may be behind the frames: then it is asked again, less and less often. */
  #catchUp(room) {
    if (room._catching) { room._generation++; room._again = true; return; }
    if (room._timer != null) return;
    if (this.#now() - room._caughtAt > 10000) room._tries = 0;
    if (!room._tries++) return void this.#catch(room);
    room._timer = this.#set(() => { room._timer = null; if (!room._catching) this.#catch(room); }, this.#backoff(room._tries - 2));
  }
  async #catch(room) {
    room._catching = true;
    for (let fails = 0; this.#wanted && this.rooms.get(room.ID) === room; fails++) {
      room._again = false;
      await this.#turn();
      try {
        if (await this.#catchUpOnce(room)) break;
      } catch (error) {
        // A replica may not have a room yet whose frames are here.
        if ([403, 404].includes(error.status) && !(room._behind && fails < 5)) { room._catching = false; return this.rooms.get(room.ID) === room && this.#remove(room); }
        if (error.code !== 'network') this._emit('error', error);
      } finally { this.#line.length ? this.#line.shift()() : this.#running--; }
      await this.#pause(this.#backoff(fails));
    }
    room._catching = false;
    room._caughtAt = this.#now();
    for (const done of room._waits.splice(0)) done();
    if (room.seq == null || this.rooms.get(room.ID) !== room) return;
    this.#drain(room);
    this._emit('room', room);
    if (room._again || room._behind) this.#catchUp(room);
  }
  /** Of many rooms some are brought up to date at once, the others after them. */
  async #turn() { if (this.#running < 6) this.#running++; else await new Promise(done => this.#line.push(done)); }
  async #catchUpOnce(room) {
    const { _generation: generation, seq } = room, path = `/rooms/${room.ID}`, stale = () => room._generation !== generation;
    const since = this.#now(), info = await this.#info(room);
    if (stale()) return false;
    if ((seq != null && epochOf(info) !== room.epoch) || info.LastSeq < (seq ?? 0)) {
      room._forget();
      room.epoch = epochOf(info);
      return false;
    }
    const opened = room.from !== Infinity, members = [], { hasMembers } = room;
    if (opened || hasMembers) for await (const page of this.#pages(`${path}/members`, 'cursor', isMember)) members.push(...page.list);
    let whole = seq == null || info.LastSeq - seq > 500, changed = [], newest;
    if (opened && !whole) {
      for (let place = seq, pages = 0; place != null; pages++) {
        const page = await this.#messages(room, { changed_since: place, limit: 100 }), next = page.next && +page.next;
        changed.push(...page.list);
        if (pages > 20 || (next != null && !(next > place))) { whole = true; break; }
        place = next;
      }
    }
    if (opened && whole) newest = await this.#messages(room, { limit: this.#options.history });
    if (stale() || opened !== (room.from !== Infinity)) return false;
    if (!opened) room._jumps++;
    if (newest) {
      // Too much was missed: the copy starts again with the newest page.
      room.messages.clear();
      room._jumps++;
      room.from = newest.next == null ? 0 : newest.list.at(-1)?.Seq ?? 0;
      changed = newest.list;
    }
    for (const message of changed) { room._merge(message); this.#sent(message); }
    for (const member of members) room._mark(member.UserID, member.LastSeenSeq ?? 0);
    const described = members.map(member => [member.UserID, this.#described(member, since)]);
    if (hasMembers) room.members = new Map(described);
    const mine = members.find(member => member.UserID === this.me);
    if (mine) room.seenSeq = Math.max(room.seenSeq, mine.LastSeenSeq ?? 0);
    room.epoch = epochOf(info);
    room.seq = room._caught = Math.max(room.seq ?? 0, info.LastSeq);
    this.#inform(room, info, since);
    return true;
  }
  /** The pages of a list. One whose `Next` is missing is the last; one that leads nowhere, too, and it is told. */
  async *#pages(path, name, is, tries) {
    const places = new Set();
    for (let next = null; ;) {
      const since = this.#now(), page = await this.request('GET', path, { query: { limit: 100, [name]: next }, whole: true, tries });
      yield { list: this.#sound(page.Data, is), since };
      next = page.Next ?? null;
      if (next === null) return;
      if (places.has(`${next}`) || places.size > PAGES) return this._emit('error', malformed(`${path} has no end`));
      places.add(`${next}`);
    }
  }
  async #messages(room, query) {
    const since = this.#now(), page = await this.request('GET', `/rooms/${room.ID}/messages`, { query, whole: true });
    return { list: this.#sound(page.Data, isStored).map(message => this.#named(message, since)), next: page.Next ?? null };
  }
  /** A page of older messages; the first call shows the newest. Resolves to whether there are more, and room for them. */
  loadOlder(id) {
    const room = this.#room(id), { history, most } = this.#options;
    room._used = ++this.#uses;
    return this.#once(`older:${id}`, async () => {
      if (room.messages.size >= most) return false;
      room._loading = true;
      try {
        for (let page, jumps, tries = 0; !room.complete && page === undefined; tries++) {
          jumps = room._jumps;
          page = await this.#messages(room, { limit: history, before: room.from === Infinity ? null : room.from });
          if (this.rooms.get(id) !== room) throw new ChatError('closed', 'no room');
          // Frames that were not fetched may have changed the messages on this page.
          if (jumps !== room._jumps) { page = undefined; await this.#pause(this.#backoff(tries, 0, 10)); continue; }
          const from = page.next == null ? 0 : page.list.at(-1)?.Seq;
          if (!(from < room.from)) throw malformed(`${id} has no end`);
          room.from = from;
          for (const message of [...page.list, ...room._aside.values()]) room._merge(message);
        }
      } finally { room._loading = false; room._aside.clear(); }
      this.#save(room);
      this._emit('room', room);
      return !room.complete && room.messages.size < most;
    });
  }
  /** Loads all members of the room; its frames keep the list up to date from then on. */
  async loadMembers(id) {
    const room = this.#room(id);
    if (!room.hasMembers || !room.members.size) {
      room.hasMembers = true;
      await new Promise(done => { room._waits.push(done); this.#catchUp(room); });
      if (!room.members.size) throw new ChatError('closed', 'no members');
    }
    return [...room.members.values()];
  }

  /** A REST request, repeated after the waits that the server names. Resolves to `Data`, or with `whole` to the answer. */
  async request(method, path, { body, query, sign, tries = 4, whole = false, signal } = {}) {
    const { url, prefix, fetch, requestWait } = this.#options, who = this.#who, isForm = body instanceof FormData;
    const words = query ? `?${new URLSearchParams(given(query))}` : '';
    for (let attempt = 1, used; ; attempt++) {
      const controller = new AbortController(), stop = () => controller.abort();
      let failure, timer, token;
      try {
        token = await this.#bearer(used);
        if (who != null && who !== this.#who) throw new ChatError('other_user', 'another user has signed in');
        signal?.addEventListener('abort', stop);
        if (signal?.aborted) stop();
        timer = this.#set(stop, requestWait * (isForm ? 20 : 1));
        const answer = await fetch(`${url}${prefix}${path}${words}`, {
          method, signal: controller.signal, ...this.#cookies,
          headers: { ...this.#proof(token), ...(sign && { 'Idempotency-Key': sign }),
            ...(body && !isForm && { 'Content-Type': 'application/json' }) },
          body: body && !isForm ? JSON.stringify(body) : body,
        });
        const text = await answer.text(), { ok, status } = answer;
        let found;
        try { found = JSON.parse(text || '{"Data":null}'); } catch { /* Of a proxy, perhaps. */ }
        if (ok && isMap(found)) return whole ? found : found.Data;
        const { Code, Message, Field, RetryAfter } = found?.Error ?? {}, retryAfter = waitOf(RetryAfter) ?? waitOf(answer.headers.get('Retry-After') * 1000);
        failure = new ChatError(`${Code ?? (ok ? 'malformed' : 'internal')}`, `${Message ?? `HTTP ${status}`}`, { status: ok ? 0 : status, field: Field ?? null, retryAfter });
      } catch (error) {
        failure = signal?.aborted ? new ChatError('aborted', 'aborted') : error instanceof ChatError ? error : new ChatError('network', textOf(error));
      } finally {
        this.#cancel(timer);
        signal?.removeEventListener('abort', stop);
      }
      const { status, code } = failure;
      if (status === 401 && !used && typeof this.#options.token === 'function') { used = token; continue; }
      // Only requests that are safe to repeat are repeated.
      const again = !['aborted', 'other_user'].includes(code) && (status === 429 || status >= 500 || (status === 0 && (code === 'token' || method !== 'POST' || sign || isForm)));
      if (!again || attempt >= tries) throw failure;
      await this.#pause(this.#backoff(attempt, failure.retryAfter, 300, 8000));
    }
  }
  #pause(wait) { return new Promise(done => this.#set(done, wait)); }

  search(q, { room, ...query } = {}) {
    return this.request('GET', room ? `/rooms/${room}/search` : '/search', { query: { q, ...query }, whole: true });
  }
  around(room, seq, limit = 50) { return this.request('GET', `/rooms/${room}/messages`, { query: { around: seq, limit } }); }
  receipts(message) { return this.request('GET', `/messages/${message}/receipts`); }
  createRoom(draft) {
    const sign = this.#options.uuid();
    return this.request('POST', '/rooms', { body: { ...draft, Sign: sign }, sign }).then(info => this.#catchUp(this.#room(info.ID)) ?? info);
  }

  // -- Sending

  /** Sends a message: shown at once, kept until the server has it, stored once. Resolves to the message. `to`: a room's id, or {user}. */
  send(to, Content, more = {}) {
    const where = typeof to === 'string' ? { RoomID: to } : { ReceiverID: to.user }, room = this.rooms.get(to);
    // After a message the next typing may be sent again, after the second within which a relay accepts only one.
    if (room) room._typedAt = this.#now() - 2000;
    return this.#enqueue({ Type: 'message', ...where, Content, MessageType: more.ParentMessageID ? 'replied' : 'direct', ContentType: 'text', ...more });
  }
  edit(message, Content) { return this.#enqueue({ Type: 'edit', MessageID: message.ID, Content }, message.RoomID); }
  delete(message) { return this.#enqueue({ Type: 'delete', MessageID: message.ID }, message.RoomID); }
  react(message, Reaction, Remove = false) { return this.#enqueue({ Type: 'react', MessageID: message.ID, Reaction, Remove }, message.RoomID); }
  /** Marks everything up to here as seen. Of several waiting marks only the farthest is sent. */
  seen(id, Seq = this.rooms.get(id)?.lastMessage?.Seq) {
    if (!Seq || Seq <= (this.rooms.get(id)?.seenSeq ?? 0)) return Promise.resolve(null);
    for (const item of this.queue.filter(one => one.frame.Type === 'seen' && one.frame.RoomID === id)) {
      if (item.frame.Seq >= Seq) return item._promise ?? Promise.resolve(null);
      if (item._busy || item._tried) continue;
      this.#drop(item);
      item.done?.(null);
    }
    return this.#enqueue({ Type: 'seen', RoomID: id, Seq });
  }
  /** Sent at most once in three seconds, and never kept. */
  typing(id) {
    const now = this.#now(), room = this.rooms.get(id);
    if (!room || this.state !== 'open' || now - (room._typedAt ?? -3000) < 3000) return;
    room._typedAt = now;
    this.#send({ Type: 'typing', RoomID: id });
  }
  /** The unsent messages of this room, oldest first: `frame`, `At`, and `error` when the server refused it. */
  pending(id) { return this.queue.filter(item => item.frame.Type === 'message' && laneOf(item) === id && !this.uploads.has(item.Sign)); }
  retry(Sign) {
    const item = this.queue.find(one => one.Sign === Sign);
    if (item) { item.error = null; this.#keepItem(item); this.#pump(laneOf(item)); }
  }
  discard(Sign) {
    const item = this.queue.find(one => one.Sign === Sign);
    if (item) { this.#drop(item); item.fail?.(new ChatError('discarded', 'discarded')); this._emit('queue', laneOf(item)); }
  }

  #enqueue(frame, lane = frame.RoomID ?? frame.ReceiverID, Sign = this.#options.uuid()) {
    const item = { Sign, lane, frame, At: this.#now(), error: null, _busy: false, _tried: 0, _kept: false };
    item._promise = new Promise((done, fail) => Object.assign(item, { done, fail }));
    item._promise.catch(() => {});
    this.queue.push(item);
    // Stored before it is sent: after a reload it is at worst sent twice, and the server stores it once by its Sign.
    this.#keepItem(item).then(() => { item._kept = true; this.#pump(lane); });
    this._emit('queue', lane);
    return item._promise;
  }
  #keepItem(item) {
    const { Sign, lane, frame, At, error } = item;
    item.Me = this.me;
    return this.#keep(`send:${Sign}`, { Sign, lane, frame, At, error: error && { code: error.code, message: error.message } });
  }
  #drop(item) {
    this.#settleTimer(item);
    this.queue = this.queue.filter(one => one !== item);
    this.#keep(`send:${item.Sign}`);
  }
  #settleTimer(item) { this.#cancel(item._timer); item._busy = false; item._on = null; this.#leave(); }
  /** Sends one item at a time per room: later items must not overtake one that was refused temporarily. */
  #pump(lane) {
    const item = this.queue.find(one => laneOf(one) === lane && !one.error);
    if (!item || item._busy || this.state !== 'open' || item._kept === false) return;
    if (!this.#send({ ...item.frame, Sign: item.Sign })) return;
    item._on = this.#socket;
    this.stats[item._tried++ ? 'resent' : 'sent']++;
    this.#pumpAfter(item, this.#options.answerWait);
  }
  #pumpAfter(item, wait) {
    item._busy = true;
    item._timer = this.#set(() => { item._busy = false; this.#pump(laneOf(item)); }, wait);
  }
  #response(frame) {
    const call = this.#waiting.get(frame.Sign), item = this.queue.find(one => one.Sign === frame.Sign), { RoomID, Seq, Data, RetryAfter } = frame;
    const [, code = 'internal', message = ''] = /^(\w+): ?([^]*)$/.exec(frame.Error ?? '') ?? [], retryAfter = waitOf(RetryAfter);
    const error = frame.Success ? null : new ChatError(code, message, { sign: frame.Sign, retryAfter });
    if (call) {
      // A resume is refused for each room that this user is not in, and then answered.
      if (call._resumes && error?.code === 'not_a_member') return;
      if (error) return call.fail(error);
      if (call._resumes) for (const one of Data?.Rooms ?? []) if (this.rooms.has(one.RoomID)) this.rooms.get(one.RoomID)._resuming = false;
      return call.done(Data);
    }
    if (error) {
      if (!item) return this._emit('error', error);
      this.#settleTimer(item);
      if (!LATER.has(code) || (code === 'internal' && item._tried >= 5)) return this.#refuse(item, error);
      return this.#pumpAfter(item, this.#backoff(item._tried, retryAfter, 400, 15000));
    }
    const type = item?.frame.Type, is = type === 'seen' ? isMark : item ? isMessage : one => mayBe(one, isMap);
    const kind = CHANGES[type] ?? (type === 'seen' ? 'seen' : Data?.Change ? 'room_updated' : Data?.UserID ? 'seen' : Data?.Seq === Seq ? 'new_message' : 'message_updated');
    if (!is(Data) || !mayBe(RoomID, isID) || !mayBe(Seq, isSeq)) throw malformed(`no ${kind}`);
    const at = this.rooms.get(RoomID ?? Data?.RoomID) ?? (RoomID && Seq ? this.#room(RoomID) : null);
    if (at && Seq && SHAPES[kind](Data) && (at.seq == null || at._catching || Seq > at.seq)) {
      // The answer counts as the frame with its Seq. The answer to a retry may have an old Seq, or one that the resume has not brought yet.
      const own = kind === 'new_message' ? Data.Seq : kind === 'message_updated' ? Data.ChangeSeq : Seq;
      if (own === Seq && at.early.size < EARLY) at.early.set(Seq, { frame, kind, _answer: true });
      if (at.seq == null) this.#catchUp(at); else if (!at._catching) this.#drain(at);
    }
    if (at && at.from !== Infinity && isMessage(Data)) at._merge(this.#named(Data));
    if (at && type === 'seen' && Data.UserID === this.me) { this.#marked(at, Data, false); if (at.info) this.#count(at); }
    if (item) this.#stored(item, Data);
    if (at) this._emit('room', at);
  }
  /** Refused for good. */
  #refuse(item, error) {
    item.error = error;
    if (item.frame.Type === 'message') this.#keepItem(item); else this.#drop(item);
    item.fail?.(error);
    this.#uploadRefused(item);
    this._emit('queue', laneOf(item));
    this.#pump(laneOf(item));
  }

  /** The own message arrived in the stream: this also means that it is stored. */
  #sent(message) {
    if (message.SenderID !== this.me || !message.Sign) return;
    const item = this.queue.find(one => one.Sign === message.Sign);
    if (item) this.#stored(item, message);
  }
  #stored(item, data) {
    if (!this.queue.includes(item)) return;
    const upload = this.uploads.get(item.Sign);
    if (upload && data?.ID) { upload.MessageID = data.ID; this.#keepFile(upload); this._upload(upload); }
    this.#drop(item);
    item.done?.(data);
    this._emit('queue', laneOf(item));
    this.#pump(laneOf(item));
  }

  // -- Files

  /** Uploads a file in parallel chunks; `done` of the returned upload resolves to the message. */
  sendFile(room, file, { name = file.name || 'file', type, ...more } = {}) {
    const Sign = this.#options.uuid(), kind = /^(image|video|audio)\//.exec(file.type)?.[1] ?? 'file';
    const upload = new Upload(this, { Sign, RoomID: room, name, file, chunkSize: this.#options.chunkSize, MessageID: null, At: this.#now() });
    this.uploads.set(Sign, upload);
    this.#keepFile(upload).then(() => this.#enqueue({ Type: 'message', RoomID: room, Content: name, MessageType: 'direct', ContentType: type ?? kind, ...more }, room, Sign));
    this._emit('upload', upload);
    return upload;
  }
  #keepFile(upload) {
    const { Sign, RoomID, name, file, chunkSize, MessageID, At } = upload;
    upload.Me = this.me;
    return this.#keep(`file:${Sign}`, { Sign, RoomID, name, file, chunkSize, MessageID, At });
  }
  _uploadEnded(upload) { this.uploads.delete(upload.Sign); this.#keep(`file:${upload.Sign}`); }
  #uploadRefused(item) {
    const upload = this.uploads.get(item.Sign);
    if (!upload) return;
    upload.error = item.error;
    this._uploadEnded(upload);
    this.#drop(item);
    upload.fail(item.error);
    upload._stop('failed');
  }
  async _upload(upload) {
    if (upload.state !== 'waiting' || !upload.MessageID) return;
    upload.state = 'running';
    upload._requests = new AbortController();
    this.#cancel(upload._timer);
    this._emit('upload', upload);
    const path = `/files/${upload.MessageID}/upload`, { parallel } = this.#options;
    const finished = answer => {
      if (!answer.Completed || upload.state === 'done') return answer.Completed;
      upload.state = 'done';
      upload.loaded = [upload.size];
      if (isMessage(answer.Message)) this.rooms.get(upload.RoomID)?._merge(this.#named(answer.Message));
      this._uploadEnded(upload);
      upload._finish(answer.Message ?? { ID: upload.MessageID });
      this._emit('upload', upload);
      return true;
    };
    try {
      const state = await this.request('GET', path, { tries: 10 });
      if (finished(state)) return;
      const left = [];
      for (let index = 1; index <= upload.total; index++) {
        const here = state.TotalChunk === upload.total && state.Received.includes(index);
        upload.loaded[index] = here ? upload._part(index).size : 0;
        if (!here) left.push(index);
      }
      // If the last answer was lost, sending its chunk again returns the result.
      if (!left.length) left.push(upload.total);
      const run = async () => {
        for (let index; upload.state === 'running' && (index = left.shift());) finished(await this.#chunk(upload, path, index));
      };
      await Promise.all(Array.from({ length: parallel }, run));
      if (upload.state === 'running') { upload.state = 'waiting'; upload._timer = this.#set(() => this._upload(upload), this.#backoff(upload._rounds++, 0, 500)); }
    } catch (error) {
      if (upload.state !== 'running') return;
      upload.error = error;
      if ([404, 410, 413, 415, 422].includes(error.status)) { this._uploadEnded(upload); upload.fail(error); }
      upload._stop('failed');
    }
  }
  async #chunk(upload, path, index) {
    const form = new FormData(), part = upload._part(index);
    form.set('ChunkIndex', index); form.set('TotalChunk', upload.total); form.set('File', part, upload.name);
    upload.sending.add(index);
    this._emit('upload', upload);
    try {
      const answer = await this.request('POST', path, { body: form, tries: 10, signal: upload._requests.signal });
      upload.loaded[index] = part.size;
      this._emit('upload', upload);
      return answer;
    } finally { upload.sending.delete(index); }
  }
  /** The address of a message's file. A browser needs the cookie of POST /session, or fetchFile. */
  fileURL(message, thumbnail = false) { return `${this.#options.url}${this.#options.prefix}/files/${message.ID}${thumbnail ? '/thumbnail' : ''}`; }
  async fetchFile(message, thumbnail = false) {
    const answer = await this.#options.fetch(this.fileURL(message, thumbnail), { ...this.#cookies, headers: this.#proof(await this.#bearer()) });
    if (!answer.ok) throw new ChatError('file', `HTTP ${answer.status}`, { status: answer.status });
    return answer.blob();
  }
}

/** Of an object, what has a value. */
const given = options => Object.fromEntries(Object.entries(options).filter(([, value]) => value != null));
const shut = socket => { try { socket?.close(1000); } catch { /* It is closed already. */ } };
const malformed = (message, more) => new ChatError('malformed', message, more);
const waitOf = named => named > 0 ? +named : null;
const textOf = error => `${error?.message ?? error}`;
/** Keeps those entries that were put last. */
function put(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value);
}
/** A token or a ticket: one line that a header can carry. Never part of an error. */
function lineOf(given, name) {
  const line = typeof given === 'string' ? given.trim() : '';
  if (!/^[\x21-\x7e]+$/.test(line)) throw new ChatError(name, `the ${name} is no ASCII line`);
  return line;
}
/** The claims of a JWT; of anything else none. */
function claimsOf(token) {
  try { return JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))) ?? {}; } catch { return {}; }
}
/** A server without epochs is in the first one. */
const epochOf = info => info.Epoch ?? 1;
const older = (one, other) => (one.ChangeSeq ?? 0) < (other?.ChangeSeq ?? 0);
/** Of a user of whom the host has said nothing there is no description, or an empty one. */
const alike = (one, other) => (one?.Name ?? '') === other.Name && (one?.Avatar ?? '') === other.Avatar && (one?.ExternalID ?? null) === other.ExternalID;
const laneOf = item => item.lane ?? item.frame.RoomID ?? item.frame.ReceiverID;

/** Of version 4. crypto.randomUUID exists only on https and localhost. */
const uuid = () => '00000000-0000-4000-8000-000000000000'.replace(/[08]/g, digit => (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (digit > 0 ? 3 : 15))).toString(16));
