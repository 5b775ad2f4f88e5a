// A complete client for one room, without clients/js: what every client must do, and nothing else.
// URL=… TOKEN=… ROOM=… node --experimental-websocket examples/client.mjs; each line of the input is said.
import { createInterface } from 'node:readline';

const { URL: url, TOKEN, ROOM } = process.env;
const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const messages = new Map();   // by ID; sorted by Seq they are the room
const unsaid = [];            // what the server has not answered yet, in its order
let socket = null, seq = null, epoch, catching = null, busy = false, fails = 0;

// REST: 429 and 503 say how long to wait; a lost connection is tried again, because GET may be repeated.
async function rest(method, path) {
  for (let tries = 0; ; tries++) {
    let pause = Math.min(10000, 300 * 2 ** tries) * Math.random();
    try {
      const answer = await fetch(`${url}/api/v1${path}`, { method, headers: { Authorization: `Bearer ${TOKEN}` }, signal: AbortSignal.timeout(30000) });
      const body = await answer.json();
      if (answer.ok) return body;
      if (answer.status < 500 && answer.status !== 429) throw Object.assign(new Error(body.Error.Message), { final: true });
      pause = body.Error.RetryAfter ?? 1000 * (answer.headers.get('Retry-After') ?? 1);
    } catch (error) { if (error.final) throw error; }
    await wait(pause);
  }
}

// The newest state of a message wins, whichever way it came.
function keep(message) {
  const had = messages.get(message.ID);
  if (message.Seq !== null && !((had?.ChangeSeq ?? -1) > message.ChangeSeq)) messages.set(message.ID, message);
}

// The room first, then what changed: everything up to the room's LastSeq is here afterwards. Frames wait meanwhile.
async function catchUp() {
  const early = catching = [];
  const room = (await rest('GET', `/rooms/${ROOM}`)).Data;
  if (seq !== null && (room.Epoch !== epoch || room.LastSeq < seq)) { messages.clear(); seq = null; }   // history was lost
  for (let since = seq ?? 0; since !== null;) {
    const page = await rest('GET', `/rooms/${ROOM}/messages?changed_since=${since}&limit=100`);
    page.Data.forEach(keep);
    since = page.Next;
  }
  if (catching !== early) return;                        // a newer catch-up runs
  [seq, epoch, catching] = [room.LastSeq, room.Epoch, null];
  early.forEach(frame);
}

// One frame of the room's order. My own message comes as `response`, in its place; a retry's answer has an old place.
function frame(it) {
  if (it.Type === 'response' && it.Sign === unsaid[0]?.Sign) answered(it);
  if (it.RoomID !== ROOM || typeof it.Seq !== 'number' || it.Success === false) return;
  if (it.Type === 'resync') return void catchUp();
  if (it.Data?.Content !== undefined) keep(it.Data);
  if (catching) catching.push(it);
  else if (it.Seq === seq + 1) seq++;
  else if (it.Seq > seq + 1 && it.Type !== 'response') { catchUp(); catching.push(it); }
}

function answered(it) {
  const code = it.Success ? null : it.Error.split(':')[0];
  if (['busy', 'unavailable', 'rate_limited', 'locked', 'internal'].includes(code)) {
    setTimeout(() => { busy = false; say(); }, it.RetryAfter ?? 1000);   // the same Sign: it is stored once
    return;
  }
  const { Sign, Content } = unsaid.shift();
  console.log(code ? `refused ${it.Error}` : `stored ${Sign} ${Content}`);
  busy = false;
  say();
}

function say() {
  if (busy || !unsaid.length || socket?.readyState !== 1 || !socket.welcomed) return;
  busy = true;
  socket.send(JSON.stringify({ Type: 'message', RoomID: ROOM, ContentType: 'text', MessageType: 'direct', ...unsaid[0] }));
}

async function connect() {
  const ticket = (await rest('POST', '/ws-ticket')).Data.Ticket;
  const mine = socket = new WebSocket(`${url.replace('http', 'ws')}/ws/v1/chat?ticket=${ticket}`, ['chat.json']);
  let heard = Date.now(), beat = setTimeout(() => mine.close(), 15000);
  mine.onmessage = event => {
    heard = Date.now();
    const it = JSON.parse(event.data);
    if (it.Type !== 'welcome') return frame(it);
    clearTimeout(beat);
    // At once: for a moment the relay holds the room's frames back and waits for this.
    if (seq === null) catchUp(); else mine.send(JSON.stringify({ Type: 'resume', Rooms: [{ RoomID: ROOM, Seq: seq, ...(epoch && { Epoch: epoch }) }] }));
    mine.welcomed = true;
    fails = 0;
    const period = it.Data.Heartbeat * 1000;
    beat = setInterval(() => Date.now() - heard > 2 * period ? mine.close() : mine.send('{"Type":"ping"}'), period);
    say();
  };
  mine.onclose = async ({ code, reason }) => {
    clearInterval(beat);
    busy = false;
    if ([1002, 1003, 1007, 4001, 4009].includes(code)) { console.log(`closed ${code}`); process.exit(1); }   // 4001: fetch a fresh token here
    const named = code === 1008 ? 60 : code === 1001 ? Number(/\d+/.exec(reason)?.[0] ?? 0) : 0;
    await wait(named ? named * 1000 : Math.min(30000, 300 * 2 ** fails++) * Math.random());
    connect();
  };
  mine.onerror = () => {};
}

connect();
for await (const line of createInterface({ input: process.stdin })) {
  if (line === '/list') console.log(JSON.stringify([...messages.values()].sort((a, b) => a.Seq - b.Seq).map(message => message.Content)));
  else { unsaid.push({ Sign: crypto.randomUUID(), Content: line }); say(); }
}
process.exit(0);
