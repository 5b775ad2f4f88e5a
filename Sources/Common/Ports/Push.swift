/// Sends pushes to users' devices.
public protocol PushSender: AnyObject {
    /// Tries once, with a time limit of its own.
    func send(_ push: Push, to device: String) -> PushOutcome
}

public enum PushOutcome: Sendable, Equatable {
    case sent
    /// The device is gone for good, or never belonged to this project.
    case unregistered
    /// Every push must wait for this many seconds.
    case later(seconds: Int)
    /// A later try may succeed.
    case failed(String)
    /// This push can never reach this device.
    case rejected(String)
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

    public init(room: UUID128, content: Content) {
        self.room = room
        self.content = content
    }
}

public struct PushMessage: Sendable, Equatable {
    public var id: UUID128
    public var sender: UUID128
    /// Empty: the host says none.
    public var senderName: String
    public var seq: Int64
    public var contentType: ContentType
    public var content: String
    public var roomName: String

    public init(
        id: UUID128, sender: UUID128, senderName: String = "", seq: Int64, contentType: ContentType, content: String,
        roomName: String
    ) {
        self.id = id
        self.sender = sender
        self.senderName = senderName
        self.seq = seq
        self.contentType = contentType
        self.content = content
        self.roomName = roomName
    }
}

/// The users who may receive a push, from the store.
public protocol PushAudience: AnyObject {
    /// Members of the room who have a device and have not silenced the room at `now`.
    func recipients(of room: UUID128, at now: Int64) throws(StoreError) -> [PushRecipient]
    /// The newest message of a user up to `seq` that everybody may see.
    func newestMessage(of room: UUID128, through seq: Int64) throws(StoreError) -> PushMessage?
    func devices(of user: UUID128) throws(StoreError) -> [String]
    func forget(device: String) throws(StoreError)
}

public struct PushRecipient: Sendable, Equatable {
    public var user: UUID128
    public var devices: [String]
    public var lastSeenSeq: Int64
    public var unread: Int64

    public init(user: UUID128, devices: [String], lastSeenSeq: Int64, unread: Int64) {
        self.user = user
        self.devices = devices
        self.lastSeenSeq = lastSeenSeq
        self.unread = unread
    }
}

/// Records signs of life and pushes. It may forget anything: the cost is one superfluous push.
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
