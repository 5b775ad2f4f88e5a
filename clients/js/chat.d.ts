export type UUID = string;
export interface File_ { Name: string; Size: number; ContentType: string; ThumbnailURL?: string; Width?: number; Height?: number; BlurHash?: string; Duration?: number }
export interface Profile { UserID: UUID; ExternalID: string | null; Name: string; Avatar: string }
export interface Message {
  ID: UUID; RoomID: UUID; SenderID: UUID; /** null when the host has said nothing of them */ Sender?: Profile | null; /** null while its file is not complete */ Seq: number | null; Content: string;
  ContentType: 'text' | 'image' | 'video' | 'audio' | 'file'; MessageType: 'direct' | 'replied' | 'forwarded' | 'system';
  ParentMessageID: UUID | null; ForwardedFrom: UUID | null; Sign: string | null; Status: string; File: File_ | null;
  Reactions: { Reaction: string; Count: number; Users: UUID[] }[]; EditedAt: string | null; DeletedAt: string | null;
  PinnedAt: string | null; ChangeSeq: number; Mentions: UUID[]; CreatedAt: string; Metadata?: object;
}
export interface RoomInfo {
  ID: UUID; Type: 'PRIVATE' | 'GROUP' | 'CHANNEL'; Name: string; Description: string; Avatar: string; OwnerID: UUID; MemberCount: number;
  LastSeq: number; Epoch?: number; LastMessage: Message | null; Unread: number | null; Role: 'OWNER' | 'ADMIN' | 'MEMBER' | null;
  MutedUntil: string | null; CreatedAt: string; SlowModeSeconds: number; Metadata?: object;
}
export interface Member extends Partial<Profile> { UserID: UUID; Role: 'OWNER' | 'ADMIN' | 'MEMBER'; LastSeenSeq: number; MutedUntil: string | null; BannedAt: string | null; JoinedAt: string; Metadata?: object }
export interface Presence { UserID: UUID; Online: boolean; LastSeenAt: string | null }
export interface SeenMark { RoomID: UUID; UserID: UUID; Seq: number; At: string }
export interface Page<T> { Data: T[]; Next: string | null }

export class ChatError extends Error { code: string; status: number; /** milliseconds */ retryAfter: number | null; field: string | null; cause?: unknown }

export interface Store {
  all(): Promise<[string, unknown][]>; set(key: string, value: unknown): Promise<void>;
  delete(key: string): Promise<void>; clear(): Promise<void>;
}
export class MemoryStore implements Store { all(): Promise<[string, unknown][]>; set(key: string, value: unknown): Promise<void>; delete(key: string): Promise<void>; clear(): Promise<void> }
export class IndexedDBStore extends MemoryStore { constructor(name?: string) }

export interface Room {
  readonly ID: UUID; readonly info: RoomInfo | null; /** changes when history was lost: the copy is dropped then */ readonly epoch: number; readonly seq: number | null;
  readonly members: Map<UUID, Member>; readonly typing: Map<UUID, unknown>; readonly seenSeq: number;
  readonly complete: boolean; readonly unread: number; readonly lastMessage: Message | null;
  list(): Message[];
}
export interface Upload {
  readonly Sign: string; readonly RoomID: UUID; readonly MessageID: UUID | null; readonly name: string; readonly size: number; readonly total: number;
  /** by chunk, from 1: bytes that are stored */ readonly loaded: number[]; /** numbers of the chunks in progress */ readonly sending: Set<number>; /** 0 to 1 */ readonly progress: number;
  readonly state: 'waiting' | 'running' | 'paused' | 'failed' | 'done' | 'cancelled'; readonly error: ChatError | null; readonly done: Promise<Message>;
  pause(): void; resume(): void; cancel(): Promise<void>;
}
export interface Item { readonly Sign: string; readonly frame: Record<string, unknown>; readonly At: number; readonly error: { code: string; message: string } | null }

export interface Options {
  /** the service's origin; in a browser the page's own by default */ url?: string; prefix?: string; path?: string;
  /** a JWT, or a function that fetches one; `fresh`: the last one was refused or expires soon. One that fails, or gives no line of ASCII, is asked again, less and less often */ token?: string | ((fresh: boolean) => string | Promise<string>);
  /** the cookies of the host's pages show whose page it is, and no token is sent (SESSION_CHECK_URL of the service) */ cookies?: boolean;
  /** fetches a ticket for one socket; by default POST /ws-ticket */ ticket?: () => Promise<string>;
  /** names the signed-in user: the store is shown to the same one alone; by default the token's `sub`, and without one the first frame decides */ user?: string;
  store?: Store; /** of the IndexedDB */ name?: string; WebSocket?: unknown; fetch?: typeof fetch;
  /** messages a page, 50 */ history?: number; /** newest messages that the store keeps of each room, 200 */ keep?: number; /** messages of a room in memory, 10,000 */ most?: number;
  /** at least 5 MiB */ chunkSize?: number; /** chunks at once, 3 */ parallel?: number; /** ms */ answerWait?: number; /** ms */ requestWait?: number;
  clock?: { now(): number; set(run: () => void, wait: number): unknown; clear(id: unknown): void }; random?: () => number; uuid?: () => string;
}
export interface Events {
  state: Chat['state']; synced: undefined; closed: { code: number; reason: string; /** no connection could be made */ error?: Error }; rooms: undefined; room: Room; queue: UUID; upload: Upload;
  message: { room: Room; message: Message; isNew: boolean }; seen: { room: Room; UserID: UUID; Seq: number }; typing: Room; presence: Presence; profile: Profile;
  frame: Record<string, unknown>; error: Error;
}
export class Chat {
  constructor(options?: Options);
  readonly store: Store;
  readonly rooms: Map<UUID, Room>; readonly presence: Map<UUID, Presence>; /** names and pictures of the 5000 users heard of last */ readonly profiles: Map<UUID, Profile>; readonly uploads: Map<string, Upload>; readonly queue: Item[];
  readonly me: UUID | null; readonly state: 'closed' | 'connecting' | 'open' | 'waiting' | 'replaced'; /** nothing is missing any more */ readonly synced: boolean;
  readonly stats: { frames: number; missed: number; doubled: number; /** frames and entries of lists that cannot be used */ malformed: number; resyncs: number; connects: number; moves: number; sent: number; resent: number };
  on<T extends keyof Events>(type: T, listener: (value: Events[T]) => void): () => void;
  open(): Promise<void>; connect(): Promise<void>; close(): Promise<void>; flush(): Promise<void>; clear(): Promise<void>;
  send(to: UUID | { user: UUID }, Content: string, more?: { ParentMessageID?: UUID; MessageType?: string; ContentType?: string; Metadata?: object }): Promise<Message>;
  edit(message: Message, Content: string): Promise<Message>; delete(message: Message): Promise<Message>;
  react(message: Message, reaction: string, remove?: boolean): Promise<Message>;
  seen(room: UUID, seq?: number): Promise<SeenMark | null>; typing(room: UUID): void;
  pending(room: UUID): Item[]; retry(sign: string): void; discard(sign: string): void;
  /** loadOlder: whether there are more, and room for them (`most`) */
  loadOlder(room: UUID): Promise<boolean>; loadMembers(room: UUID): Promise<Member[]>; around(room: UUID, seq: number, limit?: number): Promise<Message[]>;
  search(q: string, options?: { room?: UUID; limit?: number; cursor?: string }): Promise<Page<Message & { Rank: number; Marks: { Start: number; Length: number }[] }>>;
  receipts(message: UUID): Promise<SeenMark[]>; createRoom(draft: Record<string, unknown>): Promise<RoomInfo>;
  sendFile(room: UUID, file: Blob, options?: { name?: string; type?: Message['ContentType']; ParentMessageID?: UUID }): Upload;
  fileURL(message: Message, thumbnail?: boolean): string; fetchFile(message: Message, thumbnail?: boolean): Promise<Blob>;
  ask(frame: Record<string, unknown>): Promise<unknown>;
  request(method: string, path: string, options?: { body?: unknown; query?: Record<string, unknown>; sign?: string; tries?: number; whole?: boolean; signal?: AbortSignal }): Promise<any>;
}
