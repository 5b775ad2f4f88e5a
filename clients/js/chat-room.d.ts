import type { Chat } from './chat.js';

/** `<chat-room room="…" ticket="…" url="…">`: one room, ready to use. Importing the module defines the element. */
export class ChatRoom extends HTMLElement {
  /** the client itself, once the element is in a page with `room` and `ticket` (or `token`) */
  readonly chat: Chat | null;
  /** in place of the attribute `ticket`: a function of the page that returns a token */
  token: ((fresh: boolean) => string | Promise<string>) | null;
}
declare global { interface HTMLElementTagNameMap { 'chat-room': ChatRoom } }
