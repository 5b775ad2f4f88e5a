/// The names of what we keep in Redis, each in one place.
public enum RedisKey {
    public static func roomChannel(_ room: UUID128) -> String { "room:\(room)" }
    public static func userChannel(_ user: UUID128) -> String { "user:\(user)" }
    public static func relayChannel(_ relay: UInt64) -> String { "relay:\(relay)" }
    /// A stream: bounded, expiring; entry ids are `Seq-0` of a chunk's last frame, field `f` is the chunk.
    public static func roomLog(_ room: UUID128) -> String { "room:\(room):log" }
    /// When the user's count of this kind is back at zero.
    public static func rate(_ kind: RateKind, _ user: UUID128) -> String { "rate:\(kind.rawValue):\(user)" }
    /// Unix milliseconds at which a socket of the user last answered a probe; expiring.
    public static func alive(_ user: UUID128) -> String { "alive:\(user)" }
    /// A hash: the Seq up to which each member has been pushed to; expiring.
    public static func pushed(_ room: UUID128) -> String { "pushed:\(room)" }
    /// A stream: bounded; what happened to whom lately.
    public static let trail = "trail"
    public static func presence(_ user: UUID128) -> String { "presence:\(user)" }
    /// A hash: how far a file's upload is.
    public static func upload(_ message: UUID128) -> String { "upload:\(message)" }
    public static func ticket(_ ticket: String) -> String { "ticket:\(ticket)" }
    public static func uploadLock(_ lock: UploadLock, _ message: UUID128) -> String {
        "upload:\(message):\(lock.rawValue)"
    }
    /// The last number that a lock of an upload was given with.
    public static let uploadFence = "upload:fence"
}
