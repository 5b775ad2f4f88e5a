import ChatCore
import ChatProcess
import Crypto

/// Which of a user's names in the other service is the id of the host application.
enum UserKey: String, CaseIterable {
    case id, name, email
}

/// Lines that an import reads, made by a converter.
final class ConvertedLines {
    private let emit: ([UInt8]) throws -> Void
    /// How often something was left out, by its reason.
    private(set) var leftOut: [String: Int] = [:]

    init(_ emit: @escaping ([UInt8]) throws -> Void) { self.emit = emit }

    func leaveOut(_ what: String) { leftOut[what, default: 0] += 1 }

    private func line(_ kind: String, _ fields: (inout JSONWriter) -> Void) throws {
        var writer = JSONWriter(reserving: 512)
        writer.map {
            $0.field("Kind", kind)
            fields(&$0)
        }
        try emit(writer.take())
    }

    func user(_ id: String, name: String, avatar: String = "") throws {
        try line("user") {
            $0.field("ID", id)
            let name = Self.oneLine(name, RequestLimit.userName)
            if Profile.isName(name) { $0.field("Name", name) }
            if !avatar.isEmpty, Profile.isAvatar(avatar) { $0.field("Avatar", avatar) }
        }
    }

    struct Room {
        var id: String
        var type: RoomType
        var name = ""
        var description = ""
        /// The first is the owner, unless `owner` is another of them.
        var members: [String]
        var admins: Set<String> = []
        var owner: String?
        var createdAt: Int64
        /// By user; a user who is absent has read everything.
        var seenAt: [String: Int64] = [:]

        /// Only the two write and react in a PRIVATE room.
        func isOpen(to user: String) -> Bool {
            type != .privateRoom || members.contains { areSameBytes($0, user) }
        }
    }

    func room(_ room: Room) throws {
        guard let owner = room.owner ?? room.members.first else { return leaveOut("a channel without members") }
        try line("room") {
            $0.field("ID", room.id)
            $0.field("Type", room.type.name)
            if room.type != .privateRoom {
                $0.field("Name", Self.oneLine(room.name, RequestLimit.roomName))
                $0.field("Description", Self.cut(Self.plain(room.description), RequestLimit.roomDescription))
            }
            $0.field("OwnerID", owner)
            if room.type == .privateRoom { $0.array("Members", room.members) { $0.string($1) } }
            $0.field("CreatedAt", time: room.createdAt)
        }
        for member in room.members {
            let isOwner = areSameBytes(member, owner) && room.type != .privateRoom
            try line("member") {
                $0.field("RoomID", room.id)
                $0.field("UserID", member)
                $0.field("Role", (isOwner ? Role.owner : room.admins.contains(member) ? .admin : .member).name)
                $0.field("JoinedAt", time: room.createdAt)
                if let seen = room.seenAt[member] { $0.field("LastSeenAt", time: seen) }
            }
        }
    }

    struct Post {
        var id: String
        var room: String
        var sender: String
        var text: String
        var at: Int64
        var editedAt: Int64?
        var parent: String?
        var reactions: [(emoji: String, users: [String])] = []
        var files: [File] = []
    }

    struct File {
        var name: String
        var size: Int64 = 0
        var mediaType = ""
        var url: String
    }

    /// A text longer than a message becomes several; each file is a message of its own. The first has the post's id.
    ///
    /// - Returns: whether there is one.
    func post(_ post: Post, in room: Room) throws -> Bool {
        guard room.isOpen(to: post.sender) else {
            leaveOut("a message of somebody else in a direct channel")
            return false
        }
        var post = post
        for place in post.reactions.indices { post.reactions[place].users.removeAll { !room.isOpen(to: $0) } }
        post.reactions.removeAll(where: \.users.isEmpty)
        if post.reactions.count > RequestLimit.reactions {
            leaveOut("reactions of a message with more than \(RequestLimit.reactions) different ones")
            post.reactions.removeLast(post.reactions.count - RequestLimit.reactions)
        }
        var count = 0
        func next(_ content: (inout JSONWriter) -> Void) throws {
            try message(post, suffix: count == 0 ? "" : "/\(count)", isFirst: count == 0, content)
            count += 1
        }
        for part in Self.parts(Self.plain(post.text)) { try next { $0.field("Content", part) } }
        for file in post.files {
            guard WebAddress.isLink(file.url) else {
                leaveOut("a file without an address")
                continue
            }
            try next { Self.write(file, to: &$0) }
        }
        if count == 0 { leaveOut("a message without text and files") }
        return count > 0
    }

    private static func write(_ file: File, to writer: inout JSONWriter) {
        let (type, name) = (MediaType(file.mediaType), fileName(file.name))
        writer.field("Content", name)
        writer.field("ContentType", (type?.contentType ?? .file).name)
        writer.map("File") {
            $0.field("Name", name)
            $0.field("Size", min(max(0, file.size), ImportLimit.fileSize))
            $0.field("ContentType", type?.description ?? "application/octet-stream")
            $0.field("URL", file.url)
        }
    }

    private func message(
        _ post: Post, suffix: String, isFirst: Bool, _ content: (inout JSONWriter) -> Void
    ) throws {
        try line("message") {
            $0.field("ID", post.id + suffix)
            $0.field("RoomID", post.room)
            $0.field("SenderID", post.sender)
            if let parent = post.parent {
                $0.field("MessageType", MessageType.replied.name)
                $0.field("ParentMessageID", parent)
            }
            content(&$0)
            $0.field("CreatedAt", time: post.at)
            if let edited = post.editedAt { $0.field("EditedAt", time: edited) }
            guard isFirst, !post.reactions.isEmpty else { return }
            $0.array("Reactions", post.reactions) { writer, reaction in
                writer.map {
                    $0.field("Reaction", reaction.emoji)
                    $0.array("Users", reaction.users) { $0.string($1) }
                }
            }
        }
    }
}

extension ConvertedLines {
    /// An id of at most 128 bytes for what has none of its own: always the same for the same parts.
    static func id(_ prefix: String, _ parts: [String]) -> String {
        var hash = SHA256()
        for part in parts {
            // Lengths, so that the end of a part is no part of the next one.
            hash.update(data: Array("\(part.utf8.count):".utf8))
            hash.update(data: Array(part.utf8))
        }
        return prefix + hex(Array(hash.finalize().prefix(16)))
    }

    /// Without what no message holds: control characters but for line ends and tabs.
    static func plain(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let isKept =
                scalar == "\n" || scalar == "\r" || scalar == "\t" || scalar.properties.generalCategory != .control
            if isKept { scalars.append(scalar) }
        }
        let plain = String(scalars)
        return plain.showsSomething ? plain : ""
    }

    static func oneLine(_ text: String, _ limit: Int) -> String {
        let scalars = text.unicodeScalars.map { scalar -> Unicode.Scalar in
            scalar.properties.generalCategory == .control ? " " : scalar
        }
        return cut(String(String.UnicodeScalarView(scalars)), limit)
    }

    static func fileName(_ text: String) -> String {
        let scalars = text.unicodeScalars.filter {
            !$0.turnsText && $0 != "/" && $0 != "\\" && $0.properties.generalCategory != .control
        }
        let name = cut(String(String.UnicodeScalarView(scalars)), RequestLimit.fileName)
        return name.showsSomething && !areSameBytes(name, ".") && !areSameBytes(name, "..") ? name : "file"
    }

    /// At most so many bytes, ending at the end of a letter's code.
    static func cut(_ text: String, _ limit: Int) -> String {
        guard text.utf8.count > limit else { return text }
        var (bytes, end) = (0, text.unicodeScalars.startIndex)
        for index in text.unicodeScalars.indices {
            bytes += UTF8.width(text.unicodeScalars[index])
            guard bytes <= limit else { break }
            end = text.unicodeScalars.index(after: index)
        }
        return String(text.unicodeScalars[..<end])
    }

    static func parts(_ text: String) -> [String] {
        var (rest, parts) = (text, [String]())
        while !rest.isEmpty {
            let part = cut(rest, RequestLimit.content)
            if part.showsSomething { parts.append(part) }
            rest = String(rest.utf8.dropFirst(part.utf8.count)) ?? ""
        }
        return parts
    }
}
