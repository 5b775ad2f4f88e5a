/// A user as the host application names them.
///
/// A UUID in its 36-character form (upper or lower case) is used as it is. Any other text of 1 to 128 bytes is mapped
/// to the UUIDv5 of its bytes in the installation's namespace. Bytes are compared, and nothing is normalized, so two
/// spellings of one letter are two users. The same text is the same user for every program and host of the
/// installation.
public struct HostUser: Sendable, Equatable {
    /// Bytes of a text.
    public static let longest = 128
    /// Random, drawn once. With another namespace every user whose id is a text gets another UUID.
    public static let standardNamespace = UUID128(high: 0x3b0c_4a9e_7d15_4f62, low: 0xa8f1_5c27_e09b_d643)
    /// `USER_NAMESPACE`. Set once, while the process has only one thread.
    nonisolated(unsafe) public static var namespace = standardNamespace

    public var id: UUID128
    /// The host's text; nil: the host's id is the UUID itself.
    public var externalID: String?

    public init(_ id: UUID128, externalID: String? = nil) {
        self.id = id
        self.externalID = externalID
    }

    /// Why a text names no user: the end of a sentence that begins with the field's name.
    public struct Problem: Error, Sendable { public let text: String }

    public init(_ text: String) throws(Problem) {
        if let id = UUID128(text) {
            self.init(id)
            return
        }
        try Self.check(text)
        self.init(UUID128.v5(Array(text.utf8), in: Self.namespace), externalID: text)
    }

    /// The rule for all texts that are ids of the host.
    static func check(_ text: String) throws(Problem) {
        guard !text.isEmpty else { throw Problem(text: "is empty") }
        guard text.utf8.count <= Self.longest else { throw Problem(text: "has more than \(Self.longest) bytes") }
        guard !text.unicodeScalars.contains(where: { isControl($0) }) else {
            throw Problem(text: "has control characters")
        }
    }
}
