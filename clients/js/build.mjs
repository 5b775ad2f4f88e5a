// Writes dist/, the published modules: the sources without comments and indentation, with short names of private members in chat.js.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const here = new URL('.', import.meta.url), sources = ['chat.js', 'chat-room.js', 'push.js', 'push-worker.js', 'cli.mjs'];
/** A `#` and a letter stand in chat.js for a private member only; the names used most get one letter. */
function shortened(code) {
  const times = new Map(), letters = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'];
  for (const [name] of code.matchAll(/#[a-z]\w*/gi)) times.set(name, (times.get(name) ?? 0) + 1);
  const names = [...times].sort((a, b) => b[1] - a[1]).map(([name], at) => [name, `#${letters[at % 52]}${at < 52 ? '' : Math.floor(at / 52)}`]), short = new Map(names);
  return code.replace(/#[a-z]\w*/gi, name => short.get(name));
}
rmSync(new URL('dist/', here), { recursive: true, force: true });
mkdirSync(new URL('dist/', here));
copyFileSync(new URL('../../LICENSE', here), new URL('dist/LICENSE', here));
for (const name of sources) {
  const lines = readFileSync(new URL(name, here), 'utf8').split('\n');
  // In these sources comments have their own lines, and no string has a line that begins like a comment.
  const whole = lines.filter(line => !/^\s*(\/\/|\/\*\*.*\*\/$)/.test(line)).map(line => line.trimStart()).join('\n') + '\n', bare = name === 'chat.js' ? shortened(whole) : whole;
  const target = new URL(`dist/${name}`, here);
  writeFileSync(target, bare);
  if (bare.startsWith('#!')) chmodSync(target, 0o755);
  console.error(`dist/${name}: ${gzipSync(bare, { level: 9 }).length} bytes in gzip`);
}
