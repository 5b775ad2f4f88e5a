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

/// The settings that a user controls. Without a row in the store, the defaults apply.
public struct Account: Sendable, Equatable {
    public var hidesPresence: Bool
    public var addedBy: AddedBy

    public init(hidesPresence: Bool = false, addedBy: AddedBy = .everybody) {
        self.hidesPresence = hidesPresence
        self.addedBy = addedBy
    }
}

/// nil: no change.
public struct AccountPatch: Sendable, Equatable {
    public var hidesPresence: Bool?
    public var addedBy: AddedBy?

    public init(hidesPresence: Bool? = nil, addedBy: AddedBy? = nil) {
        self.hidesPresence = hidesPresence
        self.addedBy = addedBy
    }
}
