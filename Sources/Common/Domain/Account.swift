/// Whom a user lets put them into a room: into a GROUP or CHANNEL, or into the PRIVATE room of the two. What a user does
/// themselves (making a room, joining by a link, writing first) asks nobody.
public enum AddedBy: Int16, Sendable, CaseIterable {
    case everybody = 1
    /// Those who are in a room with them today.
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

/// What users set for themselves. No row in the store: all of these.
public struct Account: Sendable, Equatable {
    public var hidesPresence: Bool
    public var addedBy: AddedBy

    public init(hidesPresence: Bool = false, addedBy: AddedBy = .everybody) {
        self.hidesPresence = hidesPresence
        self.addedBy = addedBy
    }
}

/// nil: stays as it is.
public struct AccountPatch: Sendable, Equatable {
    public var hidesPresence: Bool?
    public var addedBy: AddedBy?

    public init(hidesPresence: Bool? = nil, addedBy: AddedBy? = nil) {
        self.hidesPresence = hidesPresence
        self.addedBy = addedBy
    }
}
