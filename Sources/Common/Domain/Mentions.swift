import Glibc

/// Further mentions are ignored: a text of 16 KiB could contain hundreds.
private let mostMentions = 50

extension Message {
    /// The users mentioned by `@` and a UUID in the content.
    public var mentions: [UUID128] {
        var content = content
        return content.withUTF8 { mentionedUsers(in: UnsafeRawBufferPointer($0)) }
    }
}

/// The users mentioned by `@` and a UUID in a text: each once, in their order of appearance.
public func mentionedUsers(in text: UnsafeRawBufferPointer) -> [UUID128] {
    var found: [UUID128] = []
    var at = 0
    // Few texts contain an `@`, and every page of history needs this.
    while let next = placeOfSign(in: text, from: at), found.count < mostMentions {
        at = next + 1
        guard text.count - at >= 36,
            let user = UUID128(utf8: UnsafeRawBufferPointer(rebasing: text[at..<at + 36])), !found.contains(user)
        else { continue }
        found.append(user)
    }
    return found
}

private func placeOfSign(in text: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard let base = text.baseAddress, start < text.count,
        let found = memchr(base + start, Int32(UInt8(ascii: "@")), text.count - start)
    else { return nil }
    return UnsafeRawPointer(found) - base
}
