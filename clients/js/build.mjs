// Writes dist/, the published modules: the sources minified by esbuild (the Debian package of that name); chat.js is under 13 KB in gzip.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync, chmodSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const here = new URL('.', import.meta.url), sources = ['chat.js', 'chat-room.js', 'push.js', 'push-worker.js', 'cli.mjs'];
// A name that begins with _ is used inside of chat.js alone.
const options = ['--minify', '--target=es2022', '--format=esm', '--mangle-props=^_[a-z]'];
function fail(reason) {
  console.error(reason);
  process.exit(1);
}
function minified(code) {
  const { error, status, stdout, stderr } = spawnSync('esbuild', options, { input: code, encoding: 'utf8' });
  if (error?.code === 'ENOENT') fail('esbuild is missing: install it (apt-get install esbuild), or put it into PATH.');
  if (status !== 0) fail(stderr || `esbuild failed: ${error?.message}`);
  return stdout;
}
const modules = sources.map(name => [name, minified(readFileSync(new URL(name, here), 'utf8'))]);
rmSync(new URL('dist/', here), { recursive: true, force: true });
mkdirSync(new URL('dist/', here));
copyFileSync(new URL('../../LICENSE', here), new URL('dist/LICENSE', here));
for (const [name, code] of modules) {
  const target = new URL(`dist/${name}`, here);
  writeFileSync(target, code);
  if (code.startsWith('#!')) chmodSync(target, 0o755);
  console.error(`dist/${name}: ${gzipSync(code, { level: 9 }).length} bytes in gzip`);
}
