import ChatCore
import ChatProcess

/// A bulk export of Mattermost: JSON lines. In memory are channels and their members, never posts; rooms come at the end.
struct MattermostConverter {
    private let key: UserKey
    private let filesURL: String
    private let out: ConvertedLines
    private var rooms: [String: ConvertedLines.Room] = [:]
    /// Rooms in the order of the file.
    private var order: [String] = []
    /// Mattermost's names to the host's ids.
    private var users: [String: String] = [:]
    /// Times of the first and last post of each room: no channel says when it was made.
    private var first: [String: Int64] = [:]

    /// - Parameter filesURL: where the folder `data` of the export is served; empty: nowhere.
    init(_ key: UserKey, filesURL: String, _ out: ConvertedLines) {
        self.key = key
        self.filesURL = filesURL
        self.out = out
    }

    mutating func take(_ line: LineReader.Line, _ number: Int64) throws {
        guard case .bytes(let bytes) = line else { throw OperatorError("line \(number) is too long") }
        guard bytes.contains(where: { $0 > 0x20 }) else { return }
        let value = try JSONElements.value(bytes, "line \(number)")
        switch value["type"]?.string {
        case "channel": channel(value["channel"] ?? .null)
        case "user": try user(value["user"] ?? .null)
        case "direct_channel": _ = direct(value["direct_channel"] ?? .null)
        case "post": try post(value["post"] ?? .null)
        case "direct_post": try directPost(value["direct_post"] ?? .null)
        case "version", "info", "team", "role", "scheme": break
        default: out.leaveOut("a line of kind \(ImportReader.shown(value["type"]?.string ?? ""))")
        }
    }

    func finish() throws {
        for id in order {
            guard var room = rooms[id] else { continue }
            room.createdAt = first[id] ?? 0
            try out.room(room)
        }
    }

    // MARK: Users and rooms

    private func roomID(_ value: WireValue) -> String {
        ConvertedLines.id(
            "mattermost/", [value["team"]?.string ?? "", value["channel"]?.string ?? value["name"]?.string ?? ""])
    }

    private mutating func channel(_ value: WireValue) {
        let id = roomID(value)
        guard rooms[id] == nil else { return }
        order.append(id)
        rooms[id] = .init(
            id: id, type: .group, name: value["display_name"]?.string ?? value["name"]?.string ?? "",
            description: value["purpose"]?.string ?? value["header"]?.string ?? "", members: [], createdAt: 0)
    }

    private mutating func user(_ value: WireValue) throws {
        guard let name = value["username"]?.string else { return out.leaveOut("a user without a name") }
        let id = key == .email ? value["email"]?.string ?? name : name
        users[name] = id
        let whole = [value["first_name"], value["last_name"]].compactMap { $0?.string }.filter { !$0.isEmpty }
            .joined(separator: " ")
        let nick = value["nickname"]?.string ?? ""
        try out.user(id, name: !nick.isEmpty ? nick : !whole.isEmpty ? whole : name)
        for team in value["teams"]?.array ?? [] {
            for channel in team["channels"]?.array ?? [] {
                let room = ConvertedLines.id(
                    "mattermost/", [team["name"]?.string ?? "", channel["name"]?.string ?? ""])
                guard rooms[room] != nil else {
                    out.leaveOut("a member of an unknown channel")
                    continue
                }
                rooms[room]?.members.append(id)
                if channel["roles"]?.string?.contains("channel_admin") == true {
                    rooms[room]?.admins.insert(id)
                    if rooms[room]?.owner == nil { rooms[room]?.owner = id }
                }
                if let seen = channel["last_viewed_at"]?.int, acceptedTimes.contains(seen), seen > 0 {
                    rooms[room]?.seenAt[id] = seen
                }
            }
        }
    }

    private func user(_ name: String) -> String { users[name] ?? name }

    /// The room of a direct channel; nil: of one user alone.
    private mutating func direct(_ value: WireValue) -> String? {
        let names = (value["members"]?.array ?? value["channel_members"]?.array ?? []).compactMap { $0.string }
        let members = Set(names).sorted().map { user($0) }
        guard members.count > 1 else {
            out.leaveOut("a direct channel of one user")
            return nil
        }
        let id = ConvertedLines.id("mattermost/direct/", Set(names).sorted())
        if rooms[id] == nil {
            order.append(id)
            rooms[id] = .init(
                id: id, type: members.count == 2 ? .privateRoom : .group,
                name: members.count == 2 ? "" : ConvertedLines.cut(names.sorted().joined(separator: ", "), 100),
                description: value["header"]?.string ?? "", members: members, createdAt: 0)
        }
        return id
    }

    // MARK: Posts

    private mutating func post(_ value: WireValue) throws {
        let room = roomID(value)
        guard rooms[room] != nil else { return out.leaveOut("a post of an unknown channel") }
        try post(value, in: room)
    }

    private mutating func directPost(_ value: WireValue) throws {
        guard let room = direct(value) else { return }
        try post(value, in: room)
    }

    private mutating func post(_ value: WireValue, in room: String) throws {
        guard let root = try one(value, in: room, parent: nil) else { return }
        for reply in value["replies"]?.array ?? [] { _ = try one(reply, in: room, parent: root) }
    }

    /// - Returns: its id; nil: it was left out.
    private mutating func one(_ value: WireValue, in room: String, parent: (id: String, at: Int64)?) throws
        -> (id: String, at: Int64)?
    {
        guard let name = value["user"]?.string, let at = value["create_at"]?.int, acceptedTimes.contains(at) else {
            out.leaveOut("a post without a user or a time")
            return nil
        }
        let kind = value["type"]?.string ?? ""
        guard kind.isEmpty || areSameBytes(kind, "me") else {
            out.leaveOut("a post of kind \(ImportReader.shown(kind))")
            return nil
        }
        let text = value["message"]?.string ?? ""
        let id = ConvertedLines.id("mattermost/", [room, name, "\(at)", text])
        first[room] = min(first[room] ?? at, at)
        var post = ConvertedLines.Post(id: id, room: room, sender: user(name), text: text, at: at)
        // An answer that was stored in the same millisecond comes behind its root all the same.
        if let parent { (post.parent, post.at) = (parent.id, max(at, parent.at + 1)) }
        post.editedAt = value["edit_at"]?.int.flatMap { acceptedTimes.contains($0) && $0 > 0 ? $0 : nil }
        post.reactions = reactions(value)
        post.files = (value["attachments"]?.array ?? []).map(file)
        guard let known = rooms[room] else { return nil }
        return try out.post(post, in: known) ? (id, post.at) : nil
    }

    private func file(_ value: WireValue) -> ConvertedLines.File {
        let path = value["path"]?.string ?? ""
        let name = pieces(of: path, at: UInt8(ascii: "/")).last.map { String($0) } ?? ""
        return .init(name: name, url: filesURL.isEmpty || path.isEmpty ? "" : filesURL + Self.encoded(path))
    }

    private static func encoded(_ path: String) -> String {
        path.utf8.reduce(into: "") { text, byte in
            let isPlain = isHTTPTokenByte(byte) && !"%`^|\"'*".utf8.contains(byte) || byte == UInt8(ascii: "/")
            text += isPlain ? String(UnicodeScalar(byte)) : "%" + hex([byte])
        }
    }

    private func reactions(_ value: WireValue) -> [(emoji: String, users: [String])] {
        var found: [(emoji: String, users: [String])] = []
        for reaction in value["reactions"]?.array ?? [] {
            guard let name = reaction["user"]?.string,
                let emoji = EmojiNames.emoji(reaction["emoji_name"]?.string ?? "")
            else {
                out.leaveOut("a reaction of an unknown name")
                continue
            }
            if let place = found.firstIndex(where: { areSameBytes($0.emoji, emoji) }) {
                found[place].users.append(user(name))
            } else {
                found.append((emoji, [user(name)]))
            }
        }
        return found
    }
}
