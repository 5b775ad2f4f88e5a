// A network and a server that misbehave, in virtual time: the same seed makes the same run.
export function randomOf(seed) {
  let state = (seed * 2654435761 + 1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export class World {
  time = 1e12; #events = []; #number = 0; calm = false; gentle = false; rooms = new Map(); sockets = new Set(); tickets = 0; faults = {};
  constructor(seed) { this.random = randomOf(seed); }
  chance(part) { return !this.calm && !this.gentle && this.random() < part; }
  note(fault) { this.faults[fault] = (this.faults[fault] ?? 0) + 1; }

  // -- Time: a heap of pending events.
  at(wait, run) {
    const event = { time: this.time + Math.max(0, wait), number: this.#number++, run }, heap = this.#events;
    let place = heap.push(event) - 1;
    for (let up; place && less(event, heap[up = (place - 1) >> 1]); place = up) heap[place] = heap[up];
    heap[place] = event;
    return event;
  }
  #next() {
    const heap = this.#events, first = heap[0], last = heap.pop();
    if (heap.length) {
      let place = 0;
      for (let down; (down = 2 * place + 1) < heap.length; place = down) {
        if (down + 1 < heap.length && less(heap[down + 1], heap[down])) down++;
        if (!less(heap[down], last)) break;
        heap[place] = heap[down];
      }
      heap[place] = last;
    }
    return first;
  }
  async run(seconds, until = () => false) {
    const end = this.time + seconds * 1000;
    while (this.#events.length && this.#events[0].time <= end) {
      const event = this.#next();
      if (!event.run) continue;
      this.time = event.time;
      event.run();
      await new Promise(setImmediate);
      if (until()) return true;
    }
    this.time = end;
    return until();
  }

  // -- The server
  room(id, users) {
    const room = { ID: id, epoch: 1, seq: 0, messages: [], events: [], relayed: 0, backup: null, marks: new Map(),
      members: new Map(users.map(user => [user, { UserID: user, Role: 'MEMBER', LastSeenSeq: 0, MutedUntil: null, BannedAt: null, JoinedAt: '' }])) };
    this.rooms.set(id, room);
    return room;
  }
  /** `Status` is computed from the others' seen marks when a message is read; a frame has the value at the time of sending. */
  today(room, message) {
    const seen = message.Status === 'sent' && [...room.marks].some(([user, seq]) => user !== message.SenderID && seq >= message.Seq);
    return seen ? { ...message, Status: 'seen' } : message;
  }
  view(room, user) {
    const seen = room.members.get(user).LastSeenSeq;
    return { ID: room.ID, Type: 'GROUP', Name: room.ID, MemberCount: room.members.size, LastSeq: room.seq, Epoch: room.epoch,
      LastMessage: room.messages.at(-1) ?? null, Role: 'MEMBER', MutedUntil: null,
      Unread: room.messages.filter(message => message.Seq > seen && message.SenderID !== user).length };
  }
  /** One step in a room's order; each member's relay receives it a little later. */
  #step(room, Type, Data, sender = null, Sign = null) {
    const frame = JSON.stringify({ Type, Success: true, Error: '', Data, RoomID: room.ID, Seq: room.seq });
    room.events.push({ seq: room.seq, Type, message: Data.ID, frame, sender, Sign });
    const { epoch, seq } = room;
    this.at(this.calm ? 1 : this.random() * 30, () => {
      if (room.epoch !== epoch) return;
      for (room.told = Math.max(room.told ?? 0, seq); room.relayed < room.told; room.relayed++) {
        const event = room.events[room.relayed];
        for (const socket of this.sockets) if (room.members.has(socket.user) || event.leaver === socket.user) socket.tell(room, event);
      }
    });
  }
  do(user, request) {
    const { Type, RoomID, MessageID, Sign } = request;
    const room = this.rooms.get(RoomID) ?? [...this.rooms.values()].find(one => one.messages.some(message => message.ID === MessageID));
    if (!room || !room.members.has(user)) return { error: MessageID ? 'message_not_found' : 'not_a_member' };
    if (Type === 'message') {
      const had = room.messages.find(message => message.SenderID === user && message.Sign === Sign);
      if (had) return { data: had, room, seq: had.Seq };
      const seq = ++room.seq, message = { ID: `m${this.#number++}`, RoomID: room.ID, SenderID: user, Seq: seq, Content: request.Content, Sign,
        Status: 'sent', Reactions: [], ChangeSeq: seq, PinnedAt: null };
      room.messages.push(message);
      this.#step(room, 'new_message', message, user, Sign);
      return { data: message, room, seq };
    }
    if (Type === 'seen') {
      const member = room.members.get(user), last = room.messages.at(-1)?.Seq ?? 0, Seq = Math.min(request.Seq ?? last, last);
      const mark = { RoomID: room.ID, UserID: user, Seq: Math.max(Seq, member.LastSeenSeq), At: '' };
      if (Seq <= member.LastSeenSeq) return { data: mark, room };
      room.members.set(user, { ...member, LastSeenSeq: Seq });
      room.marks.set(user, Math.max(Seq, room.marks.get(user) ?? 0));
      room.seq++;
      this.#step(room, 'seen', mark, user, Sign);
      return { data: mark, room, seq: room.seq };
    }
    const place = room.messages.findIndex(message => message.ID === MessageID), message = room.messages[place];
    if (!message) return { error: 'message_not_found' };
    if (message.Status === 'deleted') return { error: 'gone' };
    const seq = ++room.seq, changed = { ...message, ChangeSeq: seq, ...(Type === 'edit' && { Content: request.Content }),
      ...(Type === 'delete' && { Content: '', Status: 'deleted' }),
      ...(Type === 'react' && { Reactions: [{ Reaction: request.Reaction, Count: 1, Users: [user] }] }) };
    room.messages[place] = changed;
    this.#step(room, 'message_updated', changed, user, Sign);
    return { data: changed, room, seq };
  }
  joins(room, user) {
    room.seq++;
    const Member = { UserID: user, Role: 'MEMBER', LastSeenSeq: room.messages.at(-1)?.Seq ?? 0, MutedUntil: null, BannedAt: null, JoinedAt: '' };
    room.members.set(user, Member);
    room.marks.set(user, Math.max(Member.LastSeenSeq, room.marks.get(user) ?? 0));
    this.#step(room, 'room_updated', { RoomID: room.ID, Change: 'joined', Member, Seq: room.seq });
  }
  leaves(room, user) {
    room.seq++;
    const Member = room.members.get(user);
    room.members.delete(user);
    room.wasLeft = true;
    this.#step(room, 'room_updated', { RoomID: room.ID, Change: 'left', Member, Seq: room.seq });
    room.events.at(-1).leaver = user;
  }
  backup(room) { room.backup = JSON.stringify([room.seq, room.messages, room.events, [...room.members], [...room.marks]]); }
  /** Loses the newest history, like a restored backup. */
  restore(room) {
    if (!room.backup) return;
    this.note('history lost');
    [room.seq, room.messages, room.events] = JSON.parse(room.backup);
    room.members = new Map(JSON.parse(room.backup)[3]);
    room.marks = new Map(JSON.parse(room.backup)[4]);
    room.epoch++;
    room.relayed = room.told = room.seq;
    for (const socket of [...this.sockets]) socket.cut();
  }

  // -- The client's side
  options(user, store) {
    const world = this, life = { over: false };
    const clock = {
      now: () => world.time,
      set: (run, wait) => world.at(wait, () => life.over || run()),
      clear: event => { if (event) event.run = null; },
    };
    class WebSocket extends Socket { constructor(address) { super(world, user, life, address); } }
    return { life, WebSocket, clock, random: () => world.random(), uuid: () => `sign-${world.#number++}`, store, token: 'token', history: 8, keep: 20,
      fetch: (address, request) => world.fetch(user, life, address, request), answerWait: 8000, requestWait: 6000 };
  }
  fetch(user, life, address, { method, signal, body }) {
    return new Promise((done, fail) => {
      signal.addEventListener('abort', () => fail(new Error('aborted')));
      const wait = this.calm ? 2 : this.random() ** 4 * 1500;
      if (this.chance(0.04)) { this.note('request lost'); return void this.at(wait, () => fail(new Error('reset'))); }
      if (this.chance(0.02)) return this.note('request hangs');
      this.at(wait, () => {
        let status, answer;
        if (this.chance(0.04)) { this.note('503'); [status, answer] = [503, { Success: false, Error: { Code: 'unavailable', Message: '', RetryAfter: 700 } }]; }
        else {
          [status, answer] = this.#rest(user, method, new URL(address, 'http://x'), body && JSON.parse(body));
          if (this.chance(0.03)) { this.note('answer lost'); return fail(new Error('reset')); }
        }
        const text = JSON.stringify(answer), back = this.calm ? 2 : this.random() ** 4 * 3000;
        this.at(back, () => life.over || done({ ok: status < 300, status, headers: new Map(), text: async () => text }));
      });
    });
  }
  #rest(user, method, { pathname, searchParams }) {
    const words = pathname.replace('/api/v1/', '').split('/'), limit = Number(searchParams.get('limit') ?? 50), no = [404, { Error: { Code: 'not_a_member', Message: '' } }];
    if (words[0] === 'ws-ticket') return [201, { Data: { Ticket: `${this.tickets++}`, ExpiresIn: 30 } }];
    if (words.length === 1) {
      const mine = [...this.rooms.values()].filter(room => room.members.has(user)).sort((a, b) => (a.ID < b.ID ? -1 : 1));
      const rest = mine.filter(room => room.ID > (searchParams.get('cursor') ?? '')), page = rest.slice(0, 2);
      return [200, { Data: page.map(room => this.view(room, user)), Next: rest.length > 2 ? page.at(-1).ID : null }];
    }
    const room = this.rooms.get(words[1]);
    if (!room || !room.members.has(user)) return no;
    if (words.length === 2) return [200, { Data: this.view(room, user) }];
    if (words[2] === 'members') return [200, { Data: [...room.members.values()], Next: null }];
    const since = searchParams.get('changed_since'), before = searchParams.get('before');
    const pageOf = (list, next) => [200, { Data: list.slice(0, limit).map(message => this.today(room, message)), Next: list.length > limit ? next(list[limit - 1]) : null }];
    if (since !== null) {
      return pageOf(room.messages.filter(message => message.ChangeSeq > Number(since)).sort((a, b) => a.ChangeSeq - b.ChangeSeq), last => `${last.ChangeSeq}`);
    }
    return pageOf(room.messages.filter(message => !before || message.Seq < Number(before)).reverse(), last => `${last.Seq}`);
  }
}
const less = (a, b) => a.time < b.time || (a.time === b.time && a.number < b.number);

/** One connection. Each direction stays in order; a cut loses the data in transit; a hang loses it silently. */
class Socket {
  #down = 0; #up = 0; #isCut = false; #hangs = false; #resumed = false; #held = [];
  constructor(world, user, life, address) {
    Object.assign(this, { world, user, life, movable: new URL(address, 'http://x').searchParams.get('move') === '1' });
    if (world.chance(0.08)) { world.note('no handshake'); return void world.at(50, () => this.cut()); }
    if (world.chance(0.03)) { world.note('handshake hangs'); this.#hangs = true; return; }
    world.at(world.calm ? 1 : world.random() * 100, () => {
      if (this.#isCut) return;
      world.sockets.add(this);
      this.#say({ Type: 'welcome', Success: true, Error: '', Data: { UserID: user, ConnectionID: '1', Heartbeat: 20, Limits: {} } });
      world.at(250, () => this.#release());
    });
  }
  cut(code = 1006) {
    if (this.#isCut) return;
    this.#isCut = true;
    this.world.sockets.delete(this);
    if (!this.#hangs) this.world.at(this.world.random() * 40, () => this.life.over || this.onclose?.({ code, reason: '' }));
  }
  /** The relay is drained: the client has some time. */
  move(Within = 30) {
    if (!this.movable) return this.cut(1001);
    this.#say({ Type: 'move', Success: true, Error: '', Data: { Within } });
    this.world.at(1000 * Within, () => this.cut(1001));
  }
  close() { this.#isCut = true; this.world.sockets.delete(this); }
  #say(frame) { this.#text(JSON.stringify(frame)); }
  #text(text) {
    const { world } = this;
    if (world.chance(0.004)) { world.note('cut'); return this.cut([1006, 1001, 4008, 4001, 1000][Math.floor(world.random() * 5)]); }
    if (world.chance(0.001)) { world.note('hang'); this.#hangs = true; }
    this.#down = Math.max(this.#down, world.time + (world.calm ? 1 : world.random() ** 3 * 200));
    world.at(this.#down - world.time, () => { if (!this.#isCut && !this.#hangs && !this.life.over) this.onmessage?.({ data: text }); });
  }
  #release() {
    if (this.#resumed) return;
    this.#resumed = true;
    for (const [room, event] of this.#held.splice(0)) this.tell(room, event);
  }
  /** The sender's own socket gets its frame as the answer. */
  tell(room, event) {
    if (!this.#resumed) return void this.#held.push([room, event]);
    // No frame follows the one that removes a member, so its loss could not be detected.
    if (event.leaver !== this.user && this.world.chance(0.003)) { this.world.note('frame lost'); return; }
    for (let times = this.world.chance(0.01) ? 2 : 1; times; times--) {
      const mine = event.Sign && this.asked?.has(event.Sign);
      this.#text(mine ? event.frame.replace(/"Type":"\w+"/, '"Type":"response"').replace(/}$/, `,"Sign":"${event.Sign}"}`) : event.frame);
    }
  }
  send(text) {
    if (this.#isCut) throw new Error('closed');
    const { world } = this;
    if (this.#hangs) return;
    if (world.chance(0.01)) { world.note('cut while sending'); return this.cut(); }
    this.#up = Math.max(this.#up, world.time + (world.calm ? 1 : world.random() ** 3 * 200));
    world.at(this.#up - world.time, () => this.#isCut || this.#hear(JSON.parse(text)));
  }
  #hear(request) {
    const { world, user } = this, { Type, Sign } = request, refuse = (Error, more) => this.#say({ Type: 'response', Success: false, Error, Data: null, Sign, ...more });
    if (Type === 'ping') return this.#say({ Type: 'pong', Success: true, Error: '', Data: null });
    if (Type === 'typing') return;
    if (Type === 'resume') return this.#resume(request);
    if (world.chance(0.05)) { world.note('busy'); return refuse('busy: later', { RetryAfter: 300 }); }
    (this.asked ??= new Set()).add(Sign);
    const events = world.rooms.get(request.RoomID)?.seq, found = world.do(user, request);
    if (found.error) return refuse(`${found.error}: no`);
    const first = found.room.events.at(-1)?.Sign === Sign && found.room.events.at(-1).seq === found.seq && found.seq !== events;
    // The first answer comes in the room's order, by tell(); that of a retry comes at once, with its old Seq.
    if (!first) this.#say({ Type: 'response', Success: true, Error: '', Data: found.data, Sign, RoomID: found.room.ID, ...(found.seq && { Seq: found.seq }) });
  }
  #resume({ Rooms, Sign }) {
    const { world, user } = this, answer = [];
    if (this.#resumed) world.note('late resume');
    for (const { RoomID, Seq, Epoch } of Rooms) {
      const room = world.rooms.get(RoomID);
      if (!room || !room.members.has(user)) {
        this.#say({ Type: 'response', Success: false, Error: `not_a_member: ${RoomID}`, Data: null, Sign });
        answer.push({ RoomID, Error: 'not_a_member' });
        continue;
      }
      this.#held = this.#held.filter(([one]) => one !== room);
      if ((Epoch !== undefined && Epoch !== room.epoch) || Seq > room.relayed || room.relayed - Seq > 15) {
        world.note('resync');
        this.#say({ Type: 'resync', Success: true, Error: '', RoomID, Data: { RoomID, Seq: room.relayed, Epoch: room.epoch } });
        answer.push({ RoomID, Seq: room.relayed, Epoch: room.epoch, Resync: true });
        continue;
      }
      // A changed message is sent in its current state.
      for (const event of room.events.slice(Seq, room.relayed)) {
        const today = event.message && room.messages.find(message => message.ID === event.message);
        this.#text(today ? JSON.stringify({ ...JSON.parse(event.frame), Data: today }) : event.frame);
      }
      answer.push({ RoomID, Seq: room.relayed, Epoch: room.epoch });
    }
    this.#release();
    this.#say({ Type: 'response', Success: true, Error: '', Data: { Rooms: answer }, Sign });
  }
}
