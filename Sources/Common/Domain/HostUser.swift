/// A user as the host application names them.
///
/// A UUID in its 36-character form (upper or lower case) is itself. Any other text of 1 to 128 bytes stands for the
/// UUIDv5 of its bytes in the installation's namespace: bytes are compared, and nothing is normalized, so two spellings
/// of one letter are two users. The same text is the same user for every program and every host of the installation.
public struct HostUser: Sendable, Equatable {
    /// Bytes of a text.
    public static let longest = 128
    /// Drawn once at random. An installation that changes its namespace gives every user with a text another id.
    public static let standardNamespace = UUID128(high: 0x3b0c_4a9e_7d15_4f62, low: 0xa8f1_5c27_e09b_d643)
    /// `USER_NAMESPACE`. Set once, by a process that has one thread yet.
    nonisolated(unsafe) public static var namespace = standardNamespace

    public var id: UUID128
    /// The host's text; nil: the host's id is the UUID itself.
    public var externalID: String?

    public init(_ id: UUID128, externalID: String? = nil) {
        self.id = id
        self.externalID = externalID
    }

    /// Why a text names no user: the end of a sentence.
    public struct Problem: Error, Sendable { public let text: String }

    public init(_ text: String) throws(Problem) {
        if let id = UUID128(text) {
            self.init(id)
            return
        }
        guard !text.isEmpty else { throw Problem(text: "is empty") }
        guard text.utf8.count <= Self.longest else { throw Problem(text: "has more than \(Self.longest) bytes") }
        guard !text.unicodeScalars.contains(where: { isControl($0) }) else {
            throw Problem(text: "has control characters")
        }
        self.init(UUID128.v5(Array(text.utf8), in: Self.namespace), externalID: text)
    }
}
