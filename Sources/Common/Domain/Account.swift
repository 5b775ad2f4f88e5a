/// The people who may put a user into a room: into a GROUP or CHANNEL, or into the PRIVATE room of the two. A user's
/// own actions (making a room, joining by a link, writing first) need no such consent.
public enum AddedBy: Int16, Sendable, CaseIterable {
    case everybody = 1
    /// Users who share a room with them today.
    case shared
    case nobody

    /// The name on the wire.
    public var name: String {
        switch self {
        case .everybody: "everybody"
        case .shared: "shared"
        case .nobody: "nobody"
        }
    }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}

/// The hours of each day in which a user gets no push. They may pass midnight.
public struct QuietHours: Sendable, Equatable {
    /// Minutes after midnight; the two differ.
    public var from: Int
    public var to: Int
    /// A name of the IANA database, such as Europe/Berlin.
    public var zone: String

    public init(from: Int, to: Int, zone: String) {
        self.from = from
        self.to = to
        self.zone = zone
    }

    /// Reads `HH:MM`; nil: not a time of day.
    public static func minute(_ text: String) -> Int? {
        let bytes = Array(text.utf8)
        guard bytes.count == 5, bytes[2] == UInt8(ascii: ":"),
            [0, 1, 3, 4].allSatisfy({ (0x30...0x39).contains(bytes[$0]) })
        else { return nil }
        let (hour, minute) = (
            Int(bytes[0] - 48) * 10 + Int(bytes[1] - 48), Int(bytes[3] - 48) * 10 + Int(bytes[4] - 48)
        )
        return hour < 24 && minute < 60 ? hour * 60 + minute : nil
    }

    public static func text(_ minute: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(minute / 60)):\(two(minute % 60))"
    }

    /// Whether the text has the form of a time zone's name, such as Europe/Berlin, or is UTC; the store knows whether
    /// the zone exists. `UTC+3` and `Europe/Berlin+1` are refused: PostgreSQL would read them by POSIX, where + means
    /// west. Only names of `Etc/GMT` contain a number.
    public static func isZoneName(_ text: String) -> Bool {
        if areSameBytes(text, "UTC") { return true }
        let mayCount = text.utf8.starts(with: "Etc/GMT".utf8)
        return text.utf8.contains(UInt8(ascii: "/")) && text.utf8.count <= 64
            && (text.utf8.first.map { isLetter($0) } ?? false)
            && text.utf8.allSatisfy {
                isLetter($0) || "_-/".utf8.contains($0) || mayCount && ((0x30...0x39).contains($0) || $0 == 0x2b)
            }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte & 0xdf) && byte < 0x80 }
}

/// The settings that a user controls. Without a row in the store, the defaults apply.
public struct Account: Sendable, Equatable {
    public var hidesPresence: Bool
    public var addedBy: AddedBy
    /// Only messages that mention the user, and those of PRIVATE rooms, are pushed.
    public var pushesMentionsOnly: Bool
    public var quietHours: QuietHours?

    public init(
        hidesPresence: Bool = false, addedBy: AddedBy = .everybody, pushesMentionsOnly: Bool = false,
        quietHours: QuietHours? = nil
    ) {
        self.hidesPresence = hidesPresence
        self.addedBy = addedBy
        self.pushesMentionsOnly = pushesMentionsOnly
        self.quietHours = quietHours
    }
}

/// nil: no change.
public struct AccountPatch: Sendable, Equatable {
    public var hidesPresence: Bool?
    public var addedBy: AddedBy?
    public var pushesMentionsOnly: Bool?
    /// `.some(nil)`: removes them.
    public var quietHours: QuietHours??

    public init(
        hidesPresence: Bool? = nil, addedBy: AddedBy? = nil, pushesMentionsOnly: Bool? = nil,
        quietHours: QuietHours?? = nil
    ) {
        self.hidesPresence = hidesPresence
        self.addedBy = addedBy
        self.pushesMentionsOnly = pushesMentionsOnly
        self.quietHours = quietHours
    }
}
