// The service worker that shows pushes. subscribePush() registers it; its address has the settings: ?open=/room/{room}&icon=/icon.png

const settings = new URL(self.location.href).searchParams;

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()));
self.addEventListener('push', event => event.waitUntil(pushed(read(event.data))));
self.addEventListener('notificationclick', event => event.waitUntil(clicked(event.notification)));

function read(data) {
  try { return data.json(); } catch { return null; }
}
async function pushed(push) {
  if (!push?.RoomID) return;
  await badge(push.Badge);
  // One notification for each room: the newest takes the place of the one before.
  const shown = await self.registration.getNotifications({ tag: push.RoomID });
  if (push.Type === 'message') {
    // Push services may deliver an older one later.
    if (shown.some(one => one.data?.Seq > push.Seq)) return;
    return self.registration.showNotification(push.Title || push.SenderName || '', {
      body: push.Body ?? '', tag: push.RoomID, renotify: true, data: push, ...(settings.get('icon') && { icon: settings.get('icon') }),
    });
  }
  for (const one of shown) {
    if (push.Type === 'seen' ? !(one.data?.Seq > push.Seq) : one.data?.MessageID === push.MessageID) one.close();
  }
}
async function badge(count) {
  try { await (count > 0 ? self.navigator.setAppBadge?.(count) : self.navigator.clearAppBadge?.()); } catch { /* This page is not installed. */ }
}
async function clicked(notification) {
  const { RoomID, MessageID } = notification.data ?? {};
  notification.close();
  const pages = await self.clients.matchAll({ type: 'window' }), page = pages.find(one => one.focused) ?? pages[0];
  if (page) {
    page.postMessage({ type: 'chat-open', RoomID, MessageID });
    return page.focus().catch(() => {});
  }
  const address = (settings.get('open') || '/?room={room}').replace('{room}', encodeURIComponent(RoomID ?? '')).replace('{message}', encodeURIComponent(MessageID ?? ''));
  return self.clients.openWindow(new URL(address, self.location.href));
}
