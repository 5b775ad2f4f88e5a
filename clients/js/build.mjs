// Writes dist/, which is published: the same modules without the comments and the indentation of their sources.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const here = new URL('.', import.meta.url), sources = ['chat.js', 'chat-room.js', 'cli.mjs'];
rmSync(new URL('dist/', here), { recursive: true, force: true });
mkdirSync(new URL('dist/', here));
copyFileSync(new URL('../../LICENSE', here), new URL('dist/LICENSE', here));
for (const name of sources) {
  const lines = readFileSync(new URL(name, here), 'utf8').split('\n');
  // Comments stand on lines of their own in these sources, and no text of theirs begins a line like one.
  const bare = lines.filter(line => !/^\s*(\/\/|\/\*\*.*\*\/$)/.test(line)).map(line => line.trimStart()).join('\n') + '\n';
  const target = new URL(`dist/${name}`, here);
  writeFileSync(target, bare);
  if (bare.startsWith('#!')) chmodSync(target, 0o755);
  console.error(`dist/${name}: ${gzipSync(bare, { level: 9 }).length} bytes in gzip`);
}
