/// The rate limits of one user: actions per minute, over all programs, and the same number as a burst. 0: no limit.
public struct RateSettings: Sendable {
    private let limits: [(kind: RateKind, most: Int)]

    init(_ values: inout SettingsReader) {
        let defaults: [(RateKind, Int)] = [
            (.sends, 60_000), (.seen, 60_000), (.changes, 12_000), (.rooms, 6000), (.invitations, 6000),
            (.searches, 1200), (.reads, 12_000), (.uploads, 12_000), (.connections, 6000),
        ]
        limits = defaults.map { kind, most in
            (kind, values.number("RATE_\(kind.rawValue.uppercased())", default: most, in: 0...10_000_000))
        }
    }

    public subscript(kind: RateKind) -> Int { limits.first { $0.kind == kind }?.most ?? 0 }
}

/// The limits of a user's data outside of rooms.
public struct AccountSettings: Sendable {
    /// The users whom a user finds by name.
    public var search: UserSearch
    /// Devices that receive pushes; a further one replaces the one registered longest ago.
    public var devices: Int
    /// Users that one user may block.
    public var blocks: Int

    init(_ values: inout SettingsReader) {
        search =
            UserSearch(rawValue: values.choice("USER_SEARCH", UserSearch.allCases.map(\.rawValue), default: "rooms"))
            ?? .rooms
        devices = values.number("DEVICES_PER_USER", default: 20, in: 1...1000)
        blocks = values.number("BLOCKS_PER_USER", default: 5000, in: 1...100_000)
    }
}

/// The record of requests that the host application makes with its keys.
public struct AuditSettings: Sendable {
    /// Entries are kept for so long.
    public var keepsFor: Duration
    /// Also requests that change nothing.
    public var keepsReads: Bool

    init(_ values: inout SettingsReader) {
        keepsFor = values.days("AUDIT_DAYS", default: 365, in: 1...36_500)
        keepsReads = values.choice("AUDIT_READS", ["no", "yes"], default: "no") == "yes"
    }
}

/// How long messages are kept, by the kind of room, and deleted rooms are; nil: forever.
public struct RetentionSettings: Sendable {
    public let times: [(type: RoomType, time: Duration?)]
    public let deletedTime: Duration?

    init(_ values: inout SettingsReader) {
        times = RoomType.allCases.map { type in
            (type, values.days("RETENTION_\(type.name)_DAYS", default: 0, in: 0...36_500).unlessZero)
        }
        deletedTime = values.days("RETENTION_DELETED_DAYS", default: 0, in: 0...36_500).unlessZero
    }

    public var isOn: Bool { deletedTime != nil || times.contains { $0.time != nil } }
}

/// How the host application is notified and asked.
public struct HookSettings: Sendable {
    /// The URL for events; empty: none are sent.
    public var url: String
    /// The URL that checks messages before they are stored; empty: no check.
    public var checkURL: String
    /// The URL for pushes to devices of the kind `webhook`; empty: there are none.
    public var pushURL: String
    /// The key of the requests' signature. A secret.
    public var secret: String
    /// Time limits of one event's request, and of one check.
    public var timeout: Duration
    public var checkTimeout: Duration
    /// Tries after which an event is dead.
    public var attempts: Int
    /// A failed check rejects the message instead of allowing it.
    public var refusesUnchecked: Bool
    /// The URLs may lead to this machine or into a private network.
    public var mayBePrivate: Bool
    /// A file of certificate authorities in addition to the system's.
    public var authorities: String?

    init(_ values: inout SettingsReader) {
        url = values.text("WEBHOOK_URL", default: "")
        checkURL = values.text("MESSAGE_CHECK_URL", default: "")
        pushURL = values.text("PUSH_WEBHOOK_URL", default: "")
        values.expectHTTP("WEBHOOK_URL", url)
        values.expectHTTP("MESSAGE_CHECK_URL", checkURL)
        values.expectHTTP("PUSH_WEBHOOK_URL", pushURL)
        secret = values.text("WEBHOOK_SECRET", default: "")
        timeout = values.milliseconds("WEBHOOK_TIMEOUT_MS", default: 5000, in: 10...60_000)
        checkTimeout = values.milliseconds("MESSAGE_CHECK_TIMEOUT_MS", default: 1000, in: 10...10_000)
        attempts = values.number("WEBHOOK_ATTEMPTS", default: 14, in: 1...100)
        refusesUnchecked = values.choice("MESSAGE_CHECK_FAILURE", ["allow", "refuse"], default: "allow") == "refuse"
        mayBePrivate = values.choice("WEBHOOK_PRIVATE", ["no", "yes"], default: "no") == "yes"
        if !(url.isEmpty && checkURL.isEmpty && pushURL.isEmpty), secret.utf8.count < 32 {
            values.problem("WEBHOOK_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
    }
}
