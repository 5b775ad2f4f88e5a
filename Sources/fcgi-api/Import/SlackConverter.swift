import ChatCore
import ChatProcess
import Glibc

/// A workspace export of Slack, unpacked: users.json, channels.json, groups.json, mpims.json, dms.json, and a folder of days
/// for each. In memory are users and rooms, never messages.
struct SlackConverter {
    private let folder: String
    private let key: UserKey
    private let out: ConvertedLines
    /// Slack's ids to the host's.
    private var users: [String: String] = [:]
    private var pairs: Set<[String]> = []

    init(_ folder: String, _ key: UserKey, _ out: ConvertedLines) {
        self.folder = folder
        self.key = key
        self.out = out
    }

    mutating func run() throws {
        guard access(folder + "/users.json", R_OK) == 0 else {
            throw OperatorError("\(folder) has no users.json: give the folder of an unpacked export of Slack")
        }
        try each("users.json") { try user($0) }
        for (file, type) in [
            ("channels.json", RoomType.group), ("groups.json", .group), ("mpims.json", .group),
            ("dms.json", .privateRoom),
        ] where access("\(folder)/\(file)", R_OK) == 0 {
            try each(file) { try room($0, type) }
        }
    }

    private func each(_ file: String, _ body: (WireValue) throws -> Void) throws {
        let path = "\(folder)/\(file)"
        let descriptor = try TransferCommands.open(path)
        defer { close(descriptor) }
        var elements = JSONElements(descriptor, path: path)
        while let element = try elements.next() { try body(element) }
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
        if known == nil { out.leaveOut("an e-mail address that is missing: the user has Slack's id") }
        users[id] = known ?? id
        let shown =
            [profile["display_name"], profile["real_name"], value["real_name"]].compactMap { $0?.string }
            .first { !$0.isEmpty } ?? name
        try out.user(known ?? id, name: shown, avatar: profile["image_192"]?.string ?? "")
    }

    private func user(_ id: String) -> String { users[id] ?? id }

    private mutating func room(_ value: WireValue, _ type: RoomType) throws {
        guard let id = value["id"]?.string else { return out.leaveOut("a channel without an id") }
        let members = (value["members"]?.array ?? []).compactMap { $0.string.map { user($0) } }
        let name = value["name"]?.string ?? ""
        guard type != .privateRoom || Set(members).count == 2 && members.count == 2 else {
            return out.leaveOut("a direct channel of one user")
        }
        guard type != .privateRoom || pairs.insert(members.sorted()).inserted else {
            return out.leaveOut("a second direct channel of two users")
        }
        let created = value["created"]?.int ?? 0
        var room = ConvertedLines.Room(
            id: "slack/\(id)", type: type, name: name,
            description: value["purpose"]?["value"]?.string ?? value["topic"]?["value"]?.string ?? "", members: members,
            createdAt: min(max(created, 0), acceptedTimes.upperBound / 1000) * 1000)
        let creator = value["creator"]?.string.map { user($0) }
        if let creator, members.contains(creator) { room.owner = creator }
        guard !members.isEmpty else { return out.leaveOut("a channel without members") }
        try out.room(room)
        // Folders of channels have the name, those of direct channels the id.
        guard isPlain(name), isPlain(id) else { return out.leaveOut("a channel whose name is no name of a folder") }
        let days = type == .privateRoom || name.isEmpty ? id : name
        try posts(of: days, id, room)
    }

    private func isPlain(_ name: String) -> Bool {
        !name.utf8.contains(UInt8(ascii: "/")) && !name.utf8.contains(0) && !areSameBytes(name, "..")
            && !areSameBytes(name, ".")
    }

    // MARK: Messages

    private func posts(of folder: String, _ channel: String, _ room: ConvertedLines.Room) throws {
        var roots: Set<String> = []
        for day in days(of: folder) {
            try each("\(folder)/\(day)") { value in
                try post(value, channel, room, &roots)
            }
        }
    }

    private func days(of name: String) -> [String] {
        guard let directory = opendir("\(folder)/\(name)") else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.utf8.count > 5, String(name.utf8.suffix(5)) == ".json" { names.append(name) }
        }
        return names.sorted()
    }

    /// - Parameter roots: messages that replies may name.
    private func post(
        _ value: WireValue, _ channel: String, _ room: ConvertedLines.Room, _ roots: inout Set<String>
    ) throws {
        guard let ts = value["ts"]?.string, let at = Self.time(ts) else {
            return out.leaveOut("a message without a time")
        }
        let subtype = value["subtype"]?.string
        let isSaid = [nil, "bot_message", "thread_broadcast", "me_message", "file_share"].contains(subtype)
        guard isSaid else { return out.leaveOut("a message of kind \(ImportReader.shown(subtype ?? ""))") }
        let thread = value["thread_ts"]?.string
        let bot = value["username"]?.string ?? value["bot_id"]?.string ?? "bot"
        var post = ConvertedLines.Post(
            id: "slack/\(channel)/\(ts)", room: "slack/\(channel)",
            sender: value["user"]?.string.map { user($0) } ?? ConvertedLines.cut("bot:" + bot, HostUser.longest),
            text: text(value["text"]?.string ?? ""), at: at)
        post.editedAt = value["edited"]?["ts"]?.string.flatMap(Self.time)
        if let thread, !areSameBytes(thread, ts) {
            if roots.contains(thread) {
                post.parent = "slack/\(channel)/\(thread)"
            } else {
                out.leaveOut("the root of a thread that is not in the export: its replies are messages")
            }
        }
        post.reactions = reactions(value)
        post.files = (value["files"]?.array ?? []).map(file)
        if try out.post(post, in: room), let thread, areSameBytes(thread, ts) { roots.insert(ts) }
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
        let parts = pieces(of: text, at: UInt8(ascii: "."))
        guard let whole = parts.first.flatMap({ Int64($0) }), whole >= 0, whole < acceptedTimes.upperBound / 1000 else {
            return nil
        }
        let fraction = parts.count > 1 ? Int64(String(parts[1].utf8.prefix(3)) ?? "") ?? 0 : 0
        return whole * 1000 + min(max(fraction, 0), 999)
    }

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
        return String(decoding: result, as: UTF8.self).replacing("&lt;", with: "<").replacing("&gt;", with: ">")
            .replacing("&amp;", with: "&")
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
