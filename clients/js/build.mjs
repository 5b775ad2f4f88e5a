// Writes dist/, the published modules: the sources without comments and indentation.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const here = new URL('.', import.meta.url), sources = ['chat.js', 'chat-room.js', 'push.js', 'push-worker.js', 'cli.mjs'];
rmSync(new URL('dist/', here), { recursive: true, force: true });
mkdirSync(new URL('dist/', here));
copyFileSync(new URL('../../LICENSE', here), new URL('dist/LICENSE', here));
for (const name of sources) {
  const lines = readFileSync(new URL(name, here), 'utf8').split('\n');
  // In these sources comments have their own lines, and no string has a line that begins like a comment.
  const bare = lines.filter(line => !/^\s*(\/\/|\/\*\*.*\*\/$)/.test(line)).map(line => line.trimStart()).join('\n') + '\n';
  const target = new URL(`dist/${name}`, here);
  writeFileSync(target, bare);
  if (bare.startsWith('#!')) chmodSync(target, 0o755);
  console.error(`dist/${name}: ${gzipSync(bare, { level: 9 }).length} bytes in gzip`);
}
