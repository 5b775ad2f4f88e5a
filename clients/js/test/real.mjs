// Two users of a real server send messages while every program is restarted: URL, ANN, BOB (tokens), ROOM, COUNT; `node --experimental-websocket real.mjs`.
// Prints `half` half-way, and at the end the server's state and the clients' states.
import { Chat, MemoryStore } from '../chat.js';

const { URL: url, ANN, BOB, ROOM, COUNT = '300', PAUSE = '25' } = process.env, rest = wait => new Promise(done => setTimeout(done, wait));
const stores = [new MemoryStore(), new MemoryStore()], total = { missed: 0, doubled: 0, connects: 0, moves: 0, resent: 0, resyncs: 0 };
const start = at => new Chat({ url, token: [ANN, BOB][at], store: stores[at], answerWait: 5000, chunkSize: 5 << 20 });
const chats = [start(0), start(1)], told = [], failed = [];
const until = async (what, test) => {
  for (let tries = 0; !test(); tries++) { if (tries > 600) throw new Error(`still not: ${what}: ${JSON.stringify(chats.map(chat => [chat.state, chat.synced, chat.stats, chat.queue.slice(0, 3)]))} ${JSON.stringify(failed)}`); await rest(100); }
};
const count = chat => { for (const key of Object.keys(total)) total[key] += chat.stats[key]; };

await Promise.all(chats.map(chat => chat.connect()));
await until('open', () => chats.every(chat => chat.synced));
await Promise.all(chats.map(chat => chat.loadOlder(ROOM)));
await Promise.all(chats.map(chat => chat.loadMembers(ROOM)));
const file = chats[0].sendFile(ROOM, new Blob([new Uint8Array(11 << 20).fill(65)], { type: 'text/plain' }), { name: 'long.txt' });
for (let number = 0; number < Number(COUNT); number++) {
  const at = number % 2, chat = chats[at];
  told.push(`${number}`);
  chat.send(ROOM, `${number}`).catch(error => failed.push([number, error.code, error.message]));
  if (number % 20 === 7) chat.seen(ROOM);
  const mine = chat.rooms.get(ROOM).list().filter(message => message.SenderID === chat.me && message.ContentType === 'text').at(-1);
  if (number % 30 === 11 && mine?.Seq) chat.react(mine, '👍').catch(() => {});
  if (number === Number(COUNT) >> 1) {
    console.log('half');
    // A reload of the page, with the messages not sent yet.
    await chats[1].flush();
    const left = chats[1];
    count(left);
    chats[1] = start(1);
    await chats[1].open();
    left.close();
    await chats[1].connect();
  }
  await rest(Number(PAUSE));
}
console.log('said');
await new Promise(done => process.stdin.once('data', done));
await until('all said', () => chats.every(chat => !chat.queue.length && chat.state === 'open' && chat.synced));
await Promise.race([file.done, rest(90000).then(() => { throw new Error(`the file is ${file.state}: ${file.error}`); })]);
const server = [];
for (let after = 0; after !== null;) {
  const page = await chats[0].request('GET', `/rooms/${ROOM}/messages`, { query: { after, limit: 100 }, whole: true });
  server.push(...page.Data);
  after = page.Next && page.Data.at(-1).Seq;
}
const info = await chats[0].request('GET', `/rooms/${ROOM}`);
await until('caught up', () => chats.every(chat => chat.rooms.get(ROOM).seq >= info.LastSeq));
for (const chat of chats) while (await chat.loadOlder(ROOM));
// The order of an object's fields does not matter.
const plain = value => JSON.stringify(value, (_, part) => part && typeof part === 'object' && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort()) : part);
const differ = chat => { const own = chat.rooms.get(ROOM).list(); return server.map((message, at) => [plain(message), plain(own[at])]).find(([one, other]) => one !== other) ?? own.length - server.length; };
const texts = server.filter(message => message.ContentType === 'text').map(message => message.Content), same = list => JSON.stringify(list);
const members = await chats[0].request('GET', `/rooms/${ROOM}/members`), marks = list => same(list.map(member => [member.UserID, member.LastSeenSeq]).sort());
chats.forEach(count);
console.log(JSON.stringify({
  total, failed, stored: texts.length, distinct: new Set(texts).size, told: told.length, file: server.filter(message => message.File?.Name === 'long.txt').map(message => message.File.Size),
  ordered: [0, 1].every(at => { const own = texts.map(Number).filter(number => number % 2 === at); return same(own) === same([...own].sort((a, b) => a - b)); }),
  differ: chats.map(differ), marks: chats.map(chat => marks([...chat.rooms.get(ROOM).members.values()]) === marks(members)),
}));
await Promise.all(chats.map(chat => chat.close()));
process.exit(0);
