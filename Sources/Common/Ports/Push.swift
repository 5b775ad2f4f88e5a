/// Sends pushes to users' devices.
public protocol PushSender: AnyObject {
    /// Tries once, with a time limit of its own. To an address that a user gave it makes only one request.
    func send(_ push: Push, to device: PushDevice) -> PushOutcome
}

public enum PushOutcome: Sendable, Equatable {
    case sent
    /// The device is gone for good, or never belonged to this project.
    case unregistered
    /// The next try must wait for this many seconds.
    case later(seconds: Int)
    /// A later try may succeed.
    case failed(String)
    /// This push can never reach this device.
    case rejected(String)
    /// The push may be accepted without its texts (``Push/isLean``).
    case tooLarge
}

/// The content for one device.
public struct Push: Sendable, Equatable {
    public enum Content: Sendable, Equatable {
        /// The newest message, and the number of unread ones including it.
        case message(PushMessage, unread: Int64)
        /// The user has seen the room up to this Seq: the app can remove its notifications.
        case seen(seq: Int64)
        /// This message was deleted: the app can remove its notification.
        case deleted(message: UUID128, seq: Int64)
    }

    public var room: UUID128
    public var content: Content
    /// Unread messages of all the user's rooms: the number on the app's icon.
    public var badge: Int64
    /// Without texts and names, because the service refused it as too large.
    public var isLean: Bool

    public init(room: UUID128, content: Content, badge: Int64 = 0, isLean: Bool = false) {
        self.room = room
        self.content = content
        self.badge = badge
        self.isLean = isLean
    }

    public var isMessage: Bool { message != nil }
    public var message: PushMessage? { if case .message(let message, _) = content { message } else { nil } }

    /// Whether it may replace a waiting push of the same room. The deletion of an older message must not replace it:
    /// the waiting message still has to be pushed.
    func supersedes(_ waiting: Push) -> Bool {
        guard case .message(let message, _) = waiting.content else { return true }
        return switch content {
        case .message(let newer, _): newer.seq >= message.seq
        case .seen(let seq): seq >= message.seq
        case .deleted(let id, _): id == message.id
        }
    }
}

public struct PushMessage: Sendable, Equatable {
    public var id: UUID128
    public var sender: UUID128
    /// Empty: the host gave none.
    public var senderName: String
    public var seq: Int64
    public var contentType: ContentType
    public var content: String
    public var roomName: String
    /// Unix milliseconds.
    public var createdAt: Int64

    public init(
        id: UUID128, sender: UUID128, senderName: String = "", seq: Int64, contentType: ContentType, content: String,
        roomName: String, createdAt: Int64 = 0
    ) {
        self.id = id
        self.sender = sender
        self.senderName = senderName
        self.seq = seq
        self.contentType = contentType
        self.content = content
        self.roomName = roomName
        self.createdAt = createdAt
    }

    public func mentions(_ user: UUID128) -> Bool {
        var content = content
        return content.withUTF8 { mentionedUsers(in: UnsafeRawBufferPointer($0)) }.contains(user)
    }
}

/// The users who may receive a push, from the store.
public protocol PushAudience: AnyObject {
    /// Members of the room who have a device, with their choices at `now`.
    func recipients(of room: UUID128, at now: Int64) throws(StoreError) -> [PushRecipient]
    /// The newest messages of users up to `seq` that everybody may see, the newest first.
    func newestMessages(of room: UUID128, through seq: Int64, limit: Int) throws(StoreError) -> [PushMessage]
    /// The messages that belong to threads of the room which these users have silenced.
    func silencedThreads(
        of users: [UUID128], in room: UUID128, among messages: [UUID128], at now: Int64
    ) throws(StoreError) -> [SilencedMessage]
    /// Unread messages of all rooms of each user.
    func badges(of users: [UUID128]) throws(StoreError) -> [UUID128: Int64]
    func devices(of user: UUID128) throws(StoreError) -> [PushDevice]
    /// Removes the device for all of its users; a name at the host's gateway only for this user.
    func forget(_ device: PushDevice) throws(StoreError)
}

public struct PushRecipient: Sendable, Equatable {
    public enum Wish: Sendable, Equatable {
        case everything
        /// Messages that mention the user.
        case mentions
        /// The room is silenced, these are the user's quiet hours, or the user has blocked the other one of a PRIVATE
        /// room.
        case nothing
    }

    public var user: UUID128
    public var devices: [PushDevice]
    public var lastSeenSeq: Int64
    public var unread: Int64
    public var wish: Wish
    /// Whether the user has silenced a thread of the room.
    public var silencesThreads: Bool

    public init(
        user: UUID128, devices: [PushDevice], lastSeenSeq: Int64, unread: Int64, wish: Wish = .everything,
        silencesThreads: Bool = false
    ) {
        self.user = user
        self.devices = devices
        self.lastSeenSeq = lastSeenSeq
        self.unread = unread
        self.wish = wish
        self.silencesThreads = silencesThreads
    }
}

/// A message in a thread that a user has silenced.
public struct SilencedMessage: Sendable, Hashable {
    public var user: UUID128
    public var message: UUID128
    /// It is still pushed when it mentions the user.
    public var exceptMentions: Bool

    public init(user: UUID128, message: UUID128, exceptMentions: Bool) {
        self.user = user
        self.message = message
        self.exceptMentions = exceptMentions
    }
}

/// Records signs of life and pushes. It may lose any entry: then one superfluous push is sent.
public protocol PushMarks: AnyObject {
    /// Makes every relay probe the sockets of these users, after everything that was published before.
    func probe(_ users: [UUID128]) throws(BusError)
    /// The Unix millisecond at which a socket of each user last answered a probe.
    func signsOfLife(of users: [UUID128]) throws(BusError) -> [UUID128: Int64]
    /// The Seq up to which each user has received pushes.
    func pushed(in room: UUID128, to users: [UUID128]) throws(BusError) -> [UUID128: Int64]
    func note(pushed seq: Int64, in room: UUID128, to user: UUID128) throws(BusError)
    func clear(_ room: UUID128, of user: UUID128) throws(BusError)
    /// For the trail.
    func note(_ step: TrailStep) throws(BusError)
}
