import ChatCore
import Crypto

/// Which of a user's names in the other service is the id of the host application.
enum UserKey: String, CaseIterable {
    case id, name, email
}

/// Lines that an import takes, made by a converter. What no import would take is left out and counted, so one odd element
/// refuses no export.
final class ConvertedLines {
    private let emit: (_ line: [UInt8], ImportRecord) throws -> Void
    /// Unix milliseconds: nothing happened later.
    private let now: Int64
    private var losses = ConversionLosses()
    private var users: Set<UUID128> = []
    private var rooms: Set<UUID128> = []
    /// Halves of the ids of messages: a second one of an id would be another content of the first.
    private var messages: Set<UInt64> = []
    /// Where the converter is in the export.
    var place: (file: String, number: Int, unit: String) = ("", 0, "")

    init(now: Int64, _ emit: @escaping (_ line: [UInt8], ImportRecord) throws -> Void) {
        self.now = now
        self.emit = emit
    }

    // MARK: What is left out

    func leaveOut(_ reason: String) {
        losses.note(reason) {
            place.unit.isEmpty
                ? place.file : "\(place.file)\(place.file.isEmpty ? "" : " ")\(place.unit) \(place.number)"
        }
    }

    /// A sentence for each reason.
    var leftOut: [String] { losses.sentences }

    /// Ids of messages that come later are others.
    func forgetMessages() { messages.removeAll() }

    private enum Outcome {
        case written
        /// With the sentence of the import about the line.
        case refused(String)
    }

    private func line(_ kind: String, _ fields: (inout JSONWriter) -> Void) throws -> Outcome {
        var writer = JSONWriter(reserving: 512)
        writer.map {
            $0.field("Kind", kind)
            fields(&$0)
        }
        let bytes = writer.take()
        switch ImportReader.read(bytes, now: now) {
        case .problems(let texts): return .refused(texts.first ?? "")
        case .record(let record):
            try emit(bytes, record)
            return .written
        }
    }

    // MARK: Users and rooms

    /// Whether an import takes the text as a user's id.
    static func isUser(_ id: String) -> Bool { (try? HostUser(id)) != nil }

    func user(_ id: String, name: String, avatar: String = "") throws {
        guard let known = try? HostUser(id) else { return leaveOut("a user whose id is none here") }
        guard users.insert(known.id).inserted else { return leaveOut("a second user of one id") }
        let outcome = try line("user") {
            $0.field("ID", id)
            let name = Self.oneLine(name, RequestLimit.userName)
            if Profile.isName(name) { $0.field("Name", name) }
            if !avatar.isEmpty, Profile.isAvatar(avatar) { $0.field("Avatar", avatar) }
        }
        if case .refused(let why) = outcome { leaveOut("a user: \(why)") }
    }

    struct Member {
        var id: String
        var isAdmin = false
        /// nil: the user has read everything.
        var seenAt: Int64?
    }

    struct Room {
        var id: String
        var type: RoomType
        var name = ""
        var description = ""
        private(set) var members: [Member] = []
        private var users: Set<UUID128> = []
        /// nil, or no member: the first one.
        var owner: String?
        /// A time that cannot be is 1970.
        var createdAt: Int64

        init(id: String, type: RoomType, name: String = "", description: String = "", createdAt: Int64) {
            self.id = id
            self.type = type
            self.name = name
            self.description = description
            self.createdAt = createdAt
        }

        /// - Returns: false: the id is none here. A second one of a user is the first.
        mutating func add(_ member: Member) -> Bool {
            guard let user = try? HostUser(member.id) else { return false }
            if users.insert(user.id).inserted { members.append(member) }
            return true
        }

        /// The same for two channels of one pair.
        var pair: [UUID128] { users.sorted() }

        func has(_ user: String) -> Bool { (try? HostUser(user)).map { users.contains($0.id) } ?? false }

        /// Only the two write and react in a PRIVATE room.
        func isOpen(to user: String) -> Bool { type != .privateRoom || has(user) }
    }

    /// - Returns: whether it was written, so that messages may name it.
    func room(_ room: Room) throws -> Bool {
        guard let first = room.members.first?.id else {
            leaveOut("a channel without members")
            return false
        }
        guard let id = try? ImportID.room(room.id) else {
            leaveOut("a channel whose id is none here")
            return false
        }
        guard rooms.insert(id).inserted else {
            leaveOut("a channel that occurs twice")
            return false
        }
        let owner = room.owner.flatMap { room.has($0) ? $0 : nil } ?? first
        // A name that is none here is not the room's fault.
        let name = Self.oneLine(room.name, RequestLimit.roomName)
        var outcome = try head(room, owner, name.showsSomething ? name : Self.cut(room.id, RequestLimit.roomName))
        if case .refused(let why) = outcome {
            leaveOut("the name of a channel: \(why)")
            outcome = try head(room, owner, Self.cut(room.id, RequestLimit.roomName))
        }
        if case .refused(let why) = outcome {
            leaveOut("a channel: \(why)")
            return false
        }
        for member in room.members { try self.member(member, of: room, owner) }
        return true
    }

    /// 1970 for a time that cannot be.
    private func past(_ time: Int64) -> Int64 { (0...now).contains(time) ? time : 0 }

    private func head(_ room: Room, _ owner: String, _ name: String) throws -> Outcome {
        try line("room") {
            $0.field("ID", room.id)
            $0.field("Type", room.type.name)
            if room.type != .privateRoom {
                $0.field("Name", name)
                $0.field("Description", Self.cut(Self.plain(room.description), RequestLimit.roomDescription))
            }
            $0.field("OwnerID", owner)
            if room.type == .privateRoom { $0.array("Members", room.members) { $0.string($1.id) } }
            $0.field("CreatedAt", time: past(room.createdAt))
        }
    }

    private func member(_ member: Member, of room: Room, _ owner: String) throws {
        let isOwner = areSameBytes(member.id, owner) && room.type != .privateRoom
        let isAdmin = member.isAdmin && room.type != .privateRoom
        let outcome = try line("member") {
            $0.field("RoomID", room.id)
            $0.field("UserID", member.id)
            $0.field("Role", (isOwner ? Role.owner : isAdmin ? .admin : .member).name)
            $0.field("JoinedAt", time: past(room.createdAt))
            if let seen = member.seenAt, (1...now).contains(seen) { $0.field("LastSeenAt", time: seen) }
        }
        if case .refused(let why) = outcome { leaveOut("a member: \(why)") }
    }

    // MARK: Messages

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
        guard Self.isUser(post.sender) else {
            leaveOut("a message of a user whose id is none here")
            return false
        }
        guard room.isOpen(to: post.sender) else {
            leaveOut("a message of somebody else in a direct channel")
            return false
        }
        guard (0...now).contains(post.at) else {
            leaveOut("a message of the future")
            return false
        }
        var post = post
        post.reactions = kept(post.reactions, in: room)
        var (count, tried) = (0, false)
        func next(_ content: (inout JSONWriter) -> Void) throws {
            tried = true
            if try message(post, number: count, content) { count += 1 }
        }
        for part in Self.parts(Self.plain(post.text)) { try next { $0.field("Content", part) } }
        for file in post.files {
            guard WebAddress.isLink(file.url) else {
                leaveOut("a file without an address")
                continue
            }
            try next { Self.write(file, to: &$0) }
        }
        if !tried { leaveOut("a message without text and files") }
        return count > 0
    }

    private func kept(_ reactions: [(emoji: String, users: [String])], in room: Room) -> [(
        emoji: String, users: [String]
    )] {
        var kept: [(emoji: String, users: [String])] = []
        for reaction in reactions {
            let users = reaction.users.filter { Self.isUser($0) && room.isOpen(to: $0) }
            for _ in users.count..<reaction.users.count {
                leaveOut("a reaction of somebody else in a direct channel, or of a user whose id is none here")
            }
            guard !users.isEmpty else { continue }
            if kept.count < RequestLimit.reactions {
                kept.append((reaction.emoji, users))
            } else {
                leaveOut("a reaction of a message with more than \(RequestLimit.reactions) different ones")
            }
        }
        return kept
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

    /// - Returns: whether it was written.
    private func message(_ post: Post, number: Int, _ content: (inout JSONWriter) -> Void) throws -> Bool {
        let id = post.id + (number == 0 ? "" : "/\(number)")
        guard let known = try? ImportID.message(id) else {
            leaveOut("a message whose id is none here")
            return false
        }
        guard messages.insert(known.high ^ known.low).inserted else {
            leaveOut("a message that occurs twice")
            return false
        }
        let outcome = try line("message") {
            $0.field("ID", id)
            $0.field("RoomID", post.room)
            $0.field("SenderID", post.sender)
            if let parent = post.parent {
                $0.field("MessageType", MessageType.replied.name)
                $0.field("ParentMessageID", parent)
            }
            content(&$0)
            $0.field("CreatedAt", time: post.at)
            if let edited = post.editedAt, (1...now).contains(edited) { $0.field("EditedAt", time: edited) }
            guard number == 0, !post.reactions.isEmpty else { return }
            $0.array("Reactions", post.reactions) { writer, reaction in
                writer.map {
                    $0.field("Reaction", reaction.emoji)
                    $0.array("Users", reaction.users) { $0.string($1) }
                }
            }
        }
        guard case .refused(let why) = outcome else { return true }
        messages.remove(known.high ^ known.low)
        leaveOut("a message: \(why)")
        return false
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
