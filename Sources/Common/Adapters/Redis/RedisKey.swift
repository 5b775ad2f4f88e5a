public import ChatCore

/// The names of all keys in Redis. In a cluster, keys that one command touches have one hash tag; with a single Redis
/// their names are the ones of earlier releases.
public enum RedisKey {
    /// A stream, bounded and expiring; an entry's id is `Seq-0` of the chunk's last frame, its field `f` is the chunk.
    /// In a cluster it is on the node of the room's channel.
    public static func roomLog(_ room: UUID128, inCluster: Bool) -> String {
        inCluster ? "{\(BusChannel.room(room))}:log" : "room:\(room):log"
    }
    /// The time at which the user's count of this kind is zero again.
    public static func rate(_ kind: RateKind, _ user: UUID128) -> String { "rate:\(kind.rawValue):\(user)" }
    /// The Unix millisecond at which a socket of the user last answered a probe; expiring.
    public static func alive(_ user: UUID128) -> String { "alive:\(user)" }
    /// A relay writes it once a second, with a long expiry: its remaining lifetime shows when the relay last wrote it.
    public static func beat(_ relay: UInt64) -> String { "beat:\(relay)" }
    public static let beatLifetime = Duration.seconds(86_400)
    /// A hash: the Seq up to which each member has received pushes; expiring.
    public static func pushed(_ room: UUID128) -> String { "pushed:\(room)" }
    /// A bounded stream of recent steps, for traces.
    public static let trail = "trail"
    /// A bounded stream of news of users, for webhooks.
    public static let userNews = "hooks:users"
    public static func presence(_ user: UUID128) -> String { "presence:\(user)" }
    /// A hash: the progress of a file's upload.
    public static func upload(_ message: UUID128) -> String { "upload:\(message)" }
    /// The number of changes of the user's description in a period; expiring.
    public static func userTold(_ user: UUID128, _ period: Int64) -> String { "told:\(user):\(period)" }
    /// The positions in PostgreSQL's log up to which a user, or anybody in a room, has written; expiring.
    static func written(by user: UUID128) -> String { "written:user:\(user)" }
    static func written(in room: UUID128) -> String { "written:room:\(room)" }
    /// A position: everything without a mark was written before it. It never expires, so its absence shows that marks
    /// were lost.
    static let writtenSince = "written:since"
    /// In a cluster each of these parts of the marks has a beginning of its own: one node may lose its data alone.
    static let writtenParts = 256
    /// The hash tag of the part with this user's or room's mark.
    static func writtenPart(_ id: UUID128) -> String { "{written:\(fnv1a64("\(id)".utf8) % UInt64(writtenParts))}" }
    /// A session of the host application, by the keyed hash of its cookies; expiring.
    static func session(_ key: [UInt8]) -> String { "session:\(hex(key))" }
    public static func ticket(_ ticket: String) -> String { "ticket:\(ticket)" }
    public static func uploadLock(_ lock: UploadLock, _ message: UUID128, inCluster: Bool) -> String {
        inCluster ? "{\(upload(message))}:\(lock.rawValue)" : "upload:\(message):\(lock.rawValue)"
    }
    /// The last fence number that an upload's lock received: of all uploads, but in a cluster of each one.
    public static let uploadFence = "upload:fence"
    static func uploadFence(of message: UUID128) -> String { "{\(upload(message))}:fence" }
}
