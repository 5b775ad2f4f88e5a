import ChatCore
import ChatProcess

/// A bulk export of Mattermost: JSON lines. In memory are users, channels, their members and the ids of posts, never posts;
/// rooms come at the end.
struct MattermostConverter {
    private let key: UserKey
    private let filesURL: String
    private let out: ConvertedLines
    private var rooms: [ByteText: Channel] = [:]
    /// Rooms in the order of the file.
    private var order: [ByteText] = []
    private var pairs: [[UUID128]: String] = [:]
    /// Mattermost's names to the host's ids.
    private var users: [ByteText: String] = [:]

    private struct Channel {
        var room: ConvertedLines.Room
        /// Of the first post that was stored: no channel says when it was made.
        var first: Int64?
        /// The author of a post: the OWNER of a room that everybody has left.
        var author: String?
    }

    /// - Parameter filesURL: where the folder `data` of the export is served; empty: nowhere.
    init(_ key: UserKey, filesURL: String, _ out: ConvertedLines) {
        self.key = key
        self.filesURL = filesURL
        self.out = out
    }

    mutating func take(_ line: LineReader.Line, _ number: Int) throws {
        out.place = ("", number, "line")
        guard case .bytes(var bytes) = line else { return out.leaveOut("a line that is too long") }
        if number == 1, bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes.removeFirst(3) }
        guard bytes.contains(where: { $0 > 0x20 }) else { return }
        let value: WireValue
        do throws(WireError) { value = try JSONReader.decode(bytes, .others) } catch {
            if error.isLimit { return out.leaveOut("a line that is \(error.text)") }
            throw OperatorError("line \(number) is not JSON: \(error.text), at byte \(error.offset + 1)")
        }
        try take(value)
    }

    private mutating func take(_ value: WireValue) throws {
        let type = value["type"]?.string ?? ""
        func body() -> WireValue { value[type] ?? .null }
        func isAny(_ types: String...) -> Bool { types.contains { areSameBytes($0, type) } }
        if isAny("post") {
            try post(body())
        } else if isAny("direct_post") {
            try directPost(body())
        } else if isAny("channel") {
            channel(body())
        } else if isAny("user", "bot") {
            try user(body())
        } else if isAny("direct_channel") {
            _ = direct(body())
        } else if !isAny("version", "info", "team", "role", "scheme") {
            out.leaveOut("a line of kind \(ImportReader.shown(type))")
        }
    }

    func finish() throws {
        out.place = ("", 0, "")
        for id in order {
            guard var channel = rooms[id] else { continue }
            channel.room.createdAt = channel.first ?? 0
            if channel.room.members.isEmpty, let author = channel.author { _ = channel.room.add(.init(id: author)) }
            _ = try out.room(channel.room)
        }
    }

    // MARK: Users and rooms

    private func roomID(_ value: WireValue) -> String {
        ConvertedLines.id(
            "mattermost/", [value["team"]?.string ?? "", value["channel"]?.string ?? value["name"]?.string ?? ""])
    }

    private mutating func add(_ room: ConvertedLines.Room) {
        order.append(ByteText(room.id))
        rooms[ByteText(room.id)] = Channel(room: room)
    }

    private mutating func channel(_ value: WireValue) {
        let id = roomID(value)
        guard rooms[ByteText(id)] == nil else { return out.leaveOut("a channel that occurs twice") }
        func text(_ keys: String...) -> String { keys.compactMap { value[$0]?.string }.first { !$0.isEmpty } ?? "" }
        add(
            ConvertedLines.Room(
                id: id, type: .group, name: text("display_name", "name"), description: text("purpose", "header"),
                createdAt: 0))
    }

    private mutating func user(_ value: WireValue) throws {
        guard let name = value["username"]?.string, !name.isEmpty else { return out.leaveOut("a user without a name") }
        let mail = value["email"]?.string
        let id = key == .email ? mail.flatMap { ConvertedLines.isUser($0) ? $0 : nil } ?? name : name
        users[ByteText(name)] = id
        let whole = [value["first_name"], value["last_name"]].compactMap { $0?.string }.filter { !$0.isEmpty }
            .joined(separator: " ")
        let nick = value["nickname"]?.string ?? value["display_name"]?.string ?? ""
        try out.user(id, name: !nick.isEmpty ? nick : !whole.isEmpty ? whole : name)
        for team in value["teams"]?.array ?? [] {
            for channel in team["channels"]?.array ?? [] {
                member(id, of: channel, team["name"]?.string ?? "")
            }
        }
    }

    private mutating func member(_ id: String, of channel: WireValue, _ team: String) {
        let room = ByteText(ConvertedLines.id("mattermost/", [team, channel["name"]?.string ?? ""]))
        guard rooms[room] != nil else { return out.leaveOut("a member of an unknown channel") }
        let roles = pieces(of: channel["roles"]?.string ?? "", at: UInt8(ascii: " "))
        let isAdmin = roles.contains { areSameBytes($0, "channel_admin") }
        let isMember = rooms[room]?.room.add(.init(id: id, isAdmin: isAdmin, seenAt: channel["last_viewed_at"]?.int))
        guard isMember == true else { return out.leaveOut("a member whose id is none here") }
        if isAdmin, rooms[room]?.room.owner == nil { rooms[room]?.room.owner = id }
    }

    private func user(_ name: String) -> String { users[ByteText(name)] ?? name }

    /// The room of a direct channel; nil: of one user alone.
    private mutating func direct(_ value: WireValue) -> String? {
        let participants = (value["participants"]?.array ?? []).compactMap { $0["username"] }
        let list = value["members"]?.array ?? value["channel_members"]?.array ?? participants
        let names = ByteText.sorted(list.compactMap { $0.string })
        let id = ConvertedLines.id("mattermost/direct/", names)
        guard rooms[ByteText(id)] == nil else { return id }
        var room = ConvertedLines.Room(
            id: id, type: names.count == 2 ? .privateRoom : .group,
            name: names.count == 2 ? "" : ConvertedLines.cut(names.joined(separator: ", "), 100),
            description: value["header"]?.string ?? "", createdAt: 0)
        for name in names where !room.add(.init(id: user(name))) { out.leaveOut("a member whose id is none here") }
        guard room.members.count > 1 else {
            out.leaveOut("a direct channel of one user")
            return nil
        }
        if room.type == .privateRoom {
            if let first = pairs[room.pair] { return first }
            pairs[room.pair] = id
        }
        add(room)
        return id
    }

    // MARK: Posts

    private mutating func post(_ value: WireValue) throws {
        let room = roomID(value)
        guard rooms[ByteText(room)] != nil else { return out.leaveOut("a post of an unknown channel") }
        try post(value, in: room)
    }

    private mutating func directPost(_ value: WireValue) throws {
        guard let room = direct(value) else { return }
        try post(value, in: room)
    }

    /// Answers to a post that is left out are messages.
    private mutating func post(_ value: WireValue, in room: String) throws {
        let root = try one(value, in: room, parent: nil)
        for reply in value["replies"]?.array ?? [] {
            if root == nil { out.leaveOut("the root of a thread, which is left out: the reply is a message") }
            _ = try one(reply, in: room, parent: root)
        }
    }

    /// - Returns: its id; nil: it was left out.
    private mutating func one(_ value: WireValue, in room: String, parent: (id: String, at: Int64)?) throws
        -> (id: String, at: Int64)?
    {
        guard let name = value["user"]?.string, let at = value["create_at"]?.int, acceptedTimes.contains(at) else {
            out.leaveOut("a post without a user or a time")
            return nil
        }
        if let kind = unsaid(value) {
            out.leaveOut(kind)
            return nil
        }
        let text = value["message"]?.string ?? ""
        let id = ConvertedLines.id("mattermost/", [room, name, "\(at)", text])
        var post = ConvertedLines.Post(id: id, room: room, sender: user(name), text: text, at: at)
        // An answer that was stored in the same millisecond comes behind its root all the same.
        if let parent { (post.parent, post.at) = (parent.id, max(at, parent.at + 1)) }
        post.editedAt = value["edit_at"]?.int
        post.reactions = reactions(value)
        post.files = (value["attachments"]?.array ?? []).map(file)
        guard let known = rooms[ByteText(room)], try out.post(post, in: known.room) else { return nil }
        rooms[ByteText(room)]?.first = min(known.first ?? at, at)
        if known.author == nil { rooms[ByteText(room)]?.author = post.sender }
        return (id, post.at)
    }

    /// Why a post is none of a user: notes of the system, and what was deleted. Those of integrations and plugins have texts.
    private func unsaid(_ value: WireValue) -> String? {
        let kind = value["type"]?.string ?? ""
        if kind.utf8.starts(with: "system_".utf8) { return "a post of kind \(ImportReader.shown(kind))" }
        return (value["delete_at"]?.int ?? 0) > 0 ? "a deleted post" : nil
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
