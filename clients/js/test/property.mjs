// Whatever the network and the server do, in the end the client's copy is the server's, and each message is stored once.
// node property.mjs [seeds] [first seed]
import assert from 'node:assert/strict';
import { World } from './world.mjs';

const { Chat } = await import(process.env.CHAT_MODULE ?? '../chat.js');

const seeds = Number(process.argv[2] ?? 1000), first = Number(process.argv[3] ?? 1), total = {}, started = Date.now();
let broken = 0;
process.on('uncaughtException', error => { console.error(error); process.exit(1); });

/** The state that survives a reload of the page: the values, not the objects. */
class Disk {
  kept = new Map();
  async all() { return [...this.kept].map(([key, value]) => [key, JSON.parse(value)]); }
  async set(key, value) { this.kept.set(key, JSON.stringify(value)); }
  async delete(key) { this.kept.delete(key); }
  async clear() { this.kept.clear(); }
}

async function play(seed) {
  const world = new World(seed), { random } = world, users = ['ann', 'bob', 'eve'], gentle = seed % 5 === 0, lossy = seed % 3 === 0 && !gentle;
  // Without faults a move is not noticed: nothing is missed, nothing comes twice, no connection ends.
  world.gentle = gentle;
  for (const id of ['r1', 'r2', 'r3']) world.room(id, users);
  const disks = new Map(), chats = new Map(), said = [], refused = new Set();
  const start = user => {
    chats.get(user)?.life && (chats.get(user).life.over = true);
    const options = world.options(user, disks.get(user)), chat = new Chat(options);
    chat.life = options.life;
    chats.set(user, chat);
    chat.ends = 0;
    chat.on('closed', () => chat.ends++);
    chat.connect();
    return chat;
  };
  for (const user of ['ann', 'bob']) { disks.set(user, new Disk()); start(user); }
  const pick = list => list[Math.floor(random() * list.length)];
  for (let step = 0; step < 60; step++) {
    await world.run(random() ** 3 * 6);
    const user = pick(['ann', 'bob']), chat = chats.get(user), room = pick([...world.rooms.values()]), copy = chat.rooms.get(room.ID), what = random();
    const message = copy?.list().at(-1 - Math.floor(random() * 4));
    if (what < 0.3) {
      const Content = `${user} ${step}`;
      chat.send(room.ID, Content).then(stored => assert.equal(stored.Content === '' || stored.Content.startsWith(`${user} ${step}`) || stored.Content.startsWith('edited'), true),
        () => refused.add(Content));
      said.push({ user, room: room.ID, Content });
    } else if (what < 0.45) world.do('eve', { Type: 'message', RoomID: room.ID, Content: `eve ${step}`, Sign: `e${step}` });
    else if (what < 0.53 && message?.ID) chat.edit(message, `edited ${step}`).catch(() => {});
    else if (what < 0.56 && message?.ID) chat.delete(message).catch(() => {});
    else if (what < 0.6 && message?.ID) chat.react(message, '👍').catch(() => {});
    else if (what < 0.66) { if (copy?.info) chat.seen(room.ID); }
    else if (what < 0.72) { if (copy) chat.loadOlder(room.ID).catch(() => {}); }
    else if (what < 0.75) { if (copy) chat.loadMembers(room.ID).catch(() => {}); }
    else if (what < 0.79) for (let times = 20; times; times--) world.do('eve', { Type: 'message', RoomID: room.ID, Content: 'many', Sign: `x${step}-${times}` });
    else if (what < 0.82) { const old = pick(room.messages); if (old) world.do('eve', { Type: 'edit', MessageID: old.ID, Content: `edited by eve ${step}` }); }
    else if (what < 0.84 || (gentle && what < 0.93)) { world.note('move'); for (const socket of [...world.sockets]) if (random() < 0.7) socket.move(); }
    else if (what < 0.87) { world.note('reload'); await chat.flush(); start(user); }
    else if (what < 0.9) { world.note('restart'); for (const socket of [...world.sockets]) socket.cut(1001); }
    else if (what < 0.93 && random() < 0.5) (room.members.has('bob') ? world.leaves : world.joins).call(world, room, 'bob');
    else if (what < 0.96 && lossy) (random() < 0.5 ? world.backup : world.restore).call(world, room);
    else if (!gentle) { world.note('offline'); for (const socket of [...world.sockets]) if (socket.user === user) socket.cut(); }
  }
  world.calm = true;
  // A new message in every room: a lost last frame is detected by the next one.
  await world.run(100);
  for (const room of world.rooms.values()) world.do('eve', { Type: 'message', RoomID: room.ID, Content: 'last', Sign: `last ${room.ID}` });
  await world.run(60);
  for (const [user, chat] of chats) {
    if (gentle) assert.deepEqual([chat.ends, chat.stats.missed, chat.stats.doubled], [0, 0, 0], `${user}: ends, missed, doubled with ${chat.stats.moves} moves`);
    total.moved = (total.moved ?? 0) + chat.stats.moves;
    assert.equal(chat.state, 'open', `${user} is back`);
    assert.deepEqual(chat.queue.filter(item => !item.error), [], `${user}: everything is said`);
    const mine = [...world.rooms.values()].filter(room => room.members.has(user));
    assert.deepEqual([...chat.rooms.keys()].sort(), mine.map(room => room.ID).sort(), `${user}: the rooms`);
    for (const room of mine) {
      const copy = chat.rooms.get(room.ID), where = `${user} in ${room.ID}`;
      assert.equal(copy.seq, room.seq, `${where}: seq`);
      // The seen mark of a member who left is not sent to members who were offline: such a message may be shown as seen or not.
      const plain = list => list.map(message => ({ ...message, Status: room.wasLeft && message.Status === 'seen' ? 'sent' : message.Status }));
      assert.deepEqual(plain(copy.list()), copy.from === Infinity ? [] : plain(room.messages.filter(message => message.Seq >= copy.from).map(message => world.today(room, message))), `${where}: messages`);
      const { Unread, LastSeq, MemberCount, LastMessage } = world.view(room, user);
      assert.deepEqual([copy.unread, copy.info.LastSeq, copy.info.MemberCount, copy.lastMessage?.ID, copy.lastMessage?.Content],
        [Unread, LastSeq, MemberCount, LastMessage?.ID, LastMessage?.Content], `${where}: what a list shows`);
      if (copy.hasMembers) assert.deepEqual(copy.members, room.members, `${where}: members`);
    }
  }
  if (!lossy) {
    for (const { user, room, Content } of said) {
      const found = world.rooms.get(room).events.filter(event => event.Type === 'new_message' && event.sender === user && JSON.parse(event.frame).Data.Content === Content);
      assert.ok(found.length === 1 || (found.length === 0 && (refused.has(Content) || user === 'bob')), `${Content} is stored ${found.length} times`);
    }
    for (const room of world.rooms.values()) for (const user of users) {
      const numbers = room.events.filter(event => event.Type === 'new_message' && event.sender === user).map(event => JSON.parse(event.frame).Data.Content)
        .filter(content => /^(ann|bob) \d+$/.test(content)).map(content => Number(content.split(' ')[1]));
      assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b), `${user} in ${room.ID}: the order in which it was said`);
    }
  }
  for (const chat of chats.values()) chat.life.over = true;
  for (const [fault, times] of Object.entries(world.faults)) total[fault] = (total[fault] ?? 0) + times;
}

for (let seed = first; seed < first + seeds; seed++) {
  try { await play(seed); } catch (error) {
    console.error(`seed ${seed}: ${error.message.slice(0, 1500)}`);
    if (++broken >= 3) break;
  }
}
console.log(`${seeds} seeds, ${broken} broken, ${((Date.now() - started) / 1000).toFixed(1)} s`);
console.log(Object.entries(total).map(([fault, times]) => `${fault} ${times}`).join(', '));
process.exit(broken ? 1 : 0);
