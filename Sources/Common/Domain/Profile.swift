/// How others see a user: what the host application says of them.
public struct Profile: Sendable, Equatable {
    /// The host's own id of the user, where that is no UUID.
    public var externalID: String?
    public var name: String
    /// The URL of a picture; empty: none.
    public var avatar: String
    /// Of the stored row: whoever remembers the profile sees by it that it changed; 0: there is none.
    public var version: Int64

    public init(externalID: String? = nil, name: String = "", avatar: String = "", version: Int64 = 0) {
        self.externalID = externalID
        self.name = name
        self.avatar = avatar
        self.version = version
    }

    /// A single line that shows something, of at most 128 bytes.
    ///
    /// Marks that turn the text behind the name are refused: a page shows names within lines of its own. The marks of
    /// one letter (U+200E, U+200F, U+061C) turn nothing else, and stand in names of right-to-left scripts.
    public static func isName(_ text: String) -> Bool {
        text.utf8.count <= RequestLimit.userName && text.showsSomething
            && !text.unicodeScalars.contains { scalar in
                isControl(scalar) || scalar.embedsText || scalar.value == 0x2028 || scalar.value == 0x2029
            }
    }

    /// An http or https URL of at most 1024 bytes, in ASCII.
    public static func isAvatar(_ text: String) -> Bool {
        let bytes = text.utf8
        return bytes.count <= RequestLimit.avatar
            && (bytes.starts(with: "https://".utf8) || bytes.starts(with: "http://".utf8))
            && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"\"<>\\^`{|}".utf8.contains($0) }
    }
}
