import type { Chat, UUID } from './chat.js';

export interface PushOptions {
  /** where the page's site serves push-worker.js, '/push-worker.js' */ worker?: string; /** of the worker; by default its folder */ scope?: string;
  /** the address that a click opens when no page is open, '/?room={room}'; also {message} */ open?: string; icon?: string;
  /** whether the browser takes pushes that show nothing (`seen`, `deleted`); false on iOS */ silent?: boolean;
}
/** `code` of the ChatError: push_unsupported, push_denied, push_off, push_refused, or one of the service. Resolves to the device's name. */
export function subscribePush(chat: Chat, options?: PushOptions): Promise<string>;
export function renewPush(chat: Chat, options?: PushOptions): Promise<string | null>;
export function unsubscribePush(chat: Chat, options?: { keepSubscription?: boolean }): Promise<void>;
export function pushState(chat: Chat): Promise<'on' | 'ready' | 'denied' | 'off' | 'unsupported'>;
export function onPushOpen(listener: (target: { RoomID: UUID; MessageID: UUID }) => void): () => void;
