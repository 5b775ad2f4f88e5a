// Web Push for a page: subscribePush(chat) after a click of its user. push-worker.js shows what comes. README.md has the interface.
import { ChatError } from './chat.js';

const supported = () => Boolean(globalThis.Notification && globalThis.PushManager && globalThis.navigator?.serviceWorker);
const bytes = text => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), letter => letter.charCodeAt(0));
/** The client keeps one entry more in its store: the device, and where its subscription is. */
const kept = async chat => (await chat.store.all()).find(([key]) => key === 'push')?.[1];
const registrationOf = entry => navigator.serviceWorker.getRegistration(entry.Scope);
const current = async entry => (entry ? (await (await registrationOf(entry))?.pushManager.getSubscription()) ?? null : null);
const isOff = devices => typeof devices?.VAPIDPublicKey !== 'string' || !Array.isArray(devices.Kinds) || !devices.Kinds.includes('webpush');

/** 'on', 'ready' (it can be asked for), 'denied' by the user, 'off' at the server, or 'unsupported' by the browser. */
export async function pushState(chat) {
  if (!supported()) return 'unsupported';
  const devices = await chat.request('GET', '/devices'), entry = await kept(chat), subscription = await current(entry);
  if (isOff(devices)) return 'off';
  if (Notification.permission === 'denied') return 'denied';
  return subscription?.endpoint === entry?.Endpoint && devices.Devices?.some(one => one?.Device === entry?.Device) ? 'on' : 'ready';
}

/** A subscription needs a worker that is active. */
function active(registration) {
  const worker = registration.installing ?? registration.waiting;
  if (registration.active || !worker) return registration;
  return new Promise((done, fail) => {
    const give = () => fail(new ChatError('push_refused', 'the service worker could not be installed')), timer = setTimeout(give, 30000);
    worker.addEventListener('statechange', () => {
      if (!['activated', 'redundant'].includes(worker.state)) return;
      clearTimeout(timer);
      if (worker.state === 'activated') done(registration); else give();
    });
  });
}
function same(subscription, key) {
  const used = new Uint8Array(subscription.options?.applicationServerKey ?? []);
  return used.length === key.length && used.every((byte, at) => byte === key[at]);
}

/** Asks the user, registers the worker, subscribes, and tells the server. Resolves to the device's name. */
export async function subscribePush(chat, { worker = '/push-worker.js', scope, open, icon, silent = !/iPhone|iPad|iPod/.test(navigator.userAgent) } = {}) {
  if (!supported()) throw new ChatError('push_unsupported', 'this browser has no Web Push here');
  // First of all: some browsers ask only while the click is fresh.
  if (await Notification.requestPermission() !== 'granted') throw new ChatError('push_denied', 'the user does not allow notifications');
  const devices = await chat.request('GET', '/devices');
  if (isOff(devices)) throw new ChatError('push_off', 'the service sends no pushes to browsers');
  try {
    const address = new URL(worker, location.href), key = bytes(devices.VAPIDPublicKey), User = await userOf(chat);
    if (open) address.searchParams.set('open', open);
    if (icon) address.searchParams.set('icon', new URL(icon, location.href));
    const registration = await active(await navigator.serviceWorker.register(address, scope ? { scope } : {}));
    let subscription = await registration.pushManager.getSubscription();
    // The server has new keys: the old subscription is of no use any more.
    if (subscription && !same(subscription, key)) { await subscription.unsubscribe(); subscription = null; }
    subscription ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    const { endpoint, keys: { p256dh, auth } } = subscription.toJSON();
    const { Device } = await chat.request('POST', '/devices', { body: { Kind: 'webpush', Endpoint: endpoint, Keys: { p256dh, auth }, Silent: silent } });
    const before = await kept(chat);
    await chat.store.set('push', { Device, Endpoint: endpoint, Scope: registration.scope, User });
    // A subscription that the browser has replaced.
    if (before && before.Device !== Device && !isOthers(before, User)) await forget(chat, before.Device);
    return Device;
  } catch (error) {
    throw error instanceof ChatError ? error : new ChatError('push_refused', String(error?.message ?? error));
  }
}

const userOf = async chat => (await chat.request('GET', '/account'))?.UserID ?? null;
const isOthers = (entry, user) => Boolean(entry.User && user && entry.User !== user);
/** At each start of the page: registers again what the browser or the server has replaced. Asks nothing, does nothing without a subscription.
 *  Ends one that another user of this browser left: their notifications would be shown to this one. */
export async function renewPush(chat, options) {
  const entry = supported() && Notification.permission === 'granted' && await kept(chat);
  if (!entry) return null;
  if (isOthers(entry, await userOf(chat))) {
    await (await current(entry))?.unsubscribe();
    await chat.store.delete('push');
    return null;
  }
  return subscribePush(chat, options);
}

async function forget(chat, device) {
  try { await chat.request('DELETE', `/devices/${encodeURIComponent(device)}`); } catch (error) { if (error.status !== 404) throw error; }
}
/** Before a user signs out. `keepSubscription`: another user of this browser still gets pushes. */
export async function unsubscribePush(chat, { keepSubscription = false } = {}) {
  const entry = await kept(chat);
  if (!entry) return;
  await forget(chat, entry.Device);
  await chat.store.delete('push');
  if (!keepSubscription) await (await current(entry))?.unsubscribe();
}

/** Calls `listener` with {RoomID, MessageID} when the user clicks a notification and this page is open. Returns a function that ends it. */
export function onPushOpen(listener) {
  if (!globalThis.navigator?.serviceWorker) return () => {};
  const heard = ({ data }) => data?.type === 'chat-open' && listener({ RoomID: data.RoomID, MessageID: data.MessageID });
  navigator.serviceWorker.addEventListener('message', heard);
  navigator.serviceWorker.startMessages?.();
  return () => navigator.serviceWorker.removeEventListener('message', heard);
}
