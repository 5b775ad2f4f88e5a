#!/usr/bin/env -S node --experimental-websocket --no-warnings
// `chat`: the command-line client. It uses the same module as a page.
import { createWriteStream, mkdirSync, mkdtempSync, openAsBlob, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { Chat, MemoryStore } from './chat.js';

const HELP = `chat login URL              keep an address and a token, which is read from the input
chat logout                 forget both
chat rooms                  rooms: id, unread, name, last message
chat tail ROOM              the newest messages (-n 20), then every new one until Ctrl-C
chat send ROOM [TEXT …]     say it; without TEXT the input is said
chat file ROOM [PATH]       send a file; without PATH, or with -, the input (--name NAME, --type image/png)

--json prints JSON, one value a line. CHAT_URL and CHAT_TOKEN take the place of \`chat login\`.
Exit status: 0 done, 1 refused or failed, 2 a wrong command line.`;

const folder = join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'chat-client'), kept = join(folder, 'login.json');
/** Texts of others must not control the terminal: control characters, marks that turn the text after them and lone surrogates are shown as
 *  escapes, which are also those of JSON. All that is printed passes here. */
const plain = text => String(text ?? '').replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu, letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
const say = (text, stream = process.stdout) => stream.write(`${plain(text)}\n`);
const oneLine = text => String(text ?? '').replace(/[\n\t]/g, ' ');
class Usage extends Error {}

async function readInput() {
  const parts = [];
  for await (const part of process.stdin) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}
function login() {
  let known = {};
  try { known = JSON.parse(readFileSync(kept, 'utf8')); } catch { /* Nobody has logged in. */ }
  const url = process.env.CHAT_URL || known.URL, token = process.env.CHAT_TOKEN || known.Token;
  if (!url || !token) throw new Usage('nobody is logged in: chat login URL, or CHAT_URL and CHAT_TOKEN');
  return { url: url.replace(/\/+$/, ''), token };
}
const client = () => new Chat({ ...login(), store: new MemoryStore() });
const textOf = message => oneLine(message.Status === 'deleted' ? '(deleted)' : message.File ? `[${message.File.Name}, ${message.File.Size} bytes]` : message.Content);
const line = message => `${message.CreatedAt} ${oneLine(message.Sender?.Name || message.SenderID.slice(0, 8))} ${textOf(message)}${message.EditedAt ? ' (edited)' : ''}`;

const commands = {
  async login([address]) {
    if (!address || !/^https?:\/\//.test(address)) throw new Usage('chat login URL: give the address of the service, as https://chat.example');
    if (process.stdin.isTTY) process.stderr.write('Token: ');
    let token = '';
    if (process.stdin.isTTY) { for await (const part of process.stdin) { token = part.toString(); break; } } else token = await readInput();
    token = token.trim();
    const url = address.replace(/\/+$/, '');
    await new Chat({ url, token, store: new MemoryStore() }).request('GET', '/rooms', { query: { limit: 1 } });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    rmSync(kept, { force: true });
    writeFileSync(kept, JSON.stringify({ URL: url, Token: token }), { mode: 0o600, flag: 'wx' });
    say(`logged in at ${url}`);
    process.stdin.destroy();
  },
  async logout() { rmSync(kept, { force: true }); },
  async rooms(_, { json }) {
    const chat = client();
    const places = new Set();
    for (let cursor = null, first = true; first || cursor != null; first = false) {
      const page = await chat.request('GET', '/rooms', { query: { limit: 100, cursor }, whole: true, tries: 6 });
      if (!Array.isArray(page.Data)) throw new Error('the answer has no list of rooms');
      for (const room of page.Data) if (room?.ID) say(json ? JSON.stringify(room) : `${room.ID} ${room.Unread ?? '-'} ${oneLine(room.Name || room.Type)}${room.LastMessage ? `: ${textOf(room.LastMessage)}` : ''}`);
      cursor = page.Next;
      if (places.has(cursor) || places.size > 1000) throw new Error('the list of rooms has no end');
      places.add(cursor);
    }
  },
  async tail([id], { json, n }) {
    if (!id) throw new Usage('chat tail ROOM');
    const count = Number(n ?? 20), chat = client(), shown = new Map();
    if (!Number.isInteger(count) || count < 0 || count > 100) throw new Usage('-n takes a number from 0 to 100');
    // An unknown room is an error here, not an empty one.
    await chat.request('GET', `/rooms/${id}`, { tries: 6 });
    const tell = message => {
      if (message.Seq == null || (shown.get(message.ID) ?? -1) >= (message.ChangeSeq ?? 0)) return;
      shown.delete(message.ID);
      shown.set(message.ID, message.ChangeSeq ?? 0);
      // More than the client keeps in memory.
      if (shown.size > 20000) shown.delete(shown.keys().next().value);
      say(json ? JSON.stringify(message) : line(message));
    };
    chat.on('state', state => { if (state !== 'open') say(`chat: ${state}`, process.stderr); });
    chat.on('error', error => say(`chat: ${error.message}`, process.stderr));
    await new Promise((_, fail) => {
      let base = null;
      chat.on('closed', ({ code, reason }) => { if ([1002, 1003, 1007, 4001, 4009].includes(code)) fail(new Error(`the connection was closed: ${code} ${reason}`)); });
      chat.on('synced', async () => {
        if (base !== null) return;
        base = -1;
        try {
          await chat.loadOlder(id);
          const list = chat.rooms.get(id).list().filter(message => message.Seq != null);
          for (const message of list.slice(0, list.length - count)) shown.set(message.ID, message.ChangeSeq ?? 0);
          base = list.at(-1)?.Seq ?? 0;
          show();
        } catch (error) { fail(error); }
      });
      const show = () => { if (base >= 0) for (const message of chat.rooms.get(id)?.list() ?? []) tell(message); };
      chat.on('room', room => room.ID === id && base !== null && show());
      chat.on('rooms', () => { if (base > 0 && !chat.rooms.has(id)) fail(new Error('you are not in that room any more')); });
      chat.connect().catch(fail);
    });
  },
  async send([id, ...words], { json }) {
    if (!id) throw new Usage('chat send ROOM [TEXT …]');
    const Content = words.length ? words.join(' ') : (await readInput()).replace(/\n$/, '');
    const chat = client(), sign = crypto.randomUUID();
    const message = await chat.request('POST', `/rooms/${id}/messages`, { body: { Content }, sign, tries: 10 });
    say(json ? JSON.stringify(message) : message?.ID ?? message?.Status);
  },
  async file([id, path = '-'], { json, name, type }) {
    if (!id) throw new Usage('chat file ROOM [PATH]');
    const chat = client(), place = path === '-' ? mkdtempSync(join(tmpdir(), 'chat-')) : null;
    try {
      // The length of a pipe is not known in advance: it is buffered first, then sent in chunks that can be repeated.
      const source = place ? join(place, 'input') : path;
      if (place) await pipeline(process.stdin, createWriteStream(source, { mode: 0o600 }));
      const file = await openAsBlob(source, { type: type ?? '' });
      await chat.connect();
      const upload = chat.sendFile(id, file, { name: name ?? (place ? 'input' : basename(path)) });
      if (process.stderr.isTTY) chat.on('upload', one => process.stderr.write(`\r${Math.round(one.progress * 100)} %`));
      const message = await upload.done;
      say(json ? JSON.stringify(message) : message.ID);
    } finally {
      await chat.close();
      if (place) rmSync(place, { recursive: true, force: true });
    }
  },
};

try {
  let found;
  try {
    found = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' },
      n: { type: 'string', short: 'n' }, name: { type: 'string' }, type: { type: 'string' } } });
  } catch (error) { throw new Usage(error.message); }
  const { values, positionals: [word, ...rest] } = found;
  if (values.help || word === 'help') process.stdout.write(`${HELP}\n`);
  else if (!Object.hasOwn(commands, word ?? '')) throw new Usage(word ? `unknown command '${word}'` : 'give a command');
  else await commands[word](rest, values);
  process.exitCode = 0;
} catch (error) {
  say(`chat: ${oneLine(error.code && error.name === 'ChatError' ? `${error.code}: ${error.message}` : error.message)}`, process.stderr);
  if (error instanceof Usage) process.stderr.write(`\n${HELP}\n`);
  process.exitCode = error instanceof Usage ? 2 : 1;
}
// A remaining socket or timer must not keep the program running.
await new Promise(done => process.stdout.write('', done));
process.exit();
