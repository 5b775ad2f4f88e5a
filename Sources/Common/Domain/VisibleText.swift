extension String {
    /// Whether the text shows anything: white space and characters without width look empty to people.
    public var showsSomething: Bool { unicodeScalars.contains { $0.isVisible } }
}

extension Unicode.Scalar {
    /// Marks that display "jpg.exe" as "exe.gpj" (UAX #9).
    public var turnsText: Bool {
        (0x202a...0x202e).contains(value) || (0x2066...0x2069).contains(value) || value == 0x200e || value == 0x200f
            || value == 0x061c
    }

    /// Marks whose effect continues until another mark ends it.
    var embedsText: Bool { (0x202a...0x202e).contains(value) || (0x2066...0x2069).contains(value) }

    fileprivate var isVisible: Bool {
        // One printable character is blank: the Braille pattern without dots.
        guard !properties.isWhitespace, !properties.isDefaultIgnorableCodePoint, value != 0x2800 else { return false }
        switch properties.generalCategory {
        case .control, .format, .surrogate, .unassigned, .spaceSeparator, .lineSeparator, .paragraphSeparator:
            return false
        default: return true
        }
    }
}

/// One emoji in one canonical spelling.
public enum Emoji {
    private static let textStyle: Unicode.Scalar = "\u{fe0e}"
    private static let emojiStyle: Unicode.Scalar = "\u{fe0f}"
    private static let joiner: Unicode.Scalar = "\u{200d}"
    private static let keycap: Unicode.Scalar = "\u{20e3}"
    private static let endOfTag: Unicode.Scalar = "\u{e007f}"

    /// The fully qualified form (UTS #51, ED-18a) of a text that is exactly one emoji; nil otherwise. Phones and
    /// keyboards differ in variation selectors: two hearts that look the same must be one reaction.
    public static func normalized(_ text: String) -> String? {
        var rest = text.unicodeScalars.filter { $0 != textStyle && $0 != emojiStyle }[...]
        var result = String.UnicodeScalarView()
        guard let first = rest.first else { return nil }
        if isRegion(first) {
            guard rest.count == 2, rest.allSatisfy(isRegion) else { return nil }
            result.append(contentsOf: rest)
        } else if first.isASCII {
            guard rest.count == 2, rest.last == keycap, "0123456789#*".unicodeScalars.contains(first) else {
                return nil
            }
            result.append(contentsOf: [first, emojiStyle, keycap])
        } else {
            repeat {
                guard let part = element(&rest) else { return nil }
                result.append(contentsOf: part)
                guard rest.isEmpty || rest.first == joiner, rest.count != 1 else { return nil }
                if let joiner = rest.popFirst() { result.append(joiner) }
            } while !rest.isEmpty
        }
        return String(result)
    }

    /// One picture with its skin tone or its flag tags.
    private static func element(_ rest: inout Substring.UnicodeScalarView) -> [Unicode.Scalar]? {
        guard let base = rest.popFirst(), base.properties.isEmoji, !base.isASCII, !isRegion(base) else { return nil }
        var part = [base]
        if let tone = rest.first, tone.properties.isEmojiModifier, base.properties.isEmojiModifierBase {
            part.append(tone)
            rest.removeFirst()
        } else if !base.properties.isEmojiPresentation {
            part.append(emojiStyle)
        }
        while let tag = rest.first, (0xe0020...0xe007f).contains(tag.value) {
            part.append(tag)
            rest.removeFirst()
            if tag == endOfTag { return part }
        }
        return part.last.map { (0xe0020...0xe007e).contains($0.value) } == true ? nil : part
    }

    private static func isRegion(_ scalar: Unicode.Scalar) -> Bool { (0x1f1e6...0x1f1ff).contains(scalar.value) }
}
