import type { Chat } from './chat.js';

/** `<chat-room room="…" ticket="…" url="…" lang="…">`, or with `cookies` in place of `ticket`: one room, ready to use. Importing the module defines the element. */
export class ChatRoom extends HTMLElement {
  /** the client itself, once the element is in a page and has a `room` */
  readonly chat: Chat | null;
  /** in place of the attribute `ticket`: a function of the page that returns a token; `fresh`: the last one was refused or expires soon */
  token: ((fresh: boolean) => string | Promise<string>) | null;
  readonly unread: number;
  /** why the room is not shown: no token, no such room for this user, or the service has ended the connection for good */
  readonly error: 'token' | 'room' | 'closed' | null;
  /** begins again, for example with another user's token */
  restart(): void;
}
export interface ChatRoomEvents {
  /** neither `token` nor an answer of `ticket` is used when a listener calls `respondWith` */
  'chat-token': CustomEvent<{ fresh: boolean; respondWith(token: string | Promise<string>): void }>;
  'chat-unread': CustomEvent<{ unread: number }>;
  'chat-state': CustomEvent<{ state: Chat['state'] }>;
  'chat-error': CustomEvent<{ error: 'token' | 'room' | 'closed'; cause: Error | null }>;
}
declare global { interface HTMLElementTagNameMap { 'chat-room': ChatRoom } }
