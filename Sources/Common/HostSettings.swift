/// What each user may do in a minute, over all programs; so much at once too. 0: no limit.
public struct RateSettings: Sendable {
    private let limits: [(kind: RateKind, most: Int)]

    init(_ values: inout SettingsReader) {
        let defaults: [(RateKind, Int)] = [
            (.sends, 60_000), (.rooms, 6000), (.invitations, 6000), (.searches, 1200), (.connections, 6000),
        ]
        limits = defaults.map { kind, most in
            (kind, values.number("RATE_\(kind.rawValue.uppercased())", default: most, in: 0...10_000_000))
        }
    }

    public subscript(kind: RateKind) -> Int { limits.first { $0.kind == kind }?.most ?? 0 }
}

/// For how many days messages are kept, by the kind of their room, and deleted rooms; 0: for ever.
public struct RetentionSettings: Sendable {
    public let days: [(type: RoomType, days: Int)]
    public let deletedDays: Int

    init(_ values: inout SettingsReader) {
        days = RoomType.allCases.map { type in
            (type, values.number("RETENTION_\(type.name)_DAYS", default: 0, in: 0...36_500))
        }
        deletedDays = values.number("RETENTION_DELETED_DAYS", default: 0, in: 0...36_500)
    }

    public var isOn: Bool { deletedDays > 0 || days.contains { $0.days > 0 } }
}

/// How the host application is told, and asked.
public struct HookSettings: Sendable {
    /// Where events go; empty: nowhere.
    public var url: String
    /// Where messages are checked before they are stored; empty: they are not.
    public var checkURL: String
    /// A secret: the key of the requests' signature.
    public var secret: String
    /// Milliseconds of one event's request, and of one check.
    public var timeout: Int
    public var checkTimeout: Int
    /// Tries, after which an event is dead.
    public var attempts: Int
    /// When the check fails nothing is stored, instead of everything.
    public var refusesUnchecked: Bool
    /// The URLs may lead to this machine or into a private network.
    public var mayBePrivate: Bool
    /// A file of certificate authorities beside the system's.
    public var authorities: String?

    init(_ values: inout SettingsReader) {
        url = values.text("WEBHOOK_URL", default: "")
        checkURL = values.text("MESSAGE_CHECK_URL", default: "")
        values.expectHTTP("WEBHOOK_URL", url)
        values.expectHTTP("MESSAGE_CHECK_URL", checkURL)
        secret = values.text("WEBHOOK_SECRET", default: "")
        timeout = values.number("WEBHOOK_TIMEOUT_MS", default: 5000, in: 10...60_000)
        checkTimeout = values.number("MESSAGE_CHECK_TIMEOUT_MS", default: 1000, in: 10...10_000)
        attempts = values.number("WEBHOOK_ATTEMPTS", default: 14, in: 1...100)
        refusesUnchecked = values.choice("MESSAGE_CHECK_FAILURE", ["allow", "refuse"], default: "allow") == "refuse"
        mayBePrivate = values.choice("WEBHOOK_PRIVATE", ["no", "yes"], default: "no") == "yes"
        if !(url.isEmpty && checkURL.isEmpty), secret.utf8.count < 32 {
            values.problem("WEBHOOK_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
    }
}
