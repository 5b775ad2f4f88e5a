/// How others see a user, as the host application describes them.
public struct Profile: Sendable, Equatable {
    /// The host's own id of the user, if it is not a UUID.
    public var externalID: String?
    public var name: String
    /// The URL of a picture; empty: none.
    public var avatar: String
    /// The version of the stored row; a cache detects a change by it. 0: there is no row.
    public var version: Int64

    public init(externalID: String? = nil, name: String = "", avatar: String = "", version: Int64 = 0) {
        self.externalID = externalID
        self.name = name
        self.avatar = avatar
        self.version = version
    }

    /// A single line that shows something, of at most 128 bytes.
    ///
    /// Marks that change the direction of the text after the name are refused: pages show names within their own lines.
    /// The marks for a single letter (U+200E, U+200F, U+061C) affect nothing else and are used in right-to-left names.
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
            && bytes.allSatisfy(isURLByte)
    }
}
