// Names of users in the client: in messages, by frames, and after a time without a connection. URL, BOB (a token), ROOM; a line of the input goes on.
import { createInterface } from 'node:readline';
import { Chat, MemoryStore } from '../chat.js';

const { URL: url, BOB: token, ROOM } = process.env, store = new MemoryStore(), heard = [];
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = value => console.log(JSON.stringify(value));
const start = async () => {
  const chat = new Chat({ url, token, store });
  chat.on('profile', profile => heard.push(profile));
  await new Promise(done => { chat.on('synced', done); chat.connect(); });
  return chat;
};
/** Whenever the list of names is another one. */
const watch = (chat, user) => {
  let last = '';
  const tell = () => {
    const found = [chat.profiles.get(user)?.Name, ...chat.rooms.get(ROOM).list().map(message => message.Sender?.Name), chat.rooms.get(ROOM).members.get(user)?.Name];
    if (JSON.stringify(found) !== last) { last = JSON.stringify(found); say(found); }
  };
  chat.on('room', tell);
  tell();
};
let chat = await start();
await chat.loadOlder(ROOM);
await chat.loadMembers(ROOM);
const user = chat.rooms.get(ROOM).list()[0].SenderID;
watch(chat, user);
await lines.next();
await chat.close();
say('closed');
await lines.next();
chat = await start();
watch(chat, user);
await lines.next();
say(heard.filter(one => one.UserID === user).map(one => one.Name));
await chat.close();
process.exit(0);
