import ChatCore
import ChatProcess

/// A workspace export of Slack, unpacked: users.json, channels.json, groups.json, mpims.json, dms.json, and a folder of days
/// for each. In memory are users, rooms and the ids of one channel's messages, never messages.
struct SlackConverter {
    private let folder: SlackFolder
    private let key: UserKey
    private let out: ConvertedLines
    /// Slack's ids to the host's.
    private var users: [ByteText: String] = [:]
    /// Rooms of pairs: of one whose account was made anew there may be two channels.
    private var pairs: [[UUID128]: ConvertedLines.Room] = [:]

    init(_ path: String, _ key: UserKey, _ out: ConvertedLines) {
        folder = SlackFolder(path)
        self.key = key
        self.out = out
    }

    private static let lists: [(file: String, type: RoomType)] = [
        ("channels.json", .group), ("groups.json", .group), ("mpims.json", .group), ("dms.json", .privateRoom),
    ]

    mutating func run() throws {
        let inside = try folder.files("")
        func has(_ name: String) -> Bool { inside.contains { areSameBytes($0, name) } }
        guard has("users.json") else {
            throw OperatorError(
                "\(folder.name) has no users.json: give the folder of an unpacked export of Slack")
        }
        let lists = Self.lists.filter { has($0.file) }
        guard !lists.isEmpty else {
            let names = Self.lists.map(\.file).joined(separator: ", ")
            throw OperatorError("\(folder.name) has none of \(names): give the folder of an unpacked export of Slack")
        }
        try each("users.json") { try user($0) }
        var seen = Set((["users.json"] + lists.map(\.file)).map { ByteText($0) })
        for (file, type) in lists { try each(file) { try room($0, type, &seen) } }
        for name in inside where !seen.contains(ByteText(name)) {
            out.place = (InputFile.shown(name), 0, "")
            out.leaveOut("a file or a folder that no list of channels names")
        }
    }

    private func each(_ path: String, _ body: (WireValue) throws -> Void) throws {
        var elements = JSONElements(try folder.file(path))
        let name = InputFile.shown(path)
        while let element = try elements.next() {
            out.place = (name, elements.offset + 1, "at byte")
            switch element {
            case .tooLarge(let why): out.leaveOut("an element that \(why)")
            case .value(let value):
                if case .map = value { try body(value) } else { out.leaveOut("an element that is no object") }
            }
        }
    }

    // MARK: Users and rooms

    private mutating func user(_ value: WireValue) throws {
        guard let id = value["id"]?.string else { return out.leaveOut("a user without an id") }
        let profile = value["profile"] ?? .null
        let name = value["name"]?.string ?? id
        let known: String? =
            switch key {
            case .id: id
            case .name: name
            case .email: profile["email"]?.string
            }
        let isKnown = known.map { ConvertedLines.isUser($0) } ?? false
        if key == .email, !isKnown { out.leaveOut("an e-mail address that is missing: the user has Slack's id") }
        users[ByteText(id)] = isKnown ? known : id
        let shown =
            [profile["display_name"], profile["real_name"], value["real_name"]].compactMap { $0?.string }
            .first { !$0.isEmpty } ?? name
        try out.user(isKnown ? known ?? id : id, name: shown, avatar: profile["image_192"]?.string ?? "")
    }

    private func user(_ id: String) -> String { users[ByteText(id)] ?? id }

    private mutating func room(_ value: WireValue, _ type: RoomType, _ seen: inout Set<ByteText>) throws {
        guard let id = value["id"]?.string else { return out.leaveOut("a channel without an id") }
        let name = value["name"]?.string ?? ""
        let created = value["created"]?.int ?? 0
        var room = ConvertedLines.Room(
            id: "slack/\(id)", type: type, name: name,
            description: value["purpose"]?["value"]?.string ?? value["topic"]?["value"]?.string ?? "",
            createdAt: min(max(created, 0), acceptedTimes.upperBound / 1000) * 1000)
        room.owner = value["creator"]?.string.map { user($0) }
        for member in value["members"]?.array ?? [] {
            let isMember = member.string.map { room.add(.init(id: user($0))) } ?? false
            if !isMember { out.leaveOut("a member whose id is none here") }
        }
        // Folders of channels have the name, those of direct channels the id.
        let days = try folder.first([type == .privateRoom ? "" : name, id])
        if let days, !seen.insert(ByteText(days)).inserted {
            return out.leaveOut("a channel with the folder of another one")
        }
        try posts(of: days, id, &room)
    }

    /// The room comes behind its messages when it needs one of their authors.
    private mutating func posts(of days: String?, _ channel: String, _ room: inout ConvertedLines.Room) throws {
        let place = out.place
        if room.type == .privateRoom {
            guard room.members.count == 2 else { return out.leaveOut("a direct channel that is not of two users") }
            if let first = pairs[room.pair] {
                room = first
            } else {
                guard try out.room(room) else { return }
                pairs[room.pair] = room
            }
        } else if room.members.isEmpty, let owner = room.owner {
            // Slack lists no members of archived channels.
            _ = room.add(.init(id: owner))
        }
        if room.type != .privateRoom, !room.members.isEmpty { guard try out.room(room) else { return } }
        if days == nil { out.leaveOut("a channel without a folder of messages") }
        let author = try days.map { try posts(in: $0, channel, room) } ?? nil
        guard room.members.isEmpty else { return }
        if let author { _ = room.add(.init(id: author)) }
        out.place = place
        _ = try out.room(room)
    }

    // MARK: Messages

    /// - Returns: the first author; nil: no message was stored.
    private func posts(in days: String, _ channel: String, _ room: ConvertedLines.Room) throws -> String? {
        var (roots, author): ([ByteText: Int64], String?) = ([:], nil)
        out.forgetMessages()
        for name in try folder.files(days) {
            let path = "\(days)/\(name)"
            guard name.utf8.suffix(5).elementsEqual(".json".utf8) else {
                out.place = (InputFile.shown(path), 0, "")
                out.leaveOut("a file that is no list of messages")
                continue
            }
            try each(path) { value in
                let sender = try post(value, channel, room, &roots)
                author = author ?? sender
            }
        }
        return author
    }

    /// Kinds of messages that somebody wrote; others tell of an event.
    private static let said = [
        "bot_message", "thread_broadcast", "me_message", "file_share", "file_comment", "reply_broadcast",
    ]

    /// - Parameter roots: times of messages that replies may name.
    /// - Returns: the sender; nil: it was left out.
    private func post(
        _ value: WireValue, _ channel: String, _ room: ConvertedLines.Room, _ roots: inout [ByteText: Int64]
    ) throws -> String? {
        guard let ts = value["ts"]?.string, let at = Self.time(ts) else {
            out.leaveOut("a message without a time")
            return nil
        }
        let subtype = value["subtype"]?.string ?? ""
        guard subtype.isEmpty || Self.said.contains(where: { areSameBytes($0, subtype) }) else {
            out.leaveOut("a message of kind \(ImportReader.shown(subtype))")
            return nil
        }
        var post = ConvertedLines.Post(
            id: "slack/\(channel)/\(ts)", room: room.id, sender: sender(of: value),
            text: text(value["text"]?.string ?? ""), at: at)
        post.editedAt = value["edited"]?["ts"]?.string.flatMap(Self.time)
        let thread = value["thread_ts"]?.string
        if let thread, !areSameBytes(thread, ts) {
            if let root = roots[ByteText(thread)], root <= at {
                post.parent = "slack/\(channel)/\(thread)"
            } else {
                out.leaveOut("the root of a thread that is not before its reply: the reply is a message")
            }
        }
        post.reactions = reactions(value)
        post.files = (value["files"]?.array ?? []).map(file)
        guard try out.post(post, in: room) else { return nil }
        if let thread, areSameBytes(thread, ts) { roots[ByteText(ts)] = at }
        return post.sender
    }

    private func sender(of value: WireValue) -> String {
        if let id = value["user"]?.string { return user(id) }
        let bot = value["username"]?.string ?? value["bot_id"]?.string ?? "bot"
        return ConvertedLines.oneLine("bot:" + bot, HostUser.longest)
    }

    private func file(_ value: WireValue) -> ConvertedLines.File {
        .init(
            name: value["name"]?.string ?? value["title"]?.string ?? "", size: value["size"]?.int ?? 0,
            mediaType: value["mimetype"]?.string ?? "",
            url: value["url_private"]?.string ?? value["permalink"]?.string ?? "")
    }

    private func reactions(_ value: WireValue) -> [(emoji: String, users: [String])] {
        var found: [(emoji: String, users: [String])] = []
        for reaction in value["reactions"]?.array ?? [] {
            let name = reaction["name"]?.string ?? ""
            guard let emoji = EmojiNames.emoji(name) else {
                out.leaveOut("a reaction of an unknown name")
                continue
            }
            let users = (reaction["users"]?.array ?? []).compactMap { $0.string.map { user($0) } }
            if let place = found.firstIndex(where: { areSameBytes($0.emoji, emoji) }) {
                found[place].users += users
            } else if !users.isEmpty {
                found.append((emoji, users))
            }
        }
        return found
    }

    /// `1700000000.123456`: seconds and microseconds.
    static func time(_ text: String) -> Int64? {
        let parts = pieces(of: text, at: UInt8(ascii: "."), omittingEmpty: false)
        guard parts.count <= 2, parts.allSatisfy({ (1...12).contains($0.utf8.count) && $0.utf8.allSatisfy(isDigit) }),
            let whole = parts.first.flatMap({ Int64($0) }), whole <= acceptedTimes.upperBound / 1000
        else { return nil }
        let fraction = parts.count > 1 ? Array(parts[1].utf8.prefix(3)) : []
        return (0..<3).reduce(whole) { $0 * 10 + ($1 < fraction.count ? Int64(fraction[$1] - 0x30) : 0) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    /// Slack's marks as text: mentions keep their form with the host's id, links show their name and address.
    func text(_ text: String) -> String {
        var (result, rest) = ([UInt8](), Array(text.utf8)[...])
        while let open = rest.firstIndex(of: UInt8(ascii: "<")) {
            result += rest[..<open]
            guard let close = rest[open...].firstIndex(of: UInt8(ascii: ">")) else {
                rest = rest[open...]
                break
            }
            result += mark(String(decoding: rest[(open + 1)..<close], as: UTF8.self)).utf8
            rest = rest[(close + 1)...]
        }
        result += rest
        return String(decoding: Self.withoutEntities(result), as: UTF8.self)
    }

    private static let entities: [(name: [UInt8], byte: UInt8)] = [
        (Array("&lt;".utf8), UInt8(ascii: "<")), (Array("&gt;".utf8), UInt8(ascii: ">")),
        (Array("&amp;".utf8), UInt8(ascii: "&")),
    ]

    private static func withoutEntities(_ bytes: [UInt8]) -> [UInt8] {
        var (result, rest) = ([UInt8](), bytes[...])
        while let start = rest.firstIndex(of: UInt8(ascii: "&")) {
            result += rest[..<start]
            let entity = entities.first { rest[start...].starts(with: $0.name) }
            result.append(entity?.byte ?? UInt8(ascii: "&"))
            rest = rest[(start + (entity?.name.count ?? 1))...]
        }
        return result + rest
    }

    private func mark(_ mark: String) -> String {
        let parts = pieces(of: mark, at: UInt8(ascii: "|"), maxSplits: 1).map { String($0) }
        guard let first = parts.first, let kind = first.utf8.first else { return "" }
        let label = parts.count > 1 ? parts[1] : nil
        let name = String(first.utf8.dropFirst()) ?? ""
        switch kind {
        case UInt8(ascii: "@"): return "<@\(user(name))>"
        case UInt8(ascii: "#"): return "#" + (label ?? name)
        case UInt8(ascii: "!"): return "@" + (label ?? name)
        default: return label.map { "\($0) (\(first))" } ?? first
        }
    }
}
