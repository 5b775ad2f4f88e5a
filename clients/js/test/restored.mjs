// One person's copy of a room, told for each line of standard input: URL, TOKEN, ROOM; `node --experimental-websocket restored.mjs`.
import { createInterface } from 'node:readline';
import { Chat } from '../chat.js';

const { URL: url, TOKEN, ROOM } = process.env;
const chat = new Chat({ url, token: TOKEN });
await chat.connect();
await new Promise(done => chat.synced ? done() : chat.on('synced', done));
while (await chat.loadOlder(ROOM));
for await (const _ of createInterface({ input: process.stdin })) {
  const room = chat.rooms.get(ROOM);
  console.log(JSON.stringify({ epoch: room?.epoch, seq: room?.seq, list: (room?.list() ?? []).map(({ ID, Seq, Content }) => [ID, Seq, Content]) }));
}
