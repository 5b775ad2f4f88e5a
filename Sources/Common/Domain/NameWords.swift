/// A search for users: the beginnings of words of their names.
public struct NameWords: Sendable, Equatable {
    /// Each has only letters and digits.
    public let words: [String]

    private static let maxWords = 5

    /// - Parameter text: words with any separators; the sixth and further words are ignored.
    /// - Returns: nil when it has neither a letter nor a digit.
    public init?(_ text: String) {
        let found = text.unicodeScalars.split { !Self.isPart($0) }.prefix(Self.maxWords).map { String($0) }
        guard !found.isEmpty else { return nil }
        words = found
    }

    private static func isPart(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .nonspacingMark,
            .spacingMark, .decimalNumber, .letterNumber:
            true
        default: false
        }
    }
}

/// The users whom a user may find by name: the host's choice.
public enum UserSearch: String, Sendable, CaseIterable {
    case off
    /// Members of rooms that both are in.
    case rooms
    case everybody
}
