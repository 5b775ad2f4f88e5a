// A picture's BlurHash (https://blurha.sh) on a canvas, shown until the picture is loaded.
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~';
const number = text => [...text].reduce((sum, digit) => sum * 83 + DIGITS.indexOf(digit), 0);
const linear = byte => (byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
const display = value => { const part = Math.min(1, Math.max(0, value)); return Math.round(255 * (part <= 0.0031308 ? part * 12.92 : 1.055 * part ** (1 / 2.4) - 0.055)); };

/** RGBA bytes of a picture of that size; null if the text is no BlurHash. */
export function decode(hash, width, height) {
  if (typeof hash !== 'string' || hash.length < 6 || [...hash].some(digit => !DIGITS.includes(digit))) return null;
  const size = number(hash[0]), across = (size % 9) + 1, down = Math.floor(size / 9) + 1, most = (number(hash[1]) + 1) / 166;
  if (hash.length !== 4 + 2 * across * down) return null;
  const mean = number(hash.slice(2, 6)), signed = value => Math.sign(value) * value * value;
  const parts = [[linear(mean >> 16), linear((mean >> 8) & 255), linear(mean & 255)]];
  for (let at = 6; at < hash.length; at += 2) {
    const value = number(hash.slice(at, at + 2));
    parts.push([Math.floor(value / 361), Math.floor(value / 19) % 19, value % 19].map(one => signed((one - 9) / 9) * most));
  }
  const bytes = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const sum = [0, 0, 0];
    for (let j = 0; j < down; j++) for (let i = 0; i < across; i++) {
      const wave = Math.cos((Math.PI * x * i) / width) * Math.cos((Math.PI * y * j) / height);
      for (let color = 0; color < 3; color++) sum[color] += parts[j * across + i][color] * wave;
    }
    bytes.set([...sum.map(display), 255], 4 * (y * width + x));
  }
  return bytes;
}
export function draw(canvas, hash) {
  const bytes = decode(hash, canvas.width, canvas.height);
  if (bytes) canvas.getContext('2d').putImageData(new ImageData(bytes, canvas.width, canvas.height), 0, 0);
}
