// Servers and hosts that lie, repeat themselves, name absurd numbers or say nothing: the client stays bounded, tells its host, and arrives at the truth.
// node test/hostile.mjs; in virtual time, but for the command line.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { World } from './world.mjs';

const { Chat, MemoryStore } = await import(process.env.CHAT_MODULE ?? '../chat.js');
const encode = value => btoa(JSON.stringify(value)).replace(/=+$/, '').replace(/\+/g, '-').replace(/\//g, '_');
const tokenOf = (sub, more = {}) => `${encode({ alg: 'HS256' })}.${encode({ sub, ...more })}.c2ln`;
const profile = (UserID, Name) => ({ UserID, ExternalID: null, Name, Avatar: '' });
const messageOf = (Seq, more = {}) => ({ ID: `m${Seq}`, RoomID: 'r1', SenderID: 'bob', Sender: null, Seq, Content: `text ${Seq}`, ContentType: 'text', MessageType: 'direct',
  ParentMessageID: null, ForwardedFrom: null, Sign: null, Status: 'sent', File: null, Reactions: [], EditedAt: null, DeletedAt: null, PinnedAt: null, ChangeSeq: Seq, Mentions: [], CreatedAt: '', ...more });
const MAX = 2 ** 31 - 1;

/** A network without faults and a server whose every answer a test can replace. */
class Bench {
  requests = []; sockets = []; waits = []; errors = []; closed = []; rooms = new Map(); me = 'ann'; greets = true; heartbeat = 30; limits = {}; tokens = 0;
  constructor(options = {}) {
    const bench = this, world = this.world = new World(1);
    world.calm = true;
    this.chat = new Chat({ url: 'http://x', clock: this.clock = {
      now: () => world.time,
      // As setTimeout of Node and of browsers.
      set: (run, wait) => { bench.waits.push(wait); return world.at(wait >= 1 && wait <= MAX ? Number(wait) : 1, run); },
      clear: event => { if (event) event.run = null; },
    }, random: () => 0.5, uuid: () => `u${world.tickets++}`, store: new MemoryStore(), token: 'token', history: 50, fetch: (address, request) => this.#fetch(address, request),
    WebSocket: class { constructor(address) { this.address = address; bench.#opened(this); } send(text) { bench.hear(this, JSON.parse(text), text); } close() { this.over = true; } }, ...options });
    this.chat.on('error', error => this.errors.push(error));
    this.chat.on('closed', closed => this.closed.push(closed));
  }
  room(id, last = 0, more = {}) {
    const room = { info: { ID: id, Type: 'GROUP', Name: id, MemberCount: 2, LastSeq: last, Epoch: 1, LastMessage: null, Role: 'MEMBER', MutedUntil: null, Unread: 0 }, messages: [], members: ['ann', 'bob'].map(user => ({ UserID: user, Role: 'MEMBER', LastSeenSeq: 0 })), ...more };
    for (let seq = 1; seq <= last; seq++) room.messages.push(messageOf(seq, { RoomID: id }));
    this.rooms.set(id, room);
    return room;
  }
  #fetch(address, { method, signal, headers, body }) {
    const url = new URL(address), path = url.pathname.replace('/api/v1', '');
    this.requests.push({ method, path, query: url.searchParams, address, headers });
    return new Promise((done, fail) => {
      signal.addEventListener('abort', () => fail(new Error('aborted')));
      this.world.at(1, async () => {
        let answer = await this.rest(method, path, url.searchParams, headers, body);
        if (typeof answer === 'string') answer = { status: 200, text: answer };
        const { status = 200, text, wait = 1, retryAfter = null, ...found } = answer;
        this.world.at(wait, () => done({ ok: status < 300, status, headers: { get: () => retryAfter }, text: async () => text ?? JSON.stringify(found) }));
      });
    });
  }
  rest(method, path, query) {
    const [, kind, id, what] = path.split('/'), room = this.rooms.get(id);
    if (kind === 'ws-ticket') return { status: 201, Data: { Ticket: `t${this.world.tickets++}` } };
    if (kind === 'users') return { Data: [] };
    if (!id) return { Data: [...this.rooms.values()].map(one => one.info), Next: null };
    if (!room) return { status: 404, Error: { Code: 'not_found', Message: '' } };
    if (!what) return { Data: room.info };
    if (what === 'members') return { Data: room.members, Next: null };
    const limit = Number(query.get('limit')), before = query.get('before'), changed = query.get('changed_since');
    const found = room.messages.filter(one => changed === null ? !before || one.Seq < Number(before) : one.ChangeSeq > Number(changed));
    const list = changed === null ? found.reverse() : found.sort((a, b) => a.ChangeSeq - b.ChangeSeq), page = list.slice(0, limit);
    return { Data: page, Next: list.length > limit ? `${changed === null ? page.at(-1).Seq : page.at(-1).ChangeSeq}` : null };
  }
  #opened(socket) {
    this.sockets.push(socket);
    this.world.at(1, () => { if (this.greets && !socket.over) this.welcome(socket); });
  }
  welcome(socket = this.sockets.at(-1)) {
    this.say({ Type: 'welcome', Success: true, Error: '', Data: { UserID: this.me, ConnectionID: '1', Heartbeat: this.heartbeat, Limits: this.limits } }, socket);
  }
  say(frame, socket = this.sockets.at(-1)) { if (!socket.over) socket.onmessage({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) }); }
  tell(message, more = {}) { this.say({ Type: 'new_message', Success: true, Error: '', Data: message, RoomID: message.RoomID, Seq: message.Seq, ...more }); }
  cut(code, reason = '', socket = this.sockets.at(-1)) { if (!socket.over) { socket.over = true; socket.onclose({ code, reason }); } }
  hear(socket, { Type, Sign }) {
    if (Type === 'ping') this.world.at(1, () => this.say({ Type: 'pong' }, socket));
    if (Type === 'resume') this.world.at(1, () => this.say({ Type: 'response', Success: true, Error: '', Data: { Rooms: [] }, Sign }, socket));
    if (Type === 'auth') this.world.at(1, () => this.say({ Type: 'response', Success: true, Error: '', Data: null, Sign }, socket));
  }
  async run(seconds, until) {
    await new Promise(setImmediate);
    return this.world.run(seconds, until);
  }
  async opened() {
    this.chat.connect();
    assert.ok(await this.run(300, () => this.chat.synced), 'it is connected');
    return this;
  }
  asked(path) { return this.requests.filter(one => one.path === path).length; }
  get list() { return this.chat.rooms.get('r1').list().map(message => message.Seq); }
  /** Never a wait at which setTimeout fires at once. */
  waitsAreSound() { for (const wait of this.waits) assert.ok(typeof wait === 'number' && wait >= 0 && wait <= MAX, `a wait of ${wait}`); }
}
const settled = async (bench, promise, seconds = 60) => {
  let found = 'pending';
  promise.then(value => { found = value; }, error => { found = error; });
  await bench.run(seconds, () => found !== 'pending');
  return found;
};

// -- 0. Moves to another relay
const moved = async (options, data = { Within: 30 }) => {
  const bench = new Bench({ url: 'https://x', ...options });
  bench.room('r1', 5);
  await bench.opened();
  await settled(bench, bench.chat.loadOlder('r1'));
  bench.states = [];
  bench.chat.on('state', state => bench.states.push(state));
  if (data) bench.say({ Type: 'move', Success: true, Error: '', Data: data }, bench.sockets[0]);
  return bench;
};
const unmoved = (bench, sockets) => {
  assert.deepEqual([bench.chat.state, bench.states, bench.closed], ['open', [], []], 'nobody notices');
  assert.equal(bench.sockets.length, sockets, 'sockets');
  assert.deepEqual([bench.chat.stats.missed, bench.chat.stats.doubled], [0, 0]);
};
test('it opens and resumes the next socket before it closes the old one, and takes from both what comes next', async () => {
  const bench = await moved({}, null), [old] = bench.sockets, heard = [];
  // The old relay answers the message that is on its way there late, and the next one its resume.
  bench.hear = (socket, frame) => heard.push([bench.sockets.indexOf(socket), frame]);
  const first = bench.chat.send('r1', 'first');
  await bench.run(0.1, () => heard.length);
  bench.say({ Type: 'move', Success: true, Error: '', Data: { Within: 30 } }, old);
  await bench.run(5, () => heard.length > 1);
  const [, next] = bench.sockets;
  assert.deepEqual(heard.map(([at, { Type }]) => [at, Type]), [[0, 'message'], [1, 'resume']]);
  assert.deepEqual(heard[1][1].Rooms.map(({ Seq }) => Seq), [5]);
  assert.match(next.address, /^wss:\/\/x\/ws\/v1\/chat\?ticket=[^&]+&move=1$/);
  assert.notEqual(next.address, old.address, 'a ticket of its own');
  const told = [];
  bench.chat.on('message', ({ message }) => told.push(message.Seq));
  for (const [socket, seqs] of [[old, [6, 7]], [next, [6, 7, 8]], [old, [8, 9]], [next, [9]]]) for (const seq of seqs) bench.say({ Type: 'new_message', Success: true, Error: '', Data: messageOf(seq), RoomID: 'r1', Seq: seq }, socket);
  assert.deepEqual(told, [6, 7, 8, 9]);
  bench.say({ Type: 'response', Success: true, Error: '', Data: { Rooms: [] }, Sign: heard[1][1].Sign }, next);
  await bench.run(0.1);
  assert.ok(!old.over, 'a request is on its way there');
  const message = messageOf(10, { Content: 'first', SenderID: 'ann', Sign: heard[0][1].Sign });
  bench.say({ Type: 'response', Success: true, Error: '', Data: message, RoomID: 'r1', Seq: 10, Sign: message.Sign }, old);
  assert.equal((await settled(bench, first)).Seq, 10);
  await bench.run(0.1);
  assert.ok(old.over && !next.over, 'now it is closed');
  // The next one brings again what the old one brought first.
  for (const seq of [10, 11]) bench.say({ Type: 'new_message', Success: true, Error: '', Data: messageOf(seq, seq === 10 ? message : {}), RoomID: 'r1', Seq: seq }, next);
  assert.deepEqual(bench.list, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  delete bench.hear;
  await bench.run(600);
  unmoved(bench, 2);
  assert.equal(bench.chat.stats.moves, 1);
});
test('it goes where it is told, but never from wss to ws', async () => {
  for (const [url, URL, found] of [['https://x', 'wss://b.example/ws/v1/chat', 'wss://b.example/ws/v1/chat'], ['https://x', 'ws://b.example/ws', 'wss://x/ws/v1/chat'], ['http://x', 'ws://b.example/ws', 'ws://b.example/ws'], ['http://x', null, 'ws://x/ws/v1/chat']]) {
    const bench = await moved({ url }, { URL, Within: 30 });
    await bench.run(10, () => bench.chat.stats.moves);
    assert.equal(bench.sockets[1].address.split('?')[0], found);
    unmoved(bench, 2);
  }
});
test('an address that is none moves nobody', async () => {
  for (const data of [{ URL: 'https://b' }, { URL: 7 }, { URL: 'wss://b/?x' }, { URL: `wss://${'b'.repeat(5000)}` }, { URL: 'wss://b\n' }, null, 'b']) {
    const bench = await moved({});
    bench.say({ Type: 'move', Data: data });
    const { errors } = await moved({}, data ?? 7);
    assert.ok(errors.some(({ code }) => code === 'malformed'), `${JSON.stringify(data)} is malformed`);
  }
});
test('a next socket that cannot be had is tried again, less and less often, and in the end this one stays', async () => {
  for (const harm of ['greets', 'ticket', 'cut', 'other']) {
    const bench = await moved({}, null), { rest } = bench;
    if (harm === 'greets') bench.greets = false;
    if (harm === 'ticket') bench.rest = (...words) => words[1] === '/ws-ticket' ? { status: 503, Error: { Code: 'unavailable', Message: '' } } : rest.apply(bench, words);
    if (harm === 'cut') bench.welcome = socket => bench.cut(1006, '', socket);
    if (harm === 'other') bench.me = 'eve';
    bench.say({ Type: 'move', Success: true, Error: '', Data: { Within: 60 } });
    await bench.run(70);
    assert.ok(bench.sockets.length + bench.asked('/ws-ticket') < 30, `${harm}: ${bench.sockets.length} sockets, ${bench.asked('/ws-ticket')} tickets in a minute`);
    const { length } = bench.sockets, tickets = bench.asked('/ws-ticket');
    await bench.run(3600);
    assert.deepEqual([bench.sockets.length, bench.asked('/ws-ticket')], [length, tickets], `${harm}: then no more`);
    unmoved(bench, length);
    assert.ok(!bench.sockets[0].over && bench.sockets.slice(1).every(one => one.over), `${harm}: the first one stays alone`);
    assert.equal(bench.chat.me, 'ann');
  }
});
test('a server that says move again and again is followed less and less often', async () => {
  for (const data of [{ Within: 30 }, { Within: 0.001 }, { Within: -1 }, { Within: 'x' }, { Within: 1e300 }]) {
    const bench = await moved({}, null), { welcome } = bench;
    bench.welcome = socket => { welcome.call(bench, socket); for (let times = 3; times; times--) bench.say({ Type: 'move', Success: true, Error: '', Data: data }, socket); };
    bench.say({ Type: 'move', Success: true, Error: '', Data: data });
    await bench.run(600);
    assert.ok(bench.sockets.length > 3 && bench.sockets.length < 400, `${bench.sockets.length} sockets in ten minutes`);
    assert.ok(bench.sockets.filter(one => !one.over).length <= 3, 'at most three at once');
    bench.waitsAreSound();
  }
});
test('an old socket that ends in the middle of a move takes nothing with it', async () => {
  const bench = await moved({}, null), heard = [];
  bench.hear = (socket, frame) => heard.push([bench.sockets.indexOf(socket), frame]);
  const sent = bench.chat.send('r1', 'x'), asked = bench.chat.ask({ Type: 'ping' });
  await bench.run(0.1, () => heard.length > 1);
  bench.say({ Type: 'move', Success: true, Error: '', Data: { Within: 30 } });
  await bench.run(5, () => heard.length > 2);
  bench.cut(1001, '', bench.sockets[0]);
  assert.equal((await settled(bench, asked)).code, 'closed');
  await bench.run(1);
  const again = heard.filter(([at, { Type }]) => at === 1 && Type === 'message');
  assert.equal(again.length, 1);
  assert.equal(again[0][1].Sign, heard.find(([, { Type }]) => Type === 'message')[1].Sign, 'the same Sign');
  bench.say({ Type: 'response', Success: true, Error: '', Data: messageOf(6, { SenderID: 'ann', Sign: again[0][1].Sign }), RoomID: 'r1', Seq: 6, Sign: again[0][1].Sign });
  assert.equal((await settled(bench, sent)).Seq, 6);
  unmoved(bench, 2);
});
test('a page that closes in the middle of a move leaves no socket behind', async () => {
  for (const wait of [0, 0.101, 0.31, 0.35, 0.5, 1]) {
    const bench = await moved({});
    await bench.run(wait);
    bench.chat.close();
    await bench.run(100);
    assert.ok(bench.sockets.every(one => one.over), `after ${wait} s`);
    assert.equal(bench.chat.state, 'closed');
  }
});

// -- 1. REST behind the frames
test('a replica that is behind the frames is asked less and less, and the copy arrives at the truth', async () => {
  const bench = new Bench(), room = bench.room('r1', 5);
  await bench.opened();
  await settled(bench, bench.chat.loadOlder('r1'));
  bench.requests.length = 0;
  bench.tell(messageOf(7));
  await bench.run(60);
  assert.ok(bench.requests.length < 60, `${bench.requests.length} requests in a minute`);
  assert.deepEqual(bench.list, [1, 2, 3, 4, 5]);
  room.messages.push(messageOf(6), messageOf(7));
  room.info = { ...room.info, LastSeq: 7 };
  await bench.run(120);
  assert.deepEqual(bench.list, [1, 2, 3, 4, 5, 6, 7]);
  const { length } = bench.requests;
  await bench.run(600);
  assert.ok(bench.requests.length - length < 5, 'then it asks no more');
});
test('a frame that comes late ends the gap without REST', async () => {
  const bench = new Bench();
  bench.room('r1', 5);
  await bench.opened();
  await settled(bench, bench.chat.loadOlder('r1'));
  bench.tell(messageOf(7));
  await bench.run(10);
  bench.tell(messageOf(6));
  assert.deepEqual(bench.list, [1, 2, 3, 4, 5, 6, 7]);
});
test('a room whose frames are here before a replica has it is not dropped', async () => {
  const bench = await new Bench().opened();
  bench.tell(messageOf(1));
  bench.world.at(2000, () => bench.room('r1', 1));
  assert.ok(await bench.run(30, () => bench.chat.rooms.get('r1')?.info), 'it is there');
  assert.equal(bench.chat.rooms.get('r1').seq, 1);
});
test('neither resync nor gaps nor unknown rooms, however many, make a request each', async () => {
  for (const say of [(bench, at) => bench.say({ Type: 'resync', RoomID: 'r1', Data: { RoomID: 'r1', Seq: 5, Epoch: 1 } }), (bench, at) => bench.tell(messageOf(10 + 2 * at))]) {
    const bench = new Bench();
    bench.room('r1', 5);
    await bench.opened();
    bench.requests.length = 0;
    for (let at = 0; at < 3000; at++) { say(bench, at); await bench.run(0.01); }
    assert.ok(bench.requests.length < 100, `${bench.requests.length} requests in half a minute`);
  }
  const bench = await new Bench().opened();
  let most = 0, now = 0;
  bench.rest = () => { most = Math.max(most, ++now); return new Promise(done => bench.world.at(100, () => { now--; done({ status: 404 }); })); };
  for (let at = 0; at < 500; at++) bench.tell(messageOf(1, { RoomID: `r${at}` }));
  await bench.run(60);
  assert.ok(most > 0 && most <= 6, `${most} requests at once`);
});
test('frames that wait for an earlier one are bounded', async () => {
  const bench = new Bench();
  bench.room('r1', 5);
  await bench.opened();
  for (let at = 0; at < 5000; at++) bench.tell(messageOf(100 + at));
  assert.ok(bench.chat.rooms.get('r1').early.size <= 1000);
});

// -- 2. Tokens
const nonsense = { 'a line break': () => 'abc\ndef', 'a letter that no header can carry': () => 'abc\u20ac', 'a space': () => 'abc def', nothing: () => undefined, null: () => null, 'an empty text': () => '',
  'a number': () => 7, 'an object': () => ({ Token: 'x' }), throwing: () => { throw new Error('no'); }, rejecting: () => Promise.reject(new Error('no')), 'rejecting with nothing': () => Promise.reject(),
  hanging: () => new Promise(() => {}) };
for (const [name, bad] of Object.entries(nonsense)) {
  test(`a token function that gives ${name} is asked again, not too often, and its host is told`, async () => {
    let calls = 0, good = false;
    const bench = new Bench({ token: () => { calls++; return good ? tokenOf('4711') : bad(); } });
    bench.chat.connect();
    await bench.run(300);
    assert.ok(calls >= 4 && calls < 60, `${calls} calls in five minutes`);
    assert.equal(bench.requests.length, 0);
    assert.ok(bench.errors.length && bench.errors.every(error => error.code === 'token' && !error.message.includes('abc')), bench.errors[0]?.message);
    good = true;
    assert.ok(await bench.run(120, () => bench.chat.synced));
    bench.waitsAreSound();
  });
  test(`a ticket function that gives ${name} is asked again, not too often`, async () => {
    let calls = 0, good = false;
    const bench = new Bench({ token: undefined, ticket: () => { calls++; return good ? 'pass' : bad(); } });
    bench.chat.connect();
    await bench.run(300);
    assert.ok(calls >= 4 && calls < 60, `${calls} calls in five minutes`);
    assert.equal(bench.sockets.length, 0);
    good = true;
    assert.ok(await bench.run(120, () => bench.chat.synced));
  });
}
test('a token that is no line is told, and not sent', async () => {
  const bench = new Bench({ token: 'abc\ndef' });
  bench.chat.connect();
  await bench.run(120);
  assert.equal(bench.requests.length, 0);
  assert.ok(bench.closed.length > 2 && bench.closed.length < 40 && bench.closed.every(({ error }) => error.code === 'token' && !error.message.includes('abc')));
});
test('the line break at the end of a file does not matter', async () => {
  const bench = await new Bench({ token: async () => `${tokenOf('4711')}\r\n` }).opened();
  assert.equal(bench.requests[0].headers.Authorization, `Bearer ${tokenOf('4711')}`);
});
test('many requests ask for one token; a refused one is replaced once', async () => {
  let calls = [];
  const bench = new Bench({ token: async fresh => { calls.push(fresh); return tokenOf('4711', { jti: `${calls.length}` }); } });
  await settled(bench, Promise.all(Array.from({ length: 20 }, () => bench.chat.request('GET', '/rooms'))));
  assert.deepEqual(calls, [false]);
  const first = bench.requests[0].headers.Authorization, { rest } = bench;
  bench.rest = (...words) => (words[3].Authorization === first ? { status: 401, Error: { Code: 'token_expired', Message: '' } } : rest.call(bench, ...words));
  await settled(bench, Promise.all(Array.from({ length: 20 }, () => bench.chat.request('GET', '/rooms'))));
  assert.deepEqual(calls, [false, true]);
});

// -- 3. exp
for (const [name, claims] of Object.entries({ missing: {}, null: { exp: null }, 'a text': { exp: '99999999999' }, negative: { exp: -5 }, zero: { exp: 0 }, huge: { exp: 1e300 }, 'long ago': { exp: 1 }, 'a list': { exp: [1] }, soon: { exp: 1e9 + 1 } })) {
  test(`a token whose exp is ${name} makes no loop`, async () => {
    let calls = 0;
    const bench = await new Bench({ token: () => { calls++; return tokenOf('4711', claims); } }).opened();
    await bench.run(1800);
    assert.ok(calls < 25, `${calls} tokens in half an hour`);
    bench.waitsAreSound();
  });
}
for (const token of ['none', 'a.b.c', `a.${btoa('null')}.c`, `a.${btoa('[]')}.c`, `a.${btoa('{"exp":1e999}')}.c`, '.'.repeat(100)]) {
  test(`${token.slice(0, 20)} is no JWT and makes no loop`, async () => {
    let calls = 0;
    const bench = await new Bench({ token: () => { calls++; return token; } }).opened();
    await bench.run(1800);
    assert.ok(calls < 3, `${calls} tokens in half an hour`);
    bench.waitsAreSound();
  });
}
test('a token that ends is renewed in time', async () => {
  let calls = 0;
  const bench = new Bench({ token: () => { calls++; return tokenOf('4711', { exp: bench.world.time / 1000 + 100 }); } });
  await bench.opened();
  await bench.run(1000);
  assert.ok(calls >= 11 && calls <= 16, `${calls}`);
});

// -- 4. Waits
const absurd = [1e18, 2 ** 31, -1, -1e18, 0, 1, 'soon', '7', null, {}, [], true, 1e-9];
for (const wait of absurd) {
  test(`a wait of ${JSON.stringify(wait)} neither fires at once nor stops the client for good`, async () => {
    const bench = new Bench();
    bench.heartbeat = wait;
    bench.room('r1', 1);
    await bench.opened();
    let sends = 0, busy = true;
    const { hear } = bench;
    bench.hear = (socket, frame) => {
      if (frame.Type !== 'message') return hear.call(bench, socket, frame);
      sends++;
      bench.world.at(1, () => bench.say(busy ? { Type: 'response', Success: false, Error: 'busy: later', Data: null, Sign: frame.Sign, RetryAfter: wait }
        : { Type: 'response', Success: true, Error: '', Data: messageOf(2, { Sign: frame.Sign }), Sign: frame.Sign, RoomID: 'r1', Seq: 2 }, socket));
    };
    const sent = bench.chat.send('r1', 'hello');
    await bench.run(300);
    assert.ok(sends >= 1 && sends < 330, `${sends} sends in five minutes`);
    busy = false;
    assert.equal((await settled(bench, sent, 800))?.Seq, 2);
    let asks = 0;
    bench.rest = () => { asks++; return { status: 503, retryAfter: wait, Error: { Code: 'unavailable', Message: '', RetryAfter: wait } }; };
    assert.equal((await settled(bench, bench.chat.request('GET', '/account'), 2000))?.code, 'unavailable');
    assert.equal(asks, 4);
    bench.waitsAreSound();
    // A page does not see pings: the heartbeat asks neither all the time nor never.
    assert.ok(bench.world.time > 0);
  });
}
test('the heartbeat asks at most each second and at least each five minutes', async () => {
  for (const beat of absurd) {
    const bench = new Bench();
    bench.heartbeat = beat;
    let pings = 0;
    const { hear } = bench;
    bench.hear = (socket, frame) => { pings += frame.Type === 'ping'; hear.call(bench, socket, frame); };
    await bench.opened();
    await bench.run(1200);
    assert.ok(pings >= 3 && pings <= 1300, `${beat}: ${pings} pings in twenty minutes`);
    bench.waitsAreSound();
  }
});
for (const option of [NaN, undefined, null, -1, Infinity, '30000', 'long']) {
  test(`an option of ${option} milliseconds aborts nothing at once`, async () => {
    const bench = new Bench({ requestWait: option === -1 ? undefined : option, answerWait: option });
    bench.room('r1', 1);
    await bench.opened();
    bench.waitsAreSound();
  });
}

// -- 5. Close codes, as docs/asyncapi.yaml has them
const back = { 1000: 40, 1001: 80, 1006: 40, 1009: 40, 1011: 40, 1012: 40, 1013: 40, 4001: 40, 4008: 40, 4999: 40, 1008: 11 };
for (const [code, most] of Object.entries(back)) {
  test(`after ${code} it connects again, but ever later`, async () => {
    const bench = new Bench({ token: () => tokenOf('4711') });
    const { welcome } = bench;
    bench.welcome = socket => { welcome.call(bench, socket); bench.cut(Number(code), '', socket); };
    bench.chat.connect();
    await bench.run(600);
    assert.ok(bench.sockets.length >= 5 && bench.sockets.length <= most, `${bench.sockets.length} connections in ten minutes`);
    bench.welcome = welcome;
    assert.ok(await bench.run(120, () => bench.chat.synced));
    bench.waitsAreSound();
  });
}
for (const [code, state] of [[1002, 'closed'], [1003, 'closed'], [1007, 'closed'], [4009, 'replaced']]) {
  test(`after ${code} it stays away until its host connects again`, async () => {
    const bench = await new Bench().opened();
    bench.cut(code);
    await bench.run(600);
    assert.deepEqual([bench.sockets.length, bench.chat.state], [1, state]);
    await bench.opened();
  });
}
test('after 4008 it connects at once, the first time', async () => {
  const bench = await new Bench().opened();
  bench.cut(4008, '5');
  await bench.run(0.3);
  assert.equal(bench.sockets.length, 2);
});
test('the delay of 1001 is taken from its reason, within bounds', async () => {
  for (const [reason, least, most] of [['retry in 7 s', 7, 9], ['99999999999999999999', 500, 800], ['', 1, 12], ['0', 1, 12], ['-3', 3, 5]]) {
    const bench = await new Bench().opened(), start = bench.world.time;
    bench.cut(1001, reason);
    await bench.run(1000, () => bench.sockets.length > 1);
    const took = (bench.world.time - start) / 1000;
    assert.ok(took >= least && took <= most, `${reason}: ${took} s`);
    bench.waitsAreSound();
  }
});
test('a token that is a text is tried once a minute after 4001', async () => {
  const bench = new Bench();
  bench.rest = () => ({ status: 401, Error: { Code: 'unauthorized', Message: '' } });
  bench.chat.connect();
  await bench.run(600);
  assert.ok(bench.requests.length >= 5 && bench.requests.length <= 11, `${bench.requests.length}`);
});
test('after 4001 the host is asked for a fresh token', async () => {
  const asked = [], bench = await new Bench({ token: fresh => { asked.push(fresh); return tokenOf('4711'); } }).opened();
  bench.cut(4001);
  await bench.run(30, () => bench.sockets.length > 1);
  assert.deepEqual(asked, [false, true]);
});
test('after 1009 the longest message is refused, and the others are sent', async () => {
  const bench = new Bench();
  bench.room('r1', 1);
  bench.room('r2', 1);
  await bench.opened();
  const { hear } = bench;
  bench.hear = (socket, frame) => {
    if (frame.Type !== 'message') return hear.call(bench, socket, frame);
    bench.world.at(frame.Content.length > 9 ? 5 : 50, () => frame.Content.length > 9 ? bench.cut(1009, '', socket)
      : bench.say({ Type: 'response', Success: true, Error: '', Data: messageOf(2, { RoomID: 'r2', Content: frame.Content, Sign: frame.Sign }), Sign: frame.Sign, RoomID: 'r2', Seq: 2 }, socket));
  };
  const long = bench.chat.send('r1', 'x'.repeat(70000)), short = bench.chat.send('r2', 'short');
  assert.equal((await settled(bench, long)).code, 'too_large');
  assert.equal((await settled(bench, short)).Content, 'short');
  assert.equal(bench.chat.pending('r1')[0].error.code, 'too_large');
});
test('no frame that resumes rooms is longer than the server takes', async () => {
  for (const MaxFrame of [undefined, 65536, 4096]) {
    const bench = new Bench();
    bench.limits = { MaxFrame };
    for (let at = 0; at < 1500; at++) bench.room(`01a20e07-31aa-7c55-9d3e-${String(at).padStart(12, '0')}`, 123456789 % (at + 1), { messages: [] });
    for (const room of bench.rooms.values()) { room.info.LastSeq = 123456789; room.messages = []; }
    await bench.opened();
    const frames = [], { hear } = bench;
    bench.hear = (socket, frame, text) => { if (frame.Type === 'resume') frames.push([text.length, frame.Rooms.length]); hear.call(bench, socket, frame); };
    bench.cut(1006);
    await bench.run(30, () => bench.chat.synced);
    assert.equal(frames.reduce((sum, [, rooms]) => sum + rooms, 0), 1500);
    assert.ok(frames.every(([length]) => length <= (MaxFrame ?? 65536)), `${frames[0]}`);
  }
});

// -- 6. Lists
for (const [name, next] of Object.entries({ 'no Next': undefined, 'the same Next for ever': 'again', 'an endless Next': 'count' })) {
  test(`lists with ${name} end, and lose nothing`, async () => {
    let pages = 0;
    const bench = new Bench(), { rest } = bench;
    bench.room('r1', 30);
    bench.room('r2', 3);
    bench.rest = async (...words) => {
      const answer = await rest.call(bench, ...words);
      if ('Next' in answer && answer.Next === null) { pages++; answer.Next = next === 'count' ? `${1e9 + pages}` : next; }
      return answer;
    };
    bench.chat.connect();
    assert.ok(await bench.run(300, () => bench.chat.synced), 'the list of rooms ends');
    assert.ok(pages <= 1100, `${pages} pages`);
    assert.deepEqual([...bench.chat.rooms.keys()].sort(), ['r1', 'r2']);
    const older = await settled(bench, bench.chat.loadOlder('r1'), 600);
    assert.equal(older, next !== undefined);
    assert.equal(bench.list.length, 30);
    if (older) assert.equal((await settled(bench, bench.chat.loadOlder('r1'))).code, 'malformed');
    pages = 0;
    assert.equal((await settled(bench, bench.chat.loadMembers('r1'), 600)).length % 2, 0);
    assert.ok(pages <= 2200, `${pages} pages`);
    bench.rooms.get('r1').messages.push(messageOf(31), messageOf(32));
    bench.rooms.get('r1').info.LastSeq = 32;
    bench.rooms.get('r1').info = { ...bench.rooms.get('r1').info };
    pages = 0;
    bench.tell(messageOf(32));
    await bench.run(300, () => bench.list.at(-1) === 32);
    assert.equal(bench.list.at(-1), 32);
    await bench.run(60);
    assert.ok(pages <= 3500, `${pages} pages`);
    if (next) assert.ok(bench.errors.some(error => /no end/.test(error.message)));
  });
}
test('a page of history that is empty or leads nowhere ends the load, not in a loop', async () => {
  for (const list of [[], [messageOf(5)], [messageOf(9)]]) {
    const bench = new Bench(), { rest } = bench;
    bench.room('r1', 60);
    await bench.opened();
    assert.equal(await settled(bench, bench.chat.loadOlder('r1')), true);
    assert.equal(bench.list[0], 11);
    bench.rest = (...words) => (/messages/.test(words[1]) ? { Data: list.map(one => ({ ...one, Seq: 11, ID: 'm11' })), Next: '11' } : rest.call(bench, ...words));
    bench.requests.length = 0;
    assert.equal((await settled(bench, bench.chat.loadOlder('r1'))).code, 'malformed');
    assert.equal(bench.requests.length, 1);
    bench.rest = rest;
    assert.equal(await settled(bench, bench.chat.loadOlder('r1')), false);
    assert.equal(bench.list.length, 60);
  }
});

// -- 7. Memory
test('messages of a room are bounded, and those dropped can be loaded again', async () => {
  const bench = new Bench({ most: 1000, keep: 100 }), room = bench.room('r1', 0);
  await bench.opened();
  await settled(bench, bench.chat.loadOlder('r1'));
  for (let seq = 1; seq <= 5000; seq++) {
    const message = messageOf(seq);
    room.messages.push(message);
    bench.tell(message);
    if (seq % 500 === 0) await bench.run(1);
  }
  const copy = bench.chat.rooms.get('r1');
  assert.deepEqual([bench.list.length, bench.list[0], copy.complete], [1000, 4001, false]);
  // Of the bound a page more is free again when new ones have come.
  bench.chat.rooms.get('r1').trim(500);
  assert.equal(await settled(bench, bench.chat.loadOlder('r1')), true);
  assert.deepEqual([bench.list.length, bench.list[0]], [550, 4451]);
  let pages = 0;
  while (await settled(bench, bench.chat.loadOlder('r1'))) assert.ok(++pages < 30);
  assert.equal(bench.list.length, 1000);
});
test('of many rooms those used longest ago keep only what the store keeps', async () => {
  const bench = new Bench({ most: 100, keep: 10, history: 100 });
  for (let at = 0; at < 12; at++) bench.room(`r${at}`, 100, {});
  for (const [id, room] of bench.rooms) room.messages = room.messages.map(message => ({ ...message, ID: `${id}-${message.Seq}` }));
  await bench.opened();
  for (const id of bench.rooms.keys()) await settled(bench, bench.chat.loadOlder(id));
  await bench.run(2);
  const sizes = [...bench.chat.rooms.values()].map(room => room.messages.size);
  assert.deepEqual(sizes, [...Array(7).fill(10), ...Array(5).fill(100)]);
  // Used again, it is loaded again.
  assert.equal(await settled(bench, bench.chat.loadOlder('r0')), false);
  assert.equal(bench.chat.rooms.get('r0').messages.size, 100);
});
test('descriptions, presence and typing of any number of users are bounded', async () => {
  const bench = new Bench();
  bench.room('r1', 0);
  await bench.opened();
  await settled(bench, bench.chat.loadOlder('r1'));
  for (let seq = 1; seq <= 6000; seq++) {
    const user = `user${seq}`;
    bench.tell(messageOf(seq, { SenderID: user, Sender: profile(user, `Name ${seq}`) }));
    bench.say({ Type: 'presence', Success: true, Error: '', Data: { UserID: user, Online: true, LastSeenAt: null } });
    bench.say({ Type: 'typing', Success: true, Error: '', Data: { RoomID: 'r1', UserID: user }, RoomID: 'r1' });
    // Heard of again and again, one stays.
    bench.say({ Type: 'user_updated', Success: true, Error: '', Data: profile('eve', 'Eve'), RoomID: 'r1' });
  }
  const { profiles, presence, rooms } = bench.chat;
  assert.deepEqual([profiles.size, presence.size, rooms.get('r1').typing.size], [5000, 5000, 100]);
  assert.ok(profiles.has('eve') && profiles.has('user6000') && !profiles.has('user1'));
  const drafts = { Type: 'response', Success: true, Error: '', RoomID: 'r1' };
  for (let at = 0; at < 3000; at++) bench.say({ ...drafts, Sign: `s${at}`, Data: messageOf(null, { ID: `d${at}`, ChangeSeq: null, Status: 'uploading' }) });
  assert.equal(rooms.get('r1').drafts.size, 1000);
});

// -- 8. Frames
const broken = ['null', '7', '"text"', '[]', '[{"Type":"new_message"}]', '{}', '{"Type":7}', '{"Type":"new_message"}', '{"Type":"new_message","RoomID":"r1","Seq":6}', '{"Type":"new_message","RoomID":"r1","Seq":6,"Data":null}',
  '{"Type":"new_message","RoomID":"r1","Seq":6,"Data":{"ID":"m6"}}', '{"Type":"new_message","RoomID":"r1","Seq":"6","Data":{}}', '{"Type":"new_message","RoomID":"r1","Seq":1.5,"Data":{}}', '{"Type":"new_message","RoomID":7,"Seq":6,"Data":{}}',
  '{"Type":"message_updated","RoomID":"r1","Seq":6,"Data":[]}', '{"Type":"seen","RoomID":"r1","Seq":6,"Data":{"UserID":"bob"}}', '{"Type":"room_updated","RoomID":"r1","Seq":6,"Data":null}', '{"Type":"room_updated","RoomID":"r1","Seq":6,"Data":{"Change":"joined","Member":7}}',
  '{"Type":"room_updated","RoomID":"r1","Seq":6,"Data":{"Change":"changed","Room":{"LastMessage":{}}}}',
  '{"Type":"typing"}', '{"Type":"presence","Data":null}', '{"Type":"user_updated","Data":{"Name":"x"}}', '{"Type":"resync","RoomID":"r1"}', '{"Type":"welcome"}', '{"Type":"welcome","Data":{"UserID":"ann","Heartbeat":30}}', '{"Type":"response","Success":true,"Sign":"u1","Data":7}',
  '{"Type":"response","Success":true,"RoomID":"r1","Seq":1e300,"Data":{}}', 'no JSON', '', '{"Type":"new_mess', '\u0000'];
test('a frame of a kind that is not known yet takes its place in the order', async () => {
  for (const Type of ['constructor', '__proto__', 'poll_closed']) {
    const bench = new Bench();
    bench.room('r1', 5);
    await bench.opened();
    bench.say({ Type, RoomID: 'r1', Seq: 6, Data: null });
    assert.deepEqual([bench.chat.rooms.get('r1').seq, bench.chat.stats.malformed], [6, 0]);
  }
});
for (const text of broken) {
  test(`${text.slice(0, 90)} ends nothing: it is told, counted, and the room arrives at the truth`, async () => {
    const bench = new Bench(), room = bench.room('r1', 5);
    await bench.opened();
    await settled(bench, bench.chat.loadOlder('r1'));
    bench.say(text);
    assert.equal(bench.chat.stats.malformed, 1);
    assert.equal(bench.errors.at(-1).code, 'malformed');
    for (const seq of [6, 7]) room.messages.push(messageOf(seq));
    room.info = { ...room.info, LastSeq: 7 };
    bench.tell(messageOf(7));
    await bench.run(30);
    assert.deepEqual([bench.list.at(-1), bench.list.length, bench.sockets.length], [7, 7, 1]);
  });
}
test('a connection of which nothing can be used is given up, ever later', async () => {
  const bench = await new Bench().opened(), { welcome } = bench;
  bench.welcome = socket => { welcome.call(bench, socket); for (let at = 0; at < 1000; at++) bench.say('null', socket); };
  bench.cut(1006);
  await bench.run(300);
  assert.ok(bench.sockets.length > 3 && bench.sockets.length < 40, `${bench.sockets.length} connections`);
  bench.welcome = welcome;
  assert.ok(await bench.run(60, () => bench.chat.synced));
});
test('a second welcome, and frames before the first, start nothing', async () => {
  const bench = new Bench();
  bench.room('r1', 5);
  bench.greets = false;
  bench.chat.connect();
  await bench.run(1);
  bench.tell(messageOf(6));
  assert.equal(bench.chat.rooms.size, 0);
  bench.welcome();
  await bench.run(5);
  bench.requests.length = 0;
  for (let at = 0; at < 10; at++) bench.welcome();
  await bench.run(5);
  assert.deepEqual([bench.requests.length, bench.chat.stats.connects], [0, 1]);
});
for (const entry of [null, 7, 'text', [], {}, { ID: 'm9', Seq: 9 }, { ...messageOf(9), Seq: 'x' }, { ...messageOf(9), Seq: 1e300 }, { ...messageOf(9), ID: '../x' }]) {
  test(`an entry of a list that is ${JSON.stringify(entry).slice(0, 40)} is passed over, and told`, async () => {
    const bench = new Bench(), { rest } = bench;
    bench.room('r1', 5);
    bench.rest = async (...words) => { const answer = await rest.call(bench, ...words); if (Array.isArray(answer.Data)) answer.Data = [entry, ...answer.Data, entry]; return answer; };
    await bench.opened();
    await settled(bench, bench.chat.loadOlder('r1'));
    assert.deepEqual(bench.list, [1, 2, 3, 4, 5]);
    assert.ok(bench.errors.length && bench.errors.every(error => error.code === 'malformed'));
  });
}
for (const text of ['', 'null', '7', '[]', '{}', 'not JSON', '{"Data":null}', '{"Data":7}', '{"Data":{"ID":"r1","LastSeq":"x"}}', '{"Data":[{"ID":"r1"}],"Next":7}', '<html>']) {
  test(`a service that answers every request with ${JSON.stringify(text)} makes no loop, and is forgotten when it answers again`, async () => {
    const bench = new Bench(), { rest } = bench;
    bench.room('r1', 5);
    bench.rest = (method, path) => (path === '/ws-ticket' ? { Data: { Ticket: 't' } } : text);
    bench.chat.connect();
    await bench.run(300);
    assert.ok(bench.requests.length < 300, `${bench.requests.length} requests in five minutes`);
    bench.rest = rest;
    await bench.run(120, () => bench.chat.synced && bench.chat.rooms.get('r1')?.info);
    assert.equal(await settled(bench, bench.chat.loadOlder('r1')), false);
    assert.deepEqual(bench.list, [1, 2, 3, 4, 5]);
  });
}
test('a store with broken entries loses only these', async () => {
  const store = new MemoryStore(), own = { Of: '4711', Me: 'ann' };
  for (const [key, value] of Object.entries({ me: 'ann', 'room:null': null, 'room:text': 'x', 'room:empty': own, 'room:odd': { ...own, ID: 'odd', messages: [null], members: [], marks: [] }, 'send:empty': own, 'send:null': null, 'file:empty': own, 7: 7,
    'send:s1': { ...own, Sign: 's1', lane: 'r1', frame: { Type: 'message', RoomID: 'r1', Content: 'kept' }, At: 1, error: null } })) await store.set(key, value);
  const bench = new Bench({ store, token: tokenOf('4711') });
  bench.room('r1', 1);
  const sent = [], { hear } = bench;
  bench.hear = (socket, frame, text) => { if (frame.Type === 'message') sent.push(frame.Content); hear.call(bench, socket, frame, text); };
  await bench.opened();
  assert.deepEqual(sent, ['kept']);
});
test('a store that hangs, throws or rejects stops no message', async () => {
  for (const bad of [() => new Promise(() => {}), () => { throw new Error('full'); }, () => Promise.reject(new Error('full'))]) {
    const bench = new Bench({ store: { all: async () => [], set: bad, delete: bad, clear: bad } }), sent = [];
    bench.room('r1', 1);
    await bench.opened();
    bench.hear = (socket, frame) => { if (frame.Type === 'message') sent.push(frame.Content); };
    bench.chat.send('r1', 'hello');
    await bench.run(90);
    assert.ok(sent.includes('hello') && bench.errors.length);
  }
});
test('what is asked over the socket and never answered fails', async () => {
  const bench = await new Bench().opened();
  assert.equal((await settled(bench, bench.chat.ask({ Type: 'nothing' }))).code, 'timeout');
  const refused = bench.chat.ask({ Type: 'seen', RoomID: 'r9' });
  bench.say({ Type: 'response', Success: false, Error: 'not_a_member: no', Data: null, Sign: `u${bench.world.tickets - 1}` });
  assert.equal((await settled(bench, refused)).code, 'not_a_member');
});
test('members that cannot be loaded are an error, not a wait without end', async () => {
  const bench = new Bench();
  bench.room('r1', 1);
  await bench.opened();
  bench.rooms.delete('r1');
  assert.equal((await settled(bench, bench.chat.loadMembers('r1'))).code, 'closed');
});
test('a service that never says that a file is complete is not sent its chunks without end', async () => {
  const bench = new Bench(), { rest } = bench;
  let chunks = 0;
  bench.room('r1', 1);
  bench.rest = (...words) => {
    if (!words[1].startsWith('/files/')) return rest.call(bench, ...words);
    chunks += words[0] === 'POST';
    return { Data: { Completed: false, TotalChunk: 1, Received: [1] } };
  };
  bench.hear = (socket, { Type, Sign }) => Type === 'message' && bench.world.at(1, () => bench.say({ Type: 'response', Success: true, Error: '', Data: messageOf(null, { ID: 'f1', ChangeSeq: null, Status: 'uploading', Sign }), Sign }, socket));
  await bench.opened();
  const upload = bench.chat.sendFile('r1', new Blob(['hello']), { name: 'x' });
  await bench.run(300);
  assert.ok(chunks > 3 && chunks < 40, `${chunks} chunks in five minutes`);
  upload.cancel();
});

// -- 9. Addresses
test('an address with a slash at its end, and prefixes in any spelling, give one slash', async () => {
  for (const [options, api, socket] of [[{ url: 'http://x/' }, 'http://x/api/v1/ws-ticket', 'ws://x/ws/v1/chat?'], [{ url: ' http://x// ' }, 'http://x/api/v1/ws-ticket', 'ws://x/ws/v1/chat?'],
    [{ url: 'HTTPS://x/', prefix: '/chat/api/v1/', path: '/chat/ws/' }, 'HTTPS://x/chat/api/v1/ws-ticket', 'wss://x/chat/ws?'], [{ url: 'http://x/y/', prefix: 'api', path: 'ws' }, 'http://x/y/api/ws-ticket', 'ws://x/y/ws?']]) {
    const bench = new Bench(options);
    bench.rest = (method, path) => (path.endsWith('ws-ticket') ? { Data: { Ticket: 't' } } : { Data: [], Next: null });
    await bench.opened();
    assert.equal(bench.requests[0].address, api);
    assert.ok(bench.sockets[0].address.toLowerCase().startsWith(socket), bench.sockets[0].address);
    assert.ok(!bench.chat.fileURL(messageOf(1)).slice(8).includes('//'));
  }
});

// -- 10. The terminal
const evil = '\u001b]0;owned\u0007\u001b[31m\u009b2J\u202etxet\u2066\u007f\r\u0000\u2028';
const controls = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;
const program = process.env.CHAT_MODULE ? new URL('cli.mjs', process.env.CHAT_MODULE).pathname : new URL('../cli.mjs', import.meta.url).pathname;
const said = (address, ...words) => new Promise(done => {
  const child = spawn(process.execPath, ['--experimental-websocket', '--no-warnings', program, ...words], { env: { ...process.env, CHAT_URL: address, CHAT_TOKEN: 't' }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', errors = '';
  child.stdout.on('data', data => { out += data; });
  child.stderr.on('data', data => { errors += data; });
  child.on('close', code => done({ out, errors, code }));
});
const service = async answer => {
  const server = createServer((request, response) => { const [status, body] = answer(request); response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body)); });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  return { address: `http://127.0.0.1:${server.address().port}/`, end: () => new Promise(done => { server.closeAllConnections(); server.close(done); }) };
};
test('nothing that a server says controls the terminal', async () => {
  const room = { ID: `r${evil}`, Type: evil, Name: evil, Unread: evil, LastMessage: messageOf(1, { Content: evil, File: { Name: evil, Size: evil } }) };
  const { address, end } = await service(({ url }) => (url.includes('limit') ? [200, { Data: [room, null, 7], Next: null }] : url.includes('messages') ? [201, { Data: { ID: evil } }] : [404, { Error: { Code: evil, Message: evil } }]));
  try {
    const heard = [await said(address, 'rooms'), await said(address, 'rooms', '--json'), await said(address, 'send', 'r1', 'x'), await said(address, 'send', 'r1', 'x', '--json'), await said(address, 'tail', 'r1'), await said(address, evil.replaceAll('\u0000', ''))];
    for (const { out, errors } of heard) assert.ok(!controls.test(out.replace(/\n$/, '')) && !controls.test(errors), JSON.stringify(out + errors));
    assert.deepEqual(heard.map(one => one.code), [0, 0, 0, 0, 1, 2]);
    assert.equal(JSON.parse(heard[1].out.split('\n')[0]).Name, evil);
    assert.match(heard[0].out, /\\u001b\[31m\\u009b2J\\u202etxet/);
  } finally { await end(); }
});
test('a list of rooms without an end ends', async () => {
  for (const Next of ['again', undefined]) {
    const { address, end } = await service(() => [200, { Data: [{ ID: 'r1', Type: 'GROUP', Name: 'one' }], Next }]);
    try {
      const { out, code } = await said(address, 'rooms');
      assert.deepEqual([out.split('\n').length - 1, code], Next ? [2, 1] : [1, 0]);
    } finally { await end(); }
  }
});

// -- 11. Another user
const shown = bench => JSON.stringify([[...bench.chat.rooms.keys()], [...bench.chat.profiles.keys()], bench.chat.queue.map(item => item.frame.Content), bench.chat.me]);
/** What Ann leaves behind: a room, names, and a message that was not sent. */
async function left(store, options) {
  const bench = new Bench({ store, ...options });
  bench.room('r1', 3).messages.forEach(message => { message.Sender = profile('bob', 'Bob'); });
  await bench.opened();
  await settled(bench, bench.chat.loadOlder('r1'));
  bench.chat.send('r1', 'of ann').catch(() => {});
  await settled(bench, bench.chat.close());
  assert.equal(shown(bench), '[["r1"],["bob"],["of ann"],"ann"]');
  return bench;
}
const kinds = { 'a token': sub => ({ token: tokenOf(sub) }), 'a function': sub => ({ token: async () => tokenOf(sub) }), 'a ticket': () => ({ token: undefined, ticket: async () => 't' }), 'the host\'s own name': sub => ({ user: sub, token: undefined, ticket: async () => 't' }), 'a token that is no JWT': () => ({ token: 'opaque' }) };
for (const [name, options] of Object.entries(kinds)) {
  test(`the store of one user is never shown to another, who comes with ${name}`, async () => {
    const store = new MemoryStore();
    await left(store, options('1'));
    const bench = new Bench({ store, ...options('2') }), seen = new Set(), sent = [];
    for (const event of ['rooms', 'room', 'queue', 'state', 'synced', 'profile']) bench.chat.on(event, () => seen.add(shown(bench)));
    bench.me = 'carl';
    bench.hear = (socket, frame, text) => { if (frame.Type === 'message') sent.push(text); Bench.prototype.hear.call(bench, socket, frame); };
    await settled(bench, bench.chat.open());
    await bench.opened();
    await bench.run(60);
    assert.ok([...seen].every(text => !/r1|bob|ann/.test(text)), [...seen].join(' '));
    assert.deepEqual(sent, []);
    assert.ok(!/of ann|"r1"|text 1/.test(JSON.stringify(await store.all())), 'it is deleted');
  });
  test(`the store of a user is shown again to the same, who comes with ${name}`, async () => {
    const store = new MemoryStore();
    await left(store, options('1'));
    const bench = new Bench({ store, ...options('1') }), sent = [];
    bench.room('r1', 3);
    bench.hear = (socket, frame) => { if (frame.Type === 'message') sent.push(frame.Content); Bench.prototype.hear.call(bench, socket, frame); };
    await settled(bench, bench.chat.open());
    // Where nothing says who it is, the first frame does.
    assert.equal(shown(bench), /ticket|no JWT/.test(name) ? '[[],[],[],null]' : '[["r1"],["bob"],["of ann"],"ann"]');
    await bench.opened();
    assert.equal(shown(bench), '[["r1"],["bob"],["of ann"],"ann"]');
    assert.deepEqual([sent, bench.list], [['of ann'], [1, 2, 3]]);
  });
}
test('when the token is suddenly another user\'s, everything of the one before is gone at once', async () => {
  let sub = '1';
  const store = new MemoryStore(), token = () => tokenOf(sub, { exp: bench.world.time / 1000 + 100 });
  await left(store, { token: tokenOf('1') });
  const bench = new Bench({ store, token }), { chat } = bench, seen = [];
  bench.room('r1', 3);
  await bench.opened();
  assert.equal(shown(bench), '[["r1"],["bob"],["of ann"],"ann"]');
  const waits = chat.send('r1', 'also of ann'), slow = chat.loadOlder('r1').catch(() => {});
  for (const event of ['rooms', 'room', 'queue', 'profile']) chat.on(event, () => seen.push(shown(bench)));
  sub = '2';
  bench.me = 'carl';
  bench.rooms.clear();
  bench.room('r2', 1);
  const later = settled(bench, waits, 600);
  assert.equal((await later).code, 'other_user');
  await bench.run(120, () => chat.synced);
  await slow;
  assert.equal(shown(bench), '[["r2"],[],[],"carl"]');
  assert.ok(seen.every(text => !/r1|bob/.test(text)), seen.join(' '));
  await settled(bench, chat.flush());
  assert.ok(!/ann|r1/.test(JSON.stringify(await store.all())));
});
test('a client that ends late cannot bring its user\'s rooms back', async () => {
  const store = new MemoryStore(), ann = await left(store, { token: tokenOf('1') });
  const bench = new Bench({ store, token: tokenOf('2') });
  bench.me = 'carl';
  await bench.opened();
  for (const room of ann.chat.rooms.values()) await store.set(`room:${room.ID}`, { ...room.snapshot(20), Of: '1', Me: 'ann' });
  const again = new Bench({ store, token: tokenOf('2') });
  again.me = 'carl';
  await again.opened();
  assert.equal(shown(again), '[[],[],[],"carl"]');
});
test('the store of an older release is its user\'s', async () => {
  for (const [me, expected] of [['ann', ['r1']], ['carl', []]]) {
    const store = new MemoryStore();
    await left(store, {});
    for (const [key, value] of await store.all()) if (value.Of !== undefined) { delete value.Of; delete value.Me; await store.set(key, value); }
    const bench = new Bench({ store, token: tokenOf('1') });
    bench.me = me;
    bench.room('r1', 3);
    await settled(bench, bench.chat.open());
    assert.equal(bench.chat.rooms.size, 0);
    if (me === 'carl') bench.rooms.clear();
    await bench.opened();
    assert.deepEqual([...bench.chat.rooms.keys()], expected);
    assert.deepEqual(bench.chat.queue.map(item => item.frame.Content), me === 'ann' ? ['of ann'] : []);
  }
});
test('clear() leaves nothing, and what waits fails', async () => {
  const store = new MemoryStore(), bench = await left(store, {});
  await bench.opened();
  const waits = bench.chat.send('r1', 'waits'), cleared = bench.chat.clear();
  assert.equal((await settled(bench, waits)).code, 'other_user');
  await cleared;
  await bench.run(10);
  assert.ok(!/ann|text/.test(JSON.stringify((await store.all()).filter(([key]) => key !== 'me'))));
});

// -- 12. Names
test('a page that was asked for before a user was renamed does not bring the old name back', async () => {
  for (const what of ['older', 'catch up', 'members', 'rooms', 'frame']) {
    const bench = new Bench(), room = bench.room('r1', 3), heard = [];
    const named = name => { room.messages = room.messages.map(message => ({ ...message, Sender: profile('bob', name) })); room.members[1] = { ...room.members[1], ...profile('bob', name) }; room.info = { ...room.info, LastMessage: room.messages.at(-1) }; };
    named('Old');
    await bench.opened();
    if (what !== 'older') await settled(bench, bench.chat.loadOlder('r1'));
    if (what !== 'rooms' && what !== 'older') await settled(bench, bench.chat.loadMembers('r1'));
    bench.chat.on('profile', ({ Name }) => heard.push(Name));
    const { rest } = bench;
    // Read before the change, and a second on its way.
    bench.rest = async (...words) => ({ ...JSON.parse(JSON.stringify(await rest.call(bench, ...words))), wait: 1000 });
    if (what === 'older') bench.chat.loadOlder('r1');
    if (what === 'members') bench.chat.loadMembers('r1');
    if (what === 'catch up' || what === 'rooms') { room.messages.push(messageOf(4, { Sender: profile('bob', 'Old') }), messageOf(5, { Sender: profile('bob', 'Old') })); room.info = { ...room.info, LastSeq: 5, LastMessage: room.messages.at(-1) }; bench.tell(room.messages.at(-1)); }
    await bench.run(what === 'catch up' ? 2.5 : 0.5);
    bench.say({ Type: 'user_updated', Success: true, Error: '', Data: profile('bob', 'New'), RoomID: 'r1' });
    if (what === 'frame') bench.tell(messageOf(4, { Sender: profile('bob', 'Old') }));
    named('New');
    await bench.run(30);
    const copy = bench.chat.rooms.get('r1');
    assert.deepEqual([bench.chat.profiles.get('bob').Name, ...new Set(copy.list().map(message => message.Sender.Name))], ['New', 'New'], what);
    assert.equal(copy.info.LastMessage?.Sender.Name, 'New', what);
    if (copy.members.size) assert.equal(copy.members.get('bob').Name, 'New', what);
    assert.deepEqual(heard, ['New'], what);
    // Later, what the server says is newer again, without a frame.
    bench.rest = rest;
    await bench.run(30);
    bench.tell(messageOf(copy.seq + 1, { Sender: profile('bob', 'Newer') }));
    assert.equal(bench.chat.profiles.get('bob').Name, 'Newer', what);
  }
});

// -- 13. Push: a browser's parts in short
async function browser(found) {
  let subscription = { endpoint: 'https://push/1', options: { applicationServerKey: new Uint8Array(3).buffer }, toJSON: () => ({ endpoint: 'https://push/1', keys: { p256dh: 'a', auth: 'b' } }), async unsubscribe() { subscription = null; } };
  const registration = { active: {}, scope: '/', pushManager: { getSubscription: async () => subscription, subscribe: async () => subscription } };
  const parts = { Notification: { permission: 'granted', requestPermission: async () => 'granted' }, PushManager: {}, location: { href: 'http://x/' },
    navigator: { userAgent: '', serviceWorker: { register: async () => registration, getRegistration: async () => registration } } };
  const before = Object.keys(parts).map(name => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(parts)) Object.defineProperty(globalThis, name, { value, configurable: true });
  try { await found(() => subscription); } finally {
    for (const [name, value] of before) if (value) Object.defineProperty(globalThis, name, value); else delete globalThis[name];
  }
}
const { subscribePush, renewPush, pushState } = await import(process.env.CHAT_MODULE ? new URL('push.js', process.env.CHAT_MODULE).href : '../push.js');
test('notifications of a user who left without ending them are ended for the next one', () => browser(async subscription => {
  const store = new MemoryStore(), posted = [];
  const start = async me => {
    const bench = new Bench({ store, token: tokenOf(me) }), { rest } = bench;
    bench.me = me;
    bench.rest = (...words) => {
      if (words[1] === '/account') return { Data: { UserID: me } };
      if (words[1] !== '/devices') return rest.call(bench, ...words);
      if (words[0] === 'POST') posted.push(me);
      return { Data: { Device: 'webpush-1', Kind: 'webpush', Devices: [], Kinds: ['webpush'], VAPIDPublicKey: 'AAAA' } };
    };
    return bench.opened();
  };
  const ann = await start('ann');
  assert.equal(await settled(ann, subscribePush(ann.chat)), 'webpush-1');
  await settled(ann, ann.chat.close());
  const again = await start('ann');
  assert.equal(await settled(again, renewPush(again.chat)), 'webpush-1');
  const carl = await start('carl');
  await carl.run(5);
  assert.equal(await settled(carl, renewPush(carl.chat)), null);
  assert.deepEqual([subscription(), posted, (await store.all()).filter(([key]) => key === 'push')], [null, ['ann', 'ann'], []]);
}));
test('whatever the service says of devices, a push is refused with a code', () => browser(async () => {
  for (const text of ['null', '{"Data":null}', '{"Data":7}', '{"Data":{"Kinds":7,"VAPIDPublicKey":"x"}}', '{"Data":{"Kinds":["webpush"],"VAPIDPublicKey":"\u0000!"}}', '{"Data":{"Kinds":["webpush"],"VAPIDPublicKey":{}}}'].slice(1)) {
    const bench = new Bench();
    bench.rest = () => text;
    assert.match(`${(await settled(bench, subscribePush(bench.chat), 300))?.code}`, /^(push_off|push_refused|malformed)$/);
    assert.match(`${await settled(bench, pushState(bench.chat), 300)}`, /^(off|ready)$|malformed|ChatError/);
  }
}));
