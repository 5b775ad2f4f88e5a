import Glibc

/// Further mentions are ignored: a text of 16 KiB could contain hundreds.
private let maxMentions = 50
/// Counts every `<@`, also one that mentions nobody or the same user again: each costs a hash, on every page of
/// history.
private let maxTries = 100

extension Message {
    /// The users mentioned in the content, by `@` and a UUID or by `<@…>` with the host's id.
    public var mentions: [UUID128] {
        var content = content
        return content.withUTF8 { mentionedUsers(in: UnsafeRawBufferPointer($0)) }
    }
}

/// The users mentioned in a text by `@` and a UUID, or by a user's id in either form between `<@` and `>`. Each user
/// appears once, in the order of the text.
public func mentionedUsers(in text: UnsafeRawBufferPointer) -> [UUID128] {
    var found: [UUID128] = []
    var (at, tries) = (0, 0)
    // Few texts contain an `@`, and every page of history needs this.
    while let next = place(of: UInt8(ascii: "@"), in: text, from: at), found.count < maxMentions {
        at = next + 1
        let isMarked = next > 0 && text[next - 1] == UInt8(ascii: "<") && tries < maxTries
        if isMarked { tries += 1 }
        guard let user = (isMarked ? hostUser(in: text, at: at) : nil) ?? plainUser(in: text, at: at),
            !found.contains(user)
        else { continue }
        found.append(user)
    }
    return found
}

private func plainUser(in text: UnsafeRawBufferPointer, at start: Int) -> UUID128? {
    guard text.count - start >= 36 else { return nil }
    return UUID128(utf8: UnsafeRawBufferPointer(rebasing: text[start..<start + 36]))
}

/// The id ends at the first `>`. A user whose id contains `>` is mentioned by the UUID.
private func hostUser(in text: UnsafeRawBufferPointer, at start: Int) -> UUID128? {
    let end = min(text.count, start + HostUser.longest + 1)
    guard
        let close = place(
            of: UInt8(ascii: ">"), in: UnsafeRawBufferPointer(rebasing: text[..<end]), from: start)
    else { return nil }
    return (try? HostUser(String(decoding: text[start..<close], as: UTF8.self)))?.id
}

private func place(of byte: UInt8, in text: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard let base = text.baseAddress, start < text.count,
        let found = memchr(base + start, Int32(byte), text.count - start)
    else { return nil }
    return UnsafeRawPointer(found) - base
}
