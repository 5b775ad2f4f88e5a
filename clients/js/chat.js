// The chat's client: one module without dependencies, for browsers and for Node 20 or newer. README.md has the interface.

const MIB = 1 << 20;
/** Temporary refusals. Every other one is final. */
const LATER = new Set(['rate_limited', 'busy', 'unavailable', 'locked', 'internal']);
/** Close codes after which the same client would be closed again. */
const STAY_AWAY = new Set([1002, 1003, 1007, 4009]);
const CHANGES = { message: 'new_message', edit: 'message_updated', delete: 'message_updated', react: 'message_updated' };

export class ChatError extends Error {
  constructor(code, message, more = {}) {
    super(message);
    Object.assign(this, { name: 'ChatError', code, status: 0, retryAfter: null, field: null }, more);
  }
}

/** In memory: lost with the process. */
export class MemoryStore {
  #all = new Map();
  async all() { return [...this.#all].map(([key, value]) => [key, structuredClone(value)]); }
  async set(key, value) { this.#all.set(key, structuredClone(value)); }
  async delete(key) { this.#all.delete(key); }
  async clear() { this.#all.clear(); }
}

/** One object store of IndexedDB: survives a reload of the page. */
export class IndexedDBStore {
  #name; #open;
  constructor(name = 'chat') { this.#name = name; }
  #run(mode, use) {
    this.#open ??= new Promise((done, fail) => {
      const asked = indexedDB.open(this.#name, 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore('chat');
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => fail(asked.error);
    });
    return this.#open.then(base => new Promise((done, fail) => {
      const transaction = base.transaction('chat', mode), found = use(transaction.objectStore('chat'));
      transaction.oncomplete = () => done(found);
      transaction.onerror = transaction.onabort = () => fail(transaction.error);
    }));
  }
  async all() {
    const [keys, values] = await this.#run('readonly', store => [store.getAllKeys(), store.getAll()]);
    return keys.result.map((key, place) => [key, values.result[place]]);
  }
  async set(key, value) { await this.#run('readwrite', store => void store.put(value, key)); }
  async delete(key) { await this.#run('readwrite', store => void store.delete(key)); }
  async clear() { await this.#run('readwrite', store => void store.clear()); }
}

/** A room's copy. `seq`: it contains every frame up to this Seq. `from`: it contains every message from this Seq on. */
class Room {
  info = null; epoch = 1; seq = null; from = 0; messages = new Map(); members = new Map(); hasMembers = false; drafts = new Map();
  typing = new Map(); seenSeq = 0;
  infoSeq = -1; early = new Map(); answered = new Set(); generation = 0; catching = false; again = false; resuming = false;
  marks = new Map(); jumps = 0; loading = false; aside = new Map(); caught = 0; dirty = false;
  constructor(id, know) { this.ID = id; this.know = know; }

  /** Oldest first, then the user's own uploads in progress. */
  list() {
    return [...[...this.messages.values()].sort((a, b) => a.Seq - b.Seq), ...this.drafts.values()];
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
  merge(message) {
    this.know(message.Sender);
    if (message.Seq == null) {
      if (message.Status === 'deleted') this.drafts.delete(message.ID);
      else if (!this.messages.has(message.ID)) this.drafts.set(message.ID, message);
      return;
    }
    this.drafts.delete(message.ID);
    const had = this.messages.get(message.ID);
    // A page still being loaded may contain an older state of it.
    if (!had && message.Seq < this.from) { if (this.loading && !older(message, this.aside.get(message.ID))) this.aside.set(message.ID, message); }
    else if (!older(message, had)) this.messages.set(message.ID, this.seenNow(message, had));
  }
  /** `Status` is computed from the other members' seen marks, which do not change ChangeSeq. */
  seenNow(message, had) {
    if (message.Status !== 'sent') return message;
    if (had?.Status === 'seen') return { ...message, Status: 'seen' };
    for (const [user, seq] of this.marks) if (seq >= message.Seq && user !== message.SenderID) return { ...message, Status: 'seen' };
    return message;
  }
  mark(user, seq) {
    if (seq <= (this.marks.get(user) ?? 0)) return;
    this.marks.set(user, seq);
    for (const [id, message] of this.messages) if (message.Seq <= seq) this.messages.set(id, this.seenNow(message));
  }
  /** The server has lost the history of this copy. */
  forget() {
    this.messages.clear(); this.members.clear(); this.early.clear(); this.answered.clear(); this.marks.clear();
    this.seq = null; this.infoSeq = -1; this.seenSeq = this.caught = 0; this.generation++; this.jumps++;
  }
  snapshot(limit) {
    let { from } = this, messages = [...this.messages.values()].sort((a, b) => a.Seq - b.Seq);
    if (messages.length > limit) { messages = messages.slice(-limit); from = messages[0].Seq; }
    return { ID: this.ID, info: this.info, epoch: this.epoch, seq: this.seq, infoSeq: this.infoSeq, from, messages,
      members: [...this.members.values()], hasMembers: this.hasMembers && this.members.size > 0, seenSeq: this.seenSeq, marks: [...this.marks],
      // A number that was being asked for is asked for again after a reload: no frame brings it.
      dirty: this.dirty };
  }
  restore({ messages, members, marks, ...rest }) {
    Object.assign(this, rest);
    this.marks = new Map(marks);
    // JSON has no Infinity, and the store of an older release has no epoch.
    this.from ??= Infinity;
    this.epoch ??= 1;
    for (const message of messages) { this.messages.set(message.ID, message); this.know(message.Sender); }
    for (const member of members) { this.members.set(member.UserID, member); this.know(member); }
  }
}

/** An upload. It continues after a reload if the store keeps blobs. */
class Upload {
  state = 'waiting'; loaded = []; error = null; running = new Set(); sending = new Set();
  constructor(chat, record) {
    Object.assign(this, record);
    this.chat = chat;
    this.total = Math.max(1, Math.ceil(this.file.size / this.chunkSize));
    this.done = new Promise((done, fail) => { this.finish = done; this.fail = fail; });
    this.done.catch(() => {});
  }
  get size() { return this.file.size; }
  get progress() { return this.size ? Math.min(1, this.loaded.reduce((sum, part) => sum + (part ?? 0), 0) / this.size) : 0; }
  part(index) { return this.file.slice((index - 1) * this.chunkSize, index * this.chunkSize); }
  pause() { if (this.state === 'running' || this.state === 'waiting') this.#stop('paused'); }
  resume() { if (['paused', 'failed'].includes(this.state)) { this.state = 'waiting'; this.chat._upload(this); } }
  async cancel() {
    this.#stop('cancelled');
    this.chat._uploadEnded(this);
    this.fail(new ChatError('cancelled', 'the upload was cancelled'));
    if (this.MessageID) await this.chat.request('DELETE', `/files/${this.MessageID}/upload`);
    else this.chat.discard(this.Sign);
  }
  #stop(state) {
    this.state = state;
    for (const controller of this.running) controller.abort();
    this.chat._emit('upload', this);
  }
}

export class Chat {
  rooms = new Map(); presence = new Map(); profiles = new Map(); uploads = new Map(); queue = []; me = null; state = 'closed'; synced = false;
  stats = { frames: 0, missed: 0, doubled: 0, resyncs: 0, connects: 0, sent: 0, resent: 0 };
  #options; #socket = null; #listeners = new Map(); #timers = new Map(); #waiting = new Map(); #token; #fails = 0; #wanted = false;
  #heard = 0; #attempt = 0; #saving = new Set(); #limits = {}; #saved = Promise.resolve(); #loads = new Map();

  /** @param options see chat.d.ts */
  constructor(options) {
    const timers = { now: () => Date.now(), set: (run, wait) => setTimeout(run, wait), clear: id => clearTimeout(id) };
    this.#options = {
      url: '', prefix: '/api/v1', path: '/ws/v1/chat', clock: timers, random: Math.random, uuid, history: 50, keep: 200,
      chunkSize: 5 * MIB, parallel: 3, answerWait: 20000, requestWait: 30000, WebSocket: globalThis.WebSocket,
      fetch: (...words) => globalThis.fetch(...words), ...options,
    };
    if (!this.#options.WebSocket) throw new ChatError('no_websocket', 'give a WebSocket class: this Node has none of its own');
    this.store = this.#options.store ?? (globalThis.indexedDB ? new IndexedDBStore(this.#options.name) : new MemoryStore());
  }
  #online = () => this.state === 'waiting' && this.#connect();

  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.#listeners.get(type).delete(listener);
  }
  _emit(type, value) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      // An error in a listener must not stop the stream: the next frame must still be counted.
      try { listener(value); } catch (error) { queueMicrotask(() => { throw error; }); }
    }
  }

  // -- The store

  /** Loads the store's contents, also without a network. connect() calls it. */
  open() {
    return this.#opened ??= this.store.all().catch(() => []).then(entries => {
      const waited = [];
      for (const [key, value] of entries.sort((a, b) => (a[1]?.At ?? 0) - (b[1]?.At ?? 0))) {
        if (key === 'me') this.me = value;
        else if (key.startsWith('room:')) { const room = new Room(value.ID, this.#know); room.restore(value); this.rooms.set(room.ID, room); }
        else if (key.startsWith('send:')) waited.push({ ...value, busy: false, tried: 0 });
        else if (key.startsWith('file:')) this.uploads.set(value.Sign, new Upload(this, value));
      }
      // Items added while the store was read are newer.
      this.queue.unshift(...waited);
      this._emit('rooms');
    });
  }
  #opened;
  #keep(key, value) {
    this.#saved = this.#saved.then(() => value === undefined ? this.store.delete(key) : this.store.set(key, value))
      .catch(error => this._emit('error', error));
    return this.#saved;
  }
  #save(room) {
    this.#saving.add(room);
    this.#after('save', 300, () => this.flush());
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
    this.rooms.clear(); this.profiles.clear(); this.queue = []; this.uploads.clear(); this.me = null;
    await this.#saved;
    await this.store.clear();
    this._emit('rooms');
  }

  // -- The connection

  #after(name, wait, run) {
    const { clock } = this.#options;
    clock.clear(this.#timers.get(name));
    this.#timers.set(name, clock.set(run, wait));
  }
  #stop(name) { this.#options.clock.clear(this.#timers.get(name)); }
  #become(state) { if (this.state !== state) { this.state = state; this._emit('state', state); } }

  async connect() {
    this.#wanted = true;
    globalThis.addEventListener?.('online', this.#online);
    await this.open();
    if (this.state === 'closed' || this.state === 'waiting' || this.state === 'replaced') await this.#connect();
  }
  close() {
    this.#wanted = false;
    this.#lose();
    this.#become('closed');
    globalThis.removeEventListener?.('online', this.#online);
    return this.flush();
  }

  async #bearer(fresh = false) {
    const { token } = this.#options;
    if (typeof token !== 'function') return token;
    if (fresh || !this.#token) this.#token = await token(fresh);
    return this.#token;
  }
  async #connect() {
    const attempt = ++this.#attempt, { url, path, ticket, WebSocket } = this.#options;
    this.#stop('connect');
    this.#become('connecting');
    // A ticket or a handshake that hangs is abandoned like one that fails.
    this.#after('open', 15000, () => attempt === this.#attempt && this.#lost(1006, ''));
    try {
      const pass = ticket ? await ticket() : (await this.request('POST', '/ws-ticket', { tries: 1 })).Ticket;
      if (attempt !== this.#attempt || !this.#wanted) return;
      const base = url || globalThis.location?.origin || '';
      const socket = new WebSocket(`${base.replace(/^http/, 'ws')}${path}?ticket=${encodeURIComponent(pass)}`, ['chat.json']);
      this.#socket = socket;
      socket.onmessage = event => {
        if (socket !== this.#socket) return;
        this.#heard = this.#options.clock.now();
        let frame;
        try { frame = JSON.parse(event.data); } catch { return socket.close(); }
        this.#frame(frame);
      };
      socket.onclose = event => socket === this.#socket && this.#lost(event.code, event.reason ?? '');
      socket.onerror = () => {};
    } catch (error) {
      if (attempt === this.#attempt) this.#lost(error.status === 401 ? 4001 : 1006, '', error.retryAfter, error);
    }
  }
  #lose() {
    const socket = this.#socket;
    this.#socket = null;
    this.#attempt++;
    this.synced = false;
    for (const name of ['open', 'connect', 'heartbeat', 'auth', 'calm']) this.#stop(name);
    try { socket?.close(1000); } catch { /* It is closed already. */ }
    for (const item of this.queue) this.#settleTimer(item);
    for (const room of this.rooms.values()) { room.early.clear(); room.resuming = false; }
    for (const call of this.#waiting.values()) call.fail(new ChatError('closed', 'the connection ended'));
    this.#waiting.clear();
  }
  #lost(code, reason, wait, error) {
    // The server would close the connection again because of the same message.
    if (code === 1009) for (const item of this.queue) if (item.busy) item.error = new ChatError('too_large', 'the frame is too large');
    this.#lose();
    this._emit('closed', { code, reason, error });
    if (!this.#wanted) return this.#become('closed');
    if (STAY_AWAY.has(code)) { this.#wanted = false; return this.#become(code === 4009 ? 'replaced' : 'closed'); }
    if (code === 4001) this.#token = undefined;
    const { random } = this.#options;
    const named = wait ?? (code === 1001 ? 1000 * Number(/\d+/.exec(reason)?.[0] ?? 1 + 9 * random()) : 0);
    // The first retry is short but random, each later one twice as long: clients must not all reconnect to a restarted relay at once.
    let pause = Math.min(30000, 500 * 2 ** this.#fails++) * (0.2 + 0.8 * random());
    if (code === 1008) pause = 60000 + 5000 * random();
    else if (named) pause = named + 500 * random();
    else if (code === 4008) pause = 200 * random();
    this.#become('waiting');
    this.#after('connect', pause, () => this.#connect());
  }
  #send(frame) {
    try { this.#socket.send(JSON.stringify(frame)); return true; } catch { return false; }
  }
  /** A request over the socket and its answer; not kept when the connection ends. */
  ask(frame) {
    return new Promise((done, fail) => {
      const Sign = this.#options.uuid();
      if (this.state !== 'open' || !this.#send({ ...frame, Sign })) return fail(new ChatError('closed', 'there is no connection'));
      this.#waiting.set(Sign, { done, fail });
    });
  }

  #welcome(data) {
    this.#stop('open');
    if (this.me && this.me !== data.UserID) { this.rooms.clear(); this.profiles.clear(); this.queue = []; this.uploads.clear(); this.#keepCleared(); }
    this.me = data.UserID;
    this.#keep('me', this.me);
    this.#limits = data.Limits ?? {};
    this.stats.connects++;
    this.#become('open');
    // Sent first and immediately: the relay holds back the rooms' frames until it arrives, for a short time only.
    const points = [...this.rooms.values()].filter(room => room.seq != null);
    for (const room of points) room.resuming = true;
    const asked = [], known = new Map([...this.profiles].slice(-100));
    for (let at = 0; at < points.length; at += 1000) {
      asked.push(this.ask({ Type: 'resume', Rooms: points.slice(at, at + 1000).map(room =>
        ({ RoomID: room.ID, Seq: room.seq, ...(room.info?.Epoch !== undefined && { Epoch: room.epoch }) })) }).catch(() => {}));
    }
    const attempt = this.#attempt, current = () => attempt === this.#attempt;
    this.#listRooms(current).then(async () => {
      // A server of the previous release does not answer a resume.
      await Promise.race([Promise.all(asked), this.#pause(5000)]);
      if (!current()) return;
      this.synced = true;
      this._emit('synced');
      // No frame that was missed told of these.
      if (!known.size) return;
      const users = await this.request('GET', '/users', { query: { ids: [...known.keys()].join() } }).catch(() => []);
      for (const user of users) if (!alike(known.get(user.UserID), user)) for (const room of this.rooms.values()) this.#renamed(room, user);
    }, () => current() && this.#socket?.close());
    this.#after('calm', 5000, () => { this.#fails = 0; for (const room of points) room.resuming = false; });
    this.#beat((data.Heartbeat || 30) * 1000);
    this.#renew();
    for (const lane of new Set(this.queue.map(laneOf))) this.#pump(lane);
    for (const upload of this.uploads.values()) { if (upload.state === 'failed') upload.state = 'waiting'; this._upload(upload); }
  }
  #keepCleared() { this.#saved = this.#saved.then(() => this.store.clear()).catch(() => {}); }
  /** A page does not see the relay's pings: after that long without a frame it sends a request, and closes if there is no answer. */
  #beat(period) {
    this.#after('heartbeat', period, () => {
      const asked = this.#options.clock.now();
      if (asked - this.#heard < period) return this.#beat(period);
      this.#send({ Type: 'ping' });
      this.#after('heartbeat', 10000, () => this.#heard < asked ? this.#lost(1006, '') : this.#beat(period));
    });
  }
  /** Renews the token before it expires; the socket stays open. */
  #renew() {
    const { token, clock } = this.#options;
    if (typeof token !== 'function' || !this.#token) return;
    let exp;
    try { exp = JSON.parse(atob(this.#token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))).exp * 1000; } catch { return; }
    this.#after('auth', Math.min(2 ** 31 - 1, Math.max(5000, (exp - clock.now()) * 0.8)), async () => {
      try { await this.ask({ Type: 'auth', Token: await this.#bearer(true) }); } catch { /* 4001 comes, and with it a new try. */ }
      if (this.state === 'open') this.#renew();
    });
  }

  // -- Frames

  #frame(frame) {
    this._emit('frame', frame);
    const { Type, Data } = frame;
    if (Type === 'welcome') return this.#welcome(Data);
    if (Type === 'response') return this.#response(frame);
    if (Type === 'presence') { this.presence.set(Data.UserID, Data); return this._emit('presence', Data); }
    if (Type === 'typing') return this.#typed(Data);
    const room = frame.RoomID ?? Data?.RoomID;
    if (Type === 'user_updated') return this.#renamed(this.rooms.get(room), Data);
    if (Type === 'resync') return this.#resync(room, Data);
    if (room && typeof frame.Seq === 'number') this.#stream(room, frame, Type);
  }
  /** The newest description of a user, wherever it comes from. */
  #know = profile => {
    const { UserID, ExternalID, Name, Avatar } = profile ?? {};
    if (Name == null || alike(this.profiles.get(UserID), profile)) return;
    this.profiles.set(UserID, { UserID, ExternalID, Name, Avatar });
    this._emit('profile', this.profiles.get(UserID));
  };
  /** The messages and the member that the copy has get the new description too. */
  #renamed(room, { UserID, ExternalID, Name, Avatar }) {
    const Sender = { UserID, ExternalID, Name, Avatar };
    this.#know(Sender);
    if (!room) return;
    const now = message => (message?.SenderID === UserID && !alike(message.Sender, Sender) ? { ...message, Sender } : message), member = room.members.get(UserID);
    for (const [id, message] of room.messages) room.messages.set(id, now(message));
    if (room.info) room.info.LastMessage = now(room.info.LastMessage);
    if (member) room.members.set(UserID, { ...member, ...Sender });
    this.#save(room);
    this._emit('room', room);
  }
  #typed({ RoomID, UserID }) {
    const room = this.rooms.get(RoomID);
    if (!room) return;
    const { clock } = this.#options;
    clock.clear(room.typing.get(UserID));
    room.typing.set(UserID, clock.set(() => { room.typing.delete(UserID); this._emit('typing', room); }, 6000));
    this._emit('typing', room);
  }
  #resync(id, { Epoch }) {
    this.stats.resyncs++;
    const room = this.#room(id);
    // A lower Seq in the same epoch means nothing: REST may have returned newer state than the relay has yet.
    if (Epoch !== undefined && Epoch !== room.epoch) { room.forget(); room.epoch = Epoch; }
    this.#catchUp(room);
  }
  #room(id) {
    let room = this.rooms.get(id);
    if (!room) { this.rooms.set(id, room = new Room(id, this.#know)); room.from = Infinity; }
    return room;
  }
  /** One frame in a room's order: applied in turn, kept if early, dropped if already applied. */
  #stream(id, frame, kind) {
    const room = this.#room(id), { Seq } = frame;
    const first = room.seq == null && kind === 'room_updated' && this.#base(frame.Data);
    if (first && !room.catching) room.seq = Seq - 1;
    if (room.seq != null && !room.catching && Seq <= room.seq) {
      if (room.answered.delete(Seq)) return;
      if (!room.resuming && Seq > room.caught) this.stats.doubled++;
      if (CHANGES.message === kind || CHANGES.edit === kind) room.merge(frame.Data);
      return;
    }
    this.stats.frames++;
    room.early.set(Seq, { frame, kind });
    if (room.catching) return;
    if (room.seq == null) return void this.#catchUp(room);
    this.#drain(room);
    if (room.early.size && ![...room.early.values()].every(one => one.answer)) {
      this.stats.missed++;
      this.#catchUp(room);
    }
  }
  /** This frame created the room or added this user to it: the copy begins here. */
  #base({ Change, Member }) { return Change === 'created' || (Change === 'joined' && Member?.UserID === this.me); }
  #drain(room) {
    for (let next; (next = room.early.get(room.seq + 1));) {
      room.early.delete(room.seq + 1);
      room.seq++;
      if (next.answer) room.answered.add(room.seq);
      this.#apply(room, next.frame, next.kind);
      if (this.rooms.get(room.ID) !== room) return;
    }
    for (const seq of room.early.keys()) if (seq <= room.seq) room.early.delete(seq);
    if (room.answered.size > 100) room.answered.clear();
    this.#save(room);
  }
  #apply(room, { Data, Seq }, kind) {
    const fresh = Seq > room.infoSeq, { info } = room;
    if (fresh) room.infoSeq = Seq;
    if (info && fresh) info.LastSeq = Seq;
    if (kind === 'new_message') {
      room.merge(Data);
      this.#sent(Data);
      // The message is stored.
      this.#options.clock.clear(room.typing.get(Data.SenderID));
      room.typing.delete(Data.SenderID);
      if (info && fresh) {
        info.LastMessage = Data;
        if (Data.SenderID !== this.me && info.Unread != null) info.Unread++;
      }
      this._emit('message', { room, message: Data, isNew: true });
    } else if (kind === 'message_updated') {
      room.merge(Data);
      if (info?.LastMessage?.ID === Data.ID && (info.LastMessage.ChangeSeq ?? 0) <= (Data.ChangeSeq ?? 0)) info.LastMessage = Data;
      this._emit('message', { room, message: Data, isNew: false });
    } else if (kind === 'seen') this.#marked(room, Data, fresh);
    else if (kind === 'room_updated') this.#roomChanged(room, Data, fresh);
    this._emit('room', room);
  }
  #marked(room, { UserID, Seq }, fresh) {
    const member = room.members.get(UserID);
    room.mark(UserID, Seq);
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
    let count = 0;
    for (const { Seq, SenderID } of room.messages.values()) if (Seq > room.seenSeq && SenderID !== this.me) count++;
    room.info.Unread = count;
  }
  #roomChanged(room, data, fresh) {
    const { Change, Room: info, Member: member, MessageID, PurgedThrough } = data, gone = ['left', 'removed', 'banned'].includes(Change);
    if (Change === 'deleted' || (gone && member?.UserID === this.me)) return this.#remove(room);
    if (info && fresh) room.info = { ...room.info, ...info, Unread: room.info?.Unread ?? 0, Role: room.info?.Role ?? info.Role,
      MutedUntil: room.info?.MutedUntil ?? null, LastMessage: room.info?.LastMessage ?? info.LastMessage, LastSeq: data.Seq };
    if (member) {
      room.mark(member.UserID, member.LastSeenSeq);
      if (gone) room.members.delete(member.UserID); else if (room.hasMembers) room.members.set(member.UserID, member);
      if (room.info && member.UserID === this.me) Object.assign(room.info, { Role: member.Role, MutedUntil: member.MutedUntil });
    }
    if (MessageID || PurgedThrough) room.jumps++;
    if (MessageID) {
      const message = room.messages.get(MessageID);
      if (message && data.Seq >= (message.ChangeSeq ?? 0)) room.messages.set(MessageID, { ...message, PinnedAt: data.PinnedAt ?? null, ChangeSeq: data.Seq });
    }
    if (PurgedThrough) for (const [id, { Seq }] of room.messages) if (Seq <= PurgedThrough) room.messages.delete(id);
    // Only the server can count the members, and the messages left after a purge.
    if (member || PurgedThrough || !room.info) this.#refresh(room);
    if (Change === 'owner' && room.hasMembers) this.#catchUp(room);
  }
  #remove(room) {
    room.generation++;
    this.#gone.add(room.ID);
    this.rooms.delete(room.ID);
    this.#keep(`room:${room.ID}`);
    this._emit('rooms');
  }

  // -- REST beside the stream

  #gone = new Set();
  async #listRooms(current) {
    const before = new Map([...this.rooms].map(([id, room]) => [id, room.seq])), seen = new Set();
    for (let cursor = ''; cursor !== null;) {
      this.#gone.clear();
      const page = await this.request('GET', '/rooms', { query: { limit: 100, ...(cursor && { cursor }) }, whole: true, tries: 6 });
      if (!current()) return;
      for (const info of page.Data) {
        seen.add(info.ID);
        const room = this.#room(info.ID);
        // The page was read before this user was removed from the room.
        if (this.#gone.has(info.ID)) this.#catchUp(room);
        else if (room.seq == null && !room.catching && room.from === Infinity && !room.hasMembers) {
          Object.assign(room, { epoch: epochOf(info), seq: info.LastSeq, caught: info.LastSeq });
          room.jumps++;
          this.#inform(room, info);
          this.#drain(room);
        } else if (room.seq == null || room.dirty) this.#catchUp(room);
        else if (before.has(info.ID) && (epochOf(info) !== room.epoch || info.LastSeq < (before.get(info.ID) ?? 0))) this.#catchUp(room);
        else this.#inform(room, info);
      }
      cursor = page.Next;
    }
    // Rooms from which this user was removed while offline. Each is requested: one may have been added while the list was read.
    for (const id of before.keys()) if (!seen.has(id) && this.rooms.has(id)) this.#catchUp(this.rooms.get(id));
    this._emit('rooms');
  }
  #inform(room, info) {
    if (info.LastSeq < room.infoSeq) return;
    room.info = info;
    this.#know(info.LastMessage?.Sender);
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
        const { generation } = room, info = await this.request('GET', `/rooms/${room.ID}`, { tries: 6 });
        if (generation !== room.generation) return;
        // The stream is already ahead of this answer: request it again.
        if (info.LastSeq >= room.infoSeq) return this.#inform(room, info);
      }
    }).catch(() => {});
  }
  #once(key, run) {
    let load = this.#loads.get(key);
    if (!load) this.#loads.set(key, load = run().finally(() => this.#loads.delete(key)));
    return load;
  }

  /** Brings a room up to date by REST, while its frames wait. */
  #catchUp(room) {
    if (room.catching) { room.generation++; room.again = true; return; }
    room.catching = true;
    const run = async () => {
      for (let fails = 0; this.#wanted && this.rooms.get(room.ID) === room; fails++) {
        room.again = false;
        try {
          if (await this.#catchUpOnce(room)) break;
        } catch (error) {
          if ([403, 404].includes(error.status)) { room.catching = false; return this.#remove(room); }
        }
        await this.#pause(Math.min(30000, 300 * 2 ** Math.min(fails, 7)) * (0.2 + this.#options.random()));
      }
      room.catching = false;
      if (room.seq == null || this.rooms.get(room.ID) !== room) return;
      this.#drain(room);
      this._emit('room', room);
      if (room.again || [...room.early.values()].some(one => !one.answer)) this.#catchUp(room);
    };
    run();
  }
  async #catchUpOnce(room) {
    const { generation, seq } = room, path = `/rooms/${room.ID}`, stale = () => room.generation !== generation;
    const info = await this.request('GET', path);
    if (stale()) return false;
    if ((seq != null && epochOf(info) !== room.epoch) || info.LastSeq < (seq ?? 0)) {
      room.forget();
      room.epoch = epochOf(info);
      return false;
    }
    const opened = room.from !== Infinity, changed = [], { hasMembers } = room;
    const members = opened || hasMembers ? await this.#pages(`${path}/members`, 'cursor') : null;
    let whole = seq == null || (opened && info.LastSeq - seq > 500), newest = null;
    if (opened && !whole) {
      for (let since = seq, pages = 0; since != null; pages++) {
        const page = await this.request('GET', `${path}/messages`, { query: { changed_since: since, limit: 100 }, whole: true });
        changed.push(...page.Data);
        since = page.Next;
        if (pages > 20) { whole = true; break; }
      }
    }
    if (opened && whole) newest = await this.request('GET', `${path}/messages`, { query: { limit: this.#options.history }, whole: true });
    if (stale() || opened !== (room.from !== Infinity)) return false;
    if (!opened) room.jumps++;
    if (newest) {
      // Too much was missed: the copy starts again with the newest page.
      room.messages.clear();
      room.jumps++;
      room.from = newest.Next == null ? 0 : newest.Data.at(-1).Seq;
      changed.splice(0, Infinity, ...newest.Data);
    }
    for (const message of changed) { room.merge(message); this.#sent(message); }
    for (const member of members ?? []) { room.mark(member.UserID, member.LastSeenSeq); this.#know(member); }
    if (hasMembers) room.members = new Map(members.map(member => [member.UserID, member]));
    const mine = members?.find(member => member.UserID === this.me);
    if (mine) room.seenSeq = Math.max(room.seenSeq, mine.LastSeenSeq);
    room.epoch = epochOf(info);
    room.seq = room.caught = Math.max(room.seq ?? 0, info.LastSeq);
    this.#inform(room, info);
    return true;
  }
  async #pages(path, name) {
    const all = [];
    for (let next = ''; next !== null;) {
      const page = await this.request('GET', path, { query: { limit: 100, ...(next && { [name]: next }) }, whole: true });
      all.push(...page.Data);
      next = page.Next;
    }
    return all;
  }
  /** A page of older messages; the first call shows the newest. Resolves to whether there are more. */
  loadOlder(id) {
    const room = this.#room(id);
    return this.#once(`older:${id}`, async () => {
      room.loading = true;
      try {
        for (let page, jumps; !room.complete && page === undefined;) {
          jumps = room.jumps;
          const query = { limit: this.#options.history, before: room.from === Infinity ? null : room.from };
          page = await this.request('GET', `/rooms/${id}/messages`, { query, whole: true });
          // Frames that were not fetched may have changed the messages on this page.
          if (jumps !== room.jumps) { page = undefined; continue; }
          room.from = Math.min(room.from, page.Next == null ? 0 : page.Data.at(-1).Seq);
          for (const message of [...page.Data, ...room.aside.values()]) room.merge(message);
        }
      } finally { room.loading = false; room.aside.clear(); }
      this.#save(room);
      this._emit('room', room);
      return !room.complete;
    });
  }
  /** Loads all members of the room; its frames keep the list up to date from then on. */
  loadMembers(id) {
    const room = this.#room(id);
    if (room.hasMembers) return Promise.resolve([...room.members.values()]);
    room.hasMembers = true;
    return new Promise(done => {
      const off = this.on('room', changed => { if (changed === room && room.members.size) { off(); done([...room.members.values()]); } });
      this.#catchUp(room);
    });
  }

  /** A REST request, repeated after the waits that the server names. Resolves to `Data`, or with `whole` to the answer. */
  async request(method, path, { body, query, sign, tries = 4, whole = false, signal } = {}) {
    const { url, prefix, clock, random, fetch, requestWait } = this.#options;
    const words = query ? `?${new URLSearchParams(Object.entries(query).filter(([, value]) => value != null))}` : '';
    const isForm = typeof FormData !== 'undefined' && body instanceof FormData;
    for (let attempt = 1, fresh = false; ; attempt++) {
      const controller = new AbortController(), stop = () => controller.abort();
      const timer = clock.set(stop, requestWait * (isForm ? 20 : 1));
      signal?.addEventListener('abort', stop);
      let failure;
      try {
        const token = await this.#bearer(fresh);
        const answer = await fetch(`${url}${prefix}${path}${words}`, {
          method, signal: controller.signal, credentials: 'same-origin',
          headers: { Accept: 'application/json', ...(token && { Authorization: `Bearer ${token}` }), ...(sign && { 'Idempotency-Key': sign }),
            ...(body && !isForm && { 'Content-Type': 'application/json' }) },
          body: body && !isForm ? JSON.stringify(body) : body,
        });
        const text = await answer.text(), found = text ? JSON.parse(text) : { Data: null };
        if (answer.ok) return whole ? found : found.Data;
        const { Code = 'internal', Message = `HTTP ${answer.status}`, Field = null, RetryAfter } = found.Error ?? {};
        const seconds = Number(answer.headers.get('Retry-After'));
        failure = new ChatError(Code, Message, { status: answer.status, field: Field, retryAfter: RetryAfter ?? (seconds ? seconds * 1000 : null) });
      } catch (error) {
        failure = signal?.aborted ? new ChatError('aborted', 'the request was given up') : new ChatError('network', String(error?.message ?? error));
      } finally {
        clock.clear(timer);
        signal?.removeEventListener('abort', stop);
      }
      const { status, code } = failure;
      if (status === 401 && !fresh && typeof this.#options.token === 'function') { fresh = true; continue; }
      // Only requests that are safe to repeat are repeated.
      const again = code !== 'aborted' && (status === 429 || status >= 500 || (status === 0 && (method !== 'POST' || sign || isForm)));
      if (!again || attempt >= tries) throw failure;
      await this.#pause(failure.retryAfter ?? Math.min(8000, 300 * 2 ** attempt) * (0.2 + 0.8 * random()));
    }
  }
  #pause(wait) { return new Promise(done => this.#options.clock.set(done, wait)); }

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
    if (room) room.typedAt = this.#options.clock.now() - 2000;
    return this.#enqueue({ Type: 'message', ...where, Content, ContentType: 'text', MessageType: more.ParentMessageID ? 'replied' : 'direct', ...more });
  }
  edit(message, Content) { return this.#enqueue({ Type: 'edit', MessageID: message.ID, Content }, message.RoomID); }
  delete(message) { return this.#enqueue({ Type: 'delete', MessageID: message.ID }, message.RoomID); }
  react(message, Reaction, Remove = false) { return this.#enqueue({ Type: 'react', MessageID: message.ID, Reaction, Remove }, message.RoomID); }
  /** Marks everything up to here as seen. Of several waiting marks only the farthest is sent. */
  seen(id, Seq = this.rooms.get(id)?.lastMessage?.Seq) {
    if (!Seq || Seq <= (this.rooms.get(id)?.seenSeq ?? 0)) return Promise.resolve(null);
    for (const item of this.queue.filter(one => one.frame.Type === 'seen' && one.frame.RoomID === id)) {
      if (item.frame.Seq >= Seq) return item.promise ?? Promise.resolve(null);
      if (item.busy || item.tried) continue;
      this.#drop(item);
      item.done?.(null);
    }
    return this.#enqueue({ Type: 'seen', RoomID: id, Seq });
  }
  /** Sent at most once in three seconds, and never kept. */
  typing(id) {
    const now = this.#options.clock.now(), room = this.rooms.get(id);
    if (!room || this.state !== 'open' || now - (room.typedAt ?? -3000) < 3000) return;
    room.typedAt = now;
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
    if (item) { this.#drop(item); item.fail?.(new ChatError('discarded', 'it was taken back')); this._emit('queue', laneOf(item)); }
  }

  #enqueue(frame, lane = frame.RoomID ?? frame.ReceiverID, Sign = this.#options.uuid()) {
    const item = { Sign, lane, frame, At: this.#options.clock.now(), error: null, busy: false, tried: 0, kept: false };
    item.promise = new Promise((done, fail) => Object.assign(item, { done, fail }));
    item.promise.catch(() => {});
    this.queue.push(item);
    // Stored before it is sent: after a reload it is at worst sent twice, and the server stores it once by its Sign.
    this.#keepItem(item).then(() => { item.kept = true; this.#pump(lane); });
    this._emit('queue', lane);
    return item.promise;
  }
  #keepItem({ Sign, lane, frame, At, error }) {
    return this.#keep(`send:${Sign}`, { Sign, lane, frame, At, error: error && { code: error.code, message: error.message } });
  }
  #drop(item) {
    this.#settleTimer(item);
    this.queue = this.queue.filter(one => one !== item);
    this.#keep(`send:${item.Sign}`);
  }
  #settleTimer(item) { this.#options.clock.clear(item.timer); item.busy = false; }
  /** Sends one item at a time per room: later items must not overtake one that was refused temporarily. */
  #pump(lane) {
    const item = this.queue.find(one => laneOf(one) === lane && !one.error);
    if (!item || item.busy || this.state !== 'open' || item.kept === false) return;
    if (!this.#send({ ...item.frame, Sign: item.Sign })) return;
    item.busy = true;
    this.stats[item.tried++ ? 'resent' : 'sent']++;
    item.timer = this.#options.clock.set(() => { item.busy = false; this.#pump(lane); }, this.#options.answerWait);
  }
  #response(frame) {
    const call = this.#waiting.get(frame.Sign), item = this.queue.find(one => one.Sign === frame.Sign);
    const [, code = 'internal', message = ''] = /^(\w+): ?([^]*)$/.exec(frame.Error ?? '') ?? [];
    if (call && !(code === 'not_a_member' && !frame.Success)) {
      // A resume is refused for each room that this user is not in, and then answered.
      this.#waiting.delete(frame.Sign);
      if (frame.Success) { this.#resumed(frame.Data); call.done(frame.Data); } else call.fail(new ChatError(code, message));
      return;
    }
    if (!frame.Success) {
      if (!item) return call || this._emit('error', new ChatError(code, message, { sign: frame.Sign, retryAfter: frame.RetryAfter ?? null }));
      this.#settleTimer(item);
      if (LATER.has(code) && (code !== 'internal' || item.tried < 5)) {
        item.busy = true;
        const wait = frame.RetryAfter ?? Math.min(15000, 400 * 2 ** Math.min(item.tried, 6));
        item.timer = this.#options.clock.set(() => { item.busy = false; this.#pump(laneOf(item)); }, wait * (1 + 0.2 * this.#options.random()));
        return;
      }
      item.error = new ChatError(code, message, { retryAfter: frame.RetryAfter ?? null });
      if (item.frame.Type === 'message') this.#keepItem(item); else this.#drop(item);
      item.fail?.(item.error);
      this.#uploadRefused(item);
      this._emit('queue', laneOf(item));
      this.#pump(laneOf(item));
      return;
    }
    const { RoomID, Seq, Data } = frame, type = item?.frame.Type, room = this.rooms.get(RoomID ?? Data?.RoomID);
    const kind = CHANGES[type] ?? (type === 'seen' ? 'seen' : Data?.Change ? 'room_updated' : Data?.UserID ? 'seen' : Data?.Seq === Seq ? 'new_message' : 'message_updated');
    if (RoomID && Seq && !room) this.#room(RoomID);
    const at = this.rooms.get(RoomID);
    if (at && Seq && (at.seq == null || at.catching || Seq > at.seq)) {
      // The answer counts as the frame with its Seq. The answer to a retry may have an old Seq, or one that the resume has not brought yet.
      const own = kind === 'new_message' ? Data.Seq : kind === 'message_updated' ? Data.ChangeSeq : Seq;
      if (own === Seq) at.early.set(Seq, { frame, kind, answer: true });
      if (at.seq == null) this.#catchUp(at); else if (!at.catching) this.#drain(at);
    }
    if (at && Data?.Content !== undefined) { if (at.from !== Infinity) at.merge(Data); }
    if (at && type === 'seen' && Data?.UserID === this.me) { this.#marked(at, Data, false); if (at.info) this.#count(at); }
    if (item) this.#stored(item, Data);
    if (at) this._emit('room', at);
  }
  #resumed(data) {
    for (const { RoomID } of data?.Rooms ?? []) { const room = this.rooms.get(RoomID); if (room) room.resuming = false; }
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
    const upload = new Upload(this, { Sign, RoomID: room, name, file, chunkSize: this.#options.chunkSize, MessageID: null, At: this.#options.clock.now() });
    this.uploads.set(Sign, upload);
    this.#keepFile(upload).then(() => this.#enqueue({ Type: 'message', RoomID: room, Content: name, ContentType: type ?? kind, MessageType: 'direct', ...more }, room, Sign));
    this._emit('upload', upload);
    return upload;
  }
  #keepFile({ Sign, RoomID, name, file, chunkSize, MessageID, At }) {
    return this.#keep(`file:${Sign}`, { Sign, RoomID, name, file, chunkSize, MessageID, At });
  }
  _uploadEnded(upload) { this.uploads.delete(upload.Sign); this.#keep(`file:${upload.Sign}`); }
  #uploadRefused(item) {
    const upload = this.uploads.get(item.Sign);
    if (!upload) return;
    Object.assign(upload, { state: 'failed', error: item.error });
    this._uploadEnded(upload);
    this.#drop(item);
    upload.fail(item.error);
    this._emit('upload', upload);
  }
  async _upload(upload) {
    if (upload.state !== 'waiting' || !upload.MessageID) return;
    upload.state = 'running';
    this._emit('upload', upload);
    const path = `/files/${upload.MessageID}/upload`, { parallel } = this.#options;
    const finished = answer => {
      if (!answer.Completed || upload.state === 'done') return answer.Completed;
      upload.state = 'done';
      upload.loaded = [upload.size];
      if (answer.Message) this.rooms.get(upload.RoomID)?.merge(answer.Message);
      this._uploadEnded(upload);
      upload.finish(answer.Message ?? { ID: upload.MessageID });
      this._emit('upload', upload);
      return true;
    };
    try {
      const state = await this.request('GET', path, { tries: 10 });
      if (finished(state)) return;
      const left = [];
      for (let index = 1; index <= upload.total; index++) {
        const here = state.TotalChunk === upload.total && state.Received.includes(index);
        upload.loaded[index] = here ? upload.part(index).size : 0;
        if (!here) left.push(index);
      }
      // If the last answer was lost, sending its chunk again returns the result.
      if (!left.length) left.push(upload.total);
      const run = async () => {
        for (let index; upload.state === 'running' && (index = left.shift());) finished(await this.#chunk(upload, path, index));
      };
      await Promise.all(Array.from({ length: parallel }, run));
      if (upload.state === 'running') { upload.state = 'waiting'; await this.#pause(500); await this._upload(upload); }
    } catch (error) {
      if (upload.state !== 'running') return;
      Object.assign(upload, { state: 'failed', error });
      for (const controller of upload.running) controller.abort();
      if ([404, 410, 413, 415, 422].includes(error.status)) { this._uploadEnded(upload); upload.fail(error); }
      this._emit('upload', upload);
    }
  }
  async #chunk(upload, path, index) {
    const form = new FormData(), controller = new AbortController(), part = upload.part(index);
    form.set('ChunkIndex', index); form.set('TotalChunk', upload.total); form.set('File', part, upload.name);
    upload.running.add(controller);
    upload.sending.add(index);
    this._emit('upload', upload);
    try {
      const answer = await this.request('POST', path, { body: form, tries: 10, signal: controller.signal });
      upload.loaded[index] = part.size;
      this._emit('upload', upload);
      return answer;
    } finally { upload.running.delete(controller); upload.sending.delete(index); }
  }
  /** The address of a message's file. A browser needs the cookie of POST /session, or fetchFile. */
  fileURL(message, thumbnail = false) { return `${this.#options.url}${this.#options.prefix}/files/${message.ID}${thumbnail ? '/thumbnail' : ''}`; }
  async fetchFile(message, thumbnail = false) {
    const answer = await this.#options.fetch(this.fileURL(message, thumbnail), { headers: { Authorization: `Bearer ${await this.#bearer()}` } });
    if (!answer.ok) throw new ChatError('file', `HTTP ${answer.status}`, { status: answer.status });
    return answer.blob();
  }
}

/** A server without epochs is in the first one. */
const epochOf = info => info.Epoch ?? 1;
const older = (one, other) => (one.ChangeSeq ?? 0) < (other?.ChangeSeq ?? 0);
/** Of a user of whom the host has said nothing there is no description, or an empty one. */
const alike = (one, other) => (one?.Name ?? '') === other.Name && (one?.Avatar ?? '') === other.Avatar && (one?.ExternalID ?? null) === other.ExternalID;
const laneOf = item => item.lane ?? item.frame.RoomID ?? item.frame.ReceiverID;

/** randomUUID exists only on https and localhost. */
function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64; bytes[8] = (bytes[8] & 63) | 128;
  return [...bytes].map((byte, at) => ([4, 6, 8, 10].includes(at) ? '-' : '') + byte.toString(16).padStart(2, '0')).join('');
}
